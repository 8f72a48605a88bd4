using System.Net;
using Aglow.Redis.Connections;
using StackExchange.Redis;

namespace Aglow.Redis;

/// <summary>
/// Parses one text that says how to reach Redis or Valkey: a single server, some nodes of a cluster, or the Sentinels of a primary.
/// </summary>
/// <remarks>
/// <code>
///   HOST:PORT,HOST:PORT,ssl=true,user=…,password=…,serviceName=…      a connection string of StackExchange.Redis, used unchanged
///   redis://USER:PASSWORD@HOST:PORT,…      rediss://…                 a URL, rediss for TLS
/// </code>
/// Some nodes of a cluster are enough, because they name the others. Timeouts and retries in the text are ignored:
/// <see cref="RedisCluster"/> sets its own.
/// </remarks>
public static class RedisAddress
{
    private const int DefaultPort = 6379;
    private const string Expected =
        "set HOST:PORT,…, a connection string of StackExchange.Redis, or redis://USER:PASSWORD@HOST:PORT,… (rediss:// for TLS)";

    /// <summary>
    /// Parses a connection string or a URL. User and password in a URL are percent-encoded; its port is 6379 if it names none.
    /// </summary>
    /// <exception cref="FormatException">The text is neither; the message says what to write.</exception>
    public static ConfigurationOptions Parse(string text)
    {
        var tls = text.StartsWith("rediss://", StringComparison.Ordinal);
        if (tls || text.StartsWith("redis://", StringComparison.Ordinal))
            return ParseUrl(text[(text.IndexOf("//", StringComparison.Ordinal) + 2)..].TrimEnd('/'), tls);
        if (text.Contains("://", StringComparison.Ordinal))
            throw new FormatException(Expected);
        return ParseConnectionString(text);
    }

    /// <summary>The servers without secrets, for example 10.0.0.1:6379, 10.0.0.2:6379.</summary>
    public static string Describe(ConfigurationOptions options) => ServerNames.Of(options);

    private static ConfigurationOptions ParseUrl(string text, bool tls)
    {
        string? user = null, password = null;
        var at = text.LastIndexOf('@');
        if (at >= 0)
        {
            var who = text[..at];
            var colon = who.IndexOf(':');
            if (colon < 0)
                throw new FormatException(Expected);
            (user, password) = (Uri.UnescapeDataString(who[..colon]), Uri.UnescapeDataString(who[(colon + 1)..]));
            text = text[(at + 1)..];
        }

        var options = ParseConnectionString(text);
        (options.User, options.Password, options.Ssl) = (user is "" ? null : user, password, tls);
        // as for other TLS on the machine, because a private certificate authority has no revocation list
        options.CheckCertificateRevocation = false;
        for (var i = 0; i < options.EndPoints.Count; i++)
            options.EndPoints[i] = WithPort(options.EndPoints[i]);
        return options;
    }

    private static ConfigurationOptions ParseConnectionString(string text)
    {
        var parts = text.Split(',', StringSplitOptions.TrimEntries);
        var servers = parts.Count(static part => !part.Contains('='));
        if (servers == 0 || parts.Any(static part => part.Length == 0 || part.EndsWith(":0", StringComparison.Ordinal)))
            throw new FormatException(Expected);
        try
        {
            var options = ConfigurationOptions.Parse(text);
            // the library silently skips servers that it cannot parse
            return options.EndPoints.Count == servers && options.EndPoints.All(IsServer) ? options : throw new FormatException(Expected);
        }
        catch (Exception wrong) when (wrong is ArgumentException or OverflowException)
        {
            throw new FormatException($"{Expected}: {wrong.Message.Split('\n')[0].TrimEnd('.')}", wrong);
        }
    }

    private static bool IsServer(EndPoint server) =>
        server is not DnsEndPoint { Host: var host } || Uri.CheckHostName(host) != UriHostNameType.Unknown;

    private static EndPoint WithPort(EndPoint server) => server switch
    {
        IPEndPoint { Port: 0, Address: var address } => new IPEndPoint(address, DefaultPort),
        DnsEndPoint { Port: 0, Host: var host } => new DnsEndPoint(host, DefaultPort),
        _ => server,
    };
}
