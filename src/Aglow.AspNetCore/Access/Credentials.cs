namespace Aglow.AspNetCore.Access;

/// <summary>
/// Finds the token or key of a request. A browser cannot set headers on a socket or an event stream, so there the token may also be in the
/// query. On a socket, a client may also offer it as a subprotocol.
/// </summary>
/// <remarks>
/// <code>
///   Authorization: Bearer TOKEN            every call
///   ?access_token=TOKEN                    /ws and /watch; may end up in the logs of proxies
///   Sec-WebSocket-Protocol: aglow, aglow.token.TOKEN      /ws; answered with "aglow"
/// </code>
/// </remarks>
internal static class Credentials
{
    /// <summary>The subprotocol that a socket answers with if the client offers it.</summary>
    public const string Subprotocol = "aglow";

    private const string TokenSubprotocol = "aglow.token.";
    private const string Scheme = "Bearer ";

    /// <summary>The token of an <c>Authorization</c> header; empty if it has none. Allocates nothing.</summary>
    public static ReadOnlySpan<char> InHeader(string? authorization) =>
        authorization is not null && authorization.StartsWith(Scheme, StringComparison.OrdinalIgnoreCase)
            ? authorization.AsSpan(Scheme.Length).Trim(' ')
            : default;

    /// <summary>The same as a string; null if it has none.</summary>
    public static string? OfHeader(string? authorization) => InHeader(authorization) is { IsEmpty: false } token ? token.ToString() : null;

    /// <summary>The token among the offered subprotocols; null if there is none.</summary>
    public static string? OfProtocols(string? protocols)
    {
        foreach (var protocol in Split(protocols))
        {
            if (protocol.StartsWith(TokenSubprotocol, StringComparison.Ordinal))
                return protocol[TokenSubprotocol.Length..];
        }

        return null;
    }

    /// <summary>The subprotocol to answer with; null if the client did not offer ours.</summary>
    public static string? Answer(string? protocols) => Split(protocols).Contains(Subprotocol) ? Subprotocol : null;

    /// <summary>The token of a socket or stream: in the header, the query or a subprotocol.</summary>
    public static string? OfStream(HttpRequest request) =>
        OfHeader(request.Headers.Authorization)
        ?? RequestParameters.Text(request.HttpContext, Routes.TokenQuery)
        ?? OfProtocols(request.Headers.SecWebSocketProtocol);

    private static string[] Split(string? protocols) =>
        protocols?.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries) ?? [];
}
