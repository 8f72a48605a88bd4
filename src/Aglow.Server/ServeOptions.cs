using System.Net;
using Aglow.Postgres;
using Aglow.Redis;
using Microsoft.Extensions.Configuration;
using StackExchange.Redis;

namespace Aglow.Server;

/// <summary>The settings of the server.</summary>
internal sealed class ServeOptions
{
    /// <summary>The folder of secrets; null: that of the systemd unit, if any.</summary>
    public string? SecretsFolder { get; set; }

    /// <summary>The addresses to listen on. Loopback by default, because in open mode any caller may act for any user.</summary>
    public IReadOnlyList<string> Urls { get; set; } = ["http://127.0.0.1:8080"];

    /// <summary>The Redis that nodes share; null: the embedded store.</summary>
    public ConfigurationOptions? Redis { get; set; }

    /// <summary>The user name for Redis, if the address has none.</summary>
    public string? RedisUser { get; set; }

    /// <summary>The password for Redis, if the address has none.</summary>
    public string? RedisPassword { get; set; }

    /// <summary>How nodes use that Redis.</summary>
    public RedisStoreOptions RedisStore { get; set; } = new();

    /// <summary>The PostgreSQL with the users of nodes that share a Redis. Null: their user IDs are integers below 2^31.</summary>
    public PostgresOptions? Postgres { get; set; }

    /// <summary>The password for PostgreSQL, if the connection string has none.</summary>
    public string? PostgresPassword { get; set; }

    /// <summary>Authentication.</summary>
    public AuthSettings Auth { get; } = new();

    /// <summary>The rate limit of one person; null: the default of the mode.</summary>
    public int? CallsPerUser { get; set; }

    /// <summary>The rate limit of one key; null: the default of the mode.</summary>
    public int? CallsPerKey { get; set; }

    /// <summary>The rate limit of one address; null: the default of the mode.</summary>
    public int? CallsPerAddress { get; set; }

    /// <summary>New users a second that one key may register.</summary>
    public int? RegistrationsPerKey { get; set; }

    /// <summary>Simultaneous connections in all; null: as many as the limit of open files allows.</summary>
    public int? MaxConnections { get; set; }

    /// <summary>Proxies that the server trusts to name the client of a request or connection.</summary>
    public IReadOnlyList<IPNetwork> TrustedProxies { get; set; } = [];

    /// <summary>Whether trusted proxies name the client by the PROXY protocol.</summary>
    public bool ReadsProxyProtocol { get; set; }

    /// <summary>Whether the server has a page at <c>/</c>.</summary>
    public bool HasPage { get; set; } = true;

    /// <summary>The collector of metrics and traces; null: the collector of the standard variables, if any.</summary>
    public string? Otlp { get; set; }

    /// <summary>Whether log lines are JSON.</summary>
    public bool LogsJson { get; set; }

    /// <summary>The settings of presence itself.</summary>
    public AglowOptions Presence { get; } = new();

    /// <summary>The settings files, from which the web server reads its own settings (certificates).</summary>
    public required IConfiguration Files { get; init; }

    /// <summary>All addresses to listen on: <see cref="Urls"/>, and the Kestrel endpoints of a settings file.</summary>
    public IReadOnlyList<string> ListensOn =>
        [.. Urls, .. Files.GetSection("Kestrel:Endpoints").GetChildren().Select(static endpoint => endpoint["Url"]).OfType<string>()];

    /// <summary>Whether any of them is an https address.</summary>
    public bool ListensOnHttps => ListensOn.Any(static url => url.StartsWith("https:", StringComparison.OrdinalIgnoreCase));

    /// <summary>Warnings to log at start.</summary>
    public List<string> Warnings { get; } = [];
}
