using System.Buffers;
using System.Text;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// Recognises a valid WebSocket handshake (an HTTP/1.1 <c>GET /ws</c>) in the first bytes of a connection.
/// </summary>
/// <remarks>
/// A rule on bytes, without I/O. It takes no head that is invalid or doubtful (a repeated header, a body, a folded line). The
/// connection middleware passes such a head on unchanged, and the mapped endpoint answers it with a problem document. The length is that of
/// the head with its blank line, behind which frames follow. The query has no question mark.
/// </remarks>
internal sealed record RawUpgrade(
    int Length,
    string Query,
    byte[] Key,
    string Host,
    string? Origin,
    string? FetchSite,
    string? ForwardedFor,
    string? Authorization,
    string? Protocols)
{
    /// <summary>The longest head that is read here.</summary>
    public const int MaxBytes = 8 * 1024;

    private static readonly SearchValues<char> HeaderName =
        SearchValues.Create("!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");

    /// <summary>
    /// Whether these first bytes may be an incomplete head: they begin with a method's first letter and have no empty line. Lines may end
    /// without a carriage return, because Kestrel decides whether to accept that.
    /// </summary>
    public static bool IsUnfinished(ReadOnlySequence<byte> buffer)
    {
        if (buffer.IsEmpty)
            return true;
        if (buffer.Length > MaxBytes || !char.IsAsciiLetterUpper((char)buffer.FirstSpan[0]))
            return false;
        var reader = new SequenceReader<byte>(buffer);
        while (reader.TryAdvanceTo((byte)'\n'))
        {
            reader.IsNext((byte)'\r', advancePast: true);
            if (reader.IsNext((byte)'\n'))
                return false;
        }

        return true;
    }

    /// <summary>Reads the upgrade at the start of a connection; null if the bytes are anything else, or the head is incomplete.</summary>
    public static RawUpgrade? Read(ReadOnlySequence<byte> buffer)
    {
        var reader = new SequenceReader<byte>(buffer);
        if (!reader.IsNext("GET /ws"u8, advancePast: true) || !reader.TryPeek(out var next) || next is not ((byte)' ' or (byte)'?'))
            return null;
        reader = new SequenceReader<byte>(buffer);
        if (!reader.TryReadTo(out ReadOnlySequence<byte> head, "\r\n\r\n"u8) || head.Length > MaxBytes)
            return null;
        return Parse(Encoding.Latin1.GetString(head), (int)reader.Consumed);
    }

    private static RawUpgrade? Parse(string head, int length)
    {
        var lines = head.Split("\r\n");
        var target = lines[0].AsSpan("GET ".Length);
        if (!target.EndsWith(" HTTP/1.1"))
            return null;
        target = target[..^" HTTP/1.1".Length];
        if (target.ContainsAnyExceptInRange('!', '~') || target.Contains('#'))
            return null;
        var headers = new Dictionary<string, string>(StringComparer.OrdinalIgnoreCase);
        foreach (var line in lines.AsSpan(1))
        {
            var colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon <= 0 || line.AsSpan(0, colon).ContainsAnyExcept(HeaderName) || line.AsSpan(colon).ContainsAnyInRange('\0', '\u001F'))
                return null;
            if (!headers.TryAdd(line[..colon], line[(colon + 1)..].Trim(' ')))
                return null;
        }

        if (!SocketHandshake.Lists(headers.GetValueOrDefault("Upgrade"), "websocket")
            || !SocketHandshake.Lists(headers.GetValueOrDefault("Connection"), "Upgrade")
            || headers.GetValueOrDefault("Sec-WebSocket-Version") != "13"
            || !headers.TryGetValue("Host", out var host) || host.Length == 0
            || headers.ContainsKey("Content-Length")
            || headers.ContainsKey("Transfer-Encoding")
            || headers.ContainsKey("Expect")
            // this header may name the client, too, and only HTTP reads it
            || headers.ContainsKey("Forwarded")
            || !headers.TryGetValue("Sec-WebSocket-Key", out var key) || !SocketHandshake.IsKey(Encoding.Latin1.GetBytes(key)))
        {
            return null;
        }

        var query = target.Length > "/ws?".Length ? target["/ws?".Length..].ToString() : "";
        return new RawUpgrade(
            length, query, Encoding.Latin1.GetBytes(key), host, headers.GetValueOrDefault("Origin"),
            headers.GetValueOrDefault("Sec-Fetch-Site"), headers.GetValueOrDefault("X-Forwarded-For"),
            headers.GetValueOrDefault("Authorization"), headers.GetValueOrDefault("Sec-WebSocket-Protocol"));
    }
}
