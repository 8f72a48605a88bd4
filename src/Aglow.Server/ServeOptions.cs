using System.Net;
using Aglow.Postgres;
using Aglow.Redis;
using Microsoft.Extensions.Configuration;
using StackExchange.Redis;

namespace Aglow.Server;

/// <summary>The settings of the server; <see cref="ServeSettings"/> describes each. Null: the default.</summary>
internal sealed class ServeOptions
{
    /// <summary>The folder of secrets; null: that of the systemd unit, if any.</summary>
    public string? SecretsFolder { get; set; }

    /// <summary>The addresses to listen on. Loopback by default, because in open mode any caller may act for any user.</summary>
    public IReadOnlyList<string> Urls { get; set; } = ["http://127.0.0.1:8080"];

    /// <summary>The Redis that nodes share; null: the embedded store.</summary>
    public ConfigurationOptions? Redis { get; set; }

    public string? RedisUser { get; set; }

    public string? RedisPassword { get; set; }

    public RedisStoreOptions RedisStore { get; set; } = new();

    /// <summary>The PostgreSQL with the users of nodes that share a Redis. Null: their user IDs are integers below 2^31.</summary>
    public PostgresOptions? Postgres { get; set; }

    public string? PostgresPassword { get; set; }

    public AuthSettings Auth { get; } = new();

    public int? CallsPerUser { get; set; }

    public int? CallsPerKey { get; set; }

    public int? CallsPerAddress { get; set; }

    public int? RegistrationsPerKey { get; set; }

    /// <summary>Simultaneous connections in all; null: as many as the limit of open files allows.</summary>
    public int? MaxConnections { get; set; }

    public IReadOnlyList<IPNetwork> TrustedProxies { get; set; } = [];

    public bool ReadsProxyProtocol { get; set; }

    /// <summary>Whether the server has a page at <c>/</c>.</summary>
    public bool HasPage { get; set; } = true;

    /// <summary>The collector of metrics and traces; null: the collector of the standard variables, if any.</summary>
    public string? Otlp { get; set; }

    public bool LogsJson { get; set; }

    public AglowOptions Presence { get; } = new();

    /// <summary>The settings files, from which the web server reads its own settings (certificates).</summary>
    public required IConfiguration Files { get; init; }

    /// <summary>All addresses to listen on: <see cref="Urls"/>, and the Kestrel endpoints of a settings file.</summary>
    public IReadOnlyList<string> ListensOn =>
        [.. Urls, .. Files.GetSection("Kestrel:Endpoints").GetChildren().Select(static endpoint => endpoint["Url"]).OfType<string>()];

    public bool ListensOnHttps => ListensOn.Any(static url => url.StartsWith("https:", StringComparison.OrdinalIgnoreCase));

    public List<string> Warnings { get; } = [];
}
