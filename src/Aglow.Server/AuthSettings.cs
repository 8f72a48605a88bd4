namespace Aglow.Server;

/// <summary>The operator's settings for authentication.</summary>
internal sealed class AuthSettings
{
    /// <summary>Whether calls need a token or a key. If not (open mode), any caller may act for any user.</summary>
    public bool TakesTokens { get; set; }

    /// <summary>Whether open mode may be reachable from other machines.</summary>
    public bool AllowOpen { get; set; }

    /// <summary>The secret that signs people's tokens (HS256).</summary>
    public byte[]? Secret { get; set; }

    /// <summary>The <c>iss</c> that a token must have.</summary>
    public string? Issuer { get; set; }

    /// <summary>The <c>aud</c> that a token must have.</summary>
    public string? Audience { get; set; }

    /// <summary>The issuer of people's tokens, which publishes its keys (OpenID Connect discovery).</summary>
    public Uri? Authority { get; set; }

    /// <summary>The first mistake in the settings, in one line that says what to do instead; null if there is none.</summary>
    public string? Validate(IReadOnlyList<string> urls)
    {
        if (!TakesTokens && (Secret is not null || Issuer is not null || Audience is not null || Authority is not null))
            return "jwt-secret, jwt-issuer, jwt-audience and jwt-authority are for --auth token: set that, too.";
        if (Secret is not null && Authority is not null)
            return "jwt-secret and jwt-authority are two ways to check tokens: set one of them.";
        if (Secret is null && Authority is null && (Issuer ?? Audience) is not null)
            return "jwt-issuer and jwt-audience say what a token must hold: set jwt-secret or jwt-authority, too.";
        if (!TakesTokens && !AllowOpen && urls.FirstOrDefault(static url => !Addresses.IsLoopback(url)) is { } reachable)
        {
            return $"{reachable} can be reached from other machines, and in open mode any caller may act for any user: "
                + "set --auth token, or listen on 127.0.0.1, or set --allow-open behind a gateway that authenticates callers.";
        }

        return null;
    }

    /// <summary>Warnings about settings that are allowed but risky.</summary>
    public IEnumerable<string> Warnings()
    {
        if (Authority is not null && Audience is null)
        {
            yield return $"Tokens of {Authority} are accepted, whichever application they were issued for: "
                + "set --jwt-audience to accept only those for this server.";
        }

        if (TakesTokens && Secret is null && Authority is null)
            yield return "No people can sign in, only backends with keys (aglow keys add): set --jwt-secret or --jwt-authority for people.";
    }

    public static byte[] ReadSecret(string value)
    {
        var secret = new byte[value.Length];
        if (!Convert.TryFromBase64String(value, secret, out var length))
            throw new UsageException("set base64, such as `openssl rand -base64 32` prints");
        return length >= 32
            ? secret[..length]
            : throw new UsageException($"it holds {length} bytes: set at least 32, such as `openssl rand -base64 32` prints");
    }

    public static Uri ReadAuthority(string value) =>
        Uri.TryCreate(value, UriKind.Absolute, out var url)
            && (url.Scheme == Uri.UriSchemeHttps || (url.Scheme == Uri.UriSchemeHttp && url.IsLoopback))
            ? url
            : throw new UsageException(
                "set the https://ADDRESS of the issuer, such as https://accounts.example (http only on this machine)");
}
