using System.Globalization;

namespace Aglow.Redis;

/// <summary>Where a Redis server listens.</summary>
/// <param name="Host">A name or an address.</param>
/// <param name="Port">1 to 65535.</param>
public sealed record RedisEndpoint(string Host, int Port)
{
    /// <inheritdoc/>
    public override string ToString() => Host.Contains(':') ? $"[{Host}]:{Port}" : $"{Host}:{Port}";
}

/// <summary>How to reach Redis or Valkey: a server alone, or some nodes of a cluster, which name the others.</summary>
public sealed record RedisOptions
{
    private const int DefaultPort = 6379;

    /// <summary>The servers to ask first, at least one.</summary>
    public required IReadOnlyList<RedisEndpoint> Endpoints { get; init; }

    /// <summary>Who to log in as; null: the default user.</summary>
    public string? User { get; init; }

    /// <summary>With which password; null: without.</summary>
    public string? Password { get; init; }

    /// <summary>Whether to speak TLS, with certificates of an authority that this machine trusts.</summary>
    public bool Tls { get; init; }

    /// <summary>How long an answer may take, and how long to wait for a server that is away before callers are told: 2 s, as long as a person waits.</summary>
    public TimeSpan Timeout { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>
    /// Reads <c>HOST:PORT,…</c> or <c>redis[s]://[USER:PASSWORD@]HOST:PORT,…</c>; user and password percent-encoded, the port 6379 where it is not given.
    /// </summary>
    /// <exception cref="FormatException">The text is neither; the message says what to write.</exception>
    public static RedisOptions Parse(string text)
    {
        const string expected = "set HOST:PORT,… or redis://USER:PASSWORD@HOST:PORT,… (rediss:// for TLS)";
        var tls = text.StartsWith("rediss://", StringComparison.Ordinal);
        if (tls || text.StartsWith("redis://", StringComparison.Ordinal))
            text = text[(text.IndexOf("//", StringComparison.Ordinal) + 2)..].TrimEnd('/');
        else if (text.Contains("://", StringComparison.Ordinal))
            throw new FormatException(expected);
        string? user = null, password = null;
        var at = text.LastIndexOf('@');
        if (at >= 0)
        {
            var who = text[..at];
            var colon = who.IndexOf(':');
            if (colon < 0)
                throw new FormatException(expected);
            (user, password) = (Uri.UnescapeDataString(who[..colon]), Uri.UnescapeDataString(who[(colon + 1)..]));
            text = text[(at + 1)..];
        }

        var endpoints = text.Split(',', StringSplitOptions.TrimEntries)
            .Select(static part => ParseEndpoint(part) ?? throw new FormatException(expected))
            .ToArray();
        return new RedisOptions { Endpoints = endpoints, User = user is "" ? null : user, Password = password, Tls = tls };
    }

    /// <inheritdoc/>
    public override string ToString() => $"{(Tls ? "rediss" : "redis")}://{string.Join(",", Endpoints)}";

    private static RedisEndpoint? ParseEndpoint(string text)
    {
        var end = text.StartsWith('[') ? text.IndexOf(']') : -1;
        if (text.StartsWith('[') && end < 0)
            return null;
        var host = end > 0 ? text[1..end] : text.Split(':')[0];
        var rest = end > 0 ? text[(end + 1)..] : text[host.Length..];
        if (host.Length == 0 || Uri.CheckHostName(host) == UriHostNameType.Unknown)
            return null;
        if (rest.Length == 0)
            return new RedisEndpoint(host, DefaultPort);
        return rest[0] == ':' && int.TryParse(rest.AsSpan(1), NumberStyles.None, null, out var port) && port is >= 1 and <= 65_535
            ? new RedisEndpoint(host, port)
            : null;
    }
}
