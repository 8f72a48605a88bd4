using System.Collections;
using System.Globalization;
using System.Net;
using Aglow.Model;
using Aglow.Postgres;
using Aglow.Redis;
using Microsoft.Extensions.Configuration;
using StackExchange.Redis;

namespace Aglow.Server;

/// <summary>What the server was told.</summary>
internal sealed class ServeOptions
{
    /// <summary>Where to listen. Loopback by default: in open mode anyone who reaches the port may speak for anyone.</summary>
    public IReadOnlyList<string> Urls { get; set; } = ["http://127.0.0.1:8080"];

    /// <summary>The Redis that nodes share; null: the embedded store.</summary>
    public ConfigurationOptions? Redis { get; set; }

    /// <summary>Who to log in to Redis as, where the address does not say.</summary>
    public string? RedisUser { get; set; }

    /// <summary>With which password.</summary>
    public string? RedisPassword { get; set; }

    /// <summary>The PostgreSQL that has the users of nodes that share a Redis; null: user IDs are integers below 2^31 there.</summary>
    public PostgresOptions? Postgres { get; set; }

    /// <summary>With which password, where the connection string does not say.</summary>
    public string? PostgresPassword { get; set; }

    /// <summary>Who may speak for whom.</summary>
    public AuthSettings Auth { get; } = new();

    /// <summary>How much is taken of one caller; null: what suits the mode.</summary>
    public int? CallsPerUser { get; set; }

    /// <summary>The same of a key.</summary>
    public int? CallsPerKey { get; set; }

    /// <summary>The same of an address.</summary>
    public int? CallsPerAddress { get; set; }

    /// <summary>New users a second that one key registers.</summary>
    public int? RegistrationsPerKey { get; set; }

    /// <summary>Connections that the server accepts in all; null: as many as the limit of open files allows.</summary>
    public int? MaxConnections { get; set; }

    /// <summary>Proxies that are believed when they say whose request or connection it is.</summary>
    public IReadOnlyList<IPNetwork> TrustedProxies { get; set; } = [];

    /// <summary>Whether they say it by the PROXY protocol.</summary>
    public bool ReadsProxyProtocol { get; set; }

    /// <summary>Whether there is a page at <c>/</c>.</summary>
    public bool HasPage { get; set; } = true;

    /// <summary>Where metrics and traces are sent; null: what the standard variables say.</summary>
    public string? Otlp { get; set; }

    /// <summary>Whether log lines are JSON.</summary>
    public bool LogsJson { get; set; }

    /// <summary>Presence itself.</summary>
    public AglowOptions Presence { get; } = new();

    /// <summary>The settings files, for what the web server reads itself (certificates).</summary>
    public required IConfiguration Files { get; init; }

    /// <summary>Where it listens: <see cref="Urls"/>, and what a settings file says of Kestrel itself.</summary>
    public IReadOnlyList<string> ListensOn =>
        [.. Urls, .. Files.GetSection("Kestrel:Endpoints").GetChildren().Select(static endpoint => endpoint["Url"]).OfType<string>()];

    /// <summary>What to warn of at start.</summary>
    public List<string> Warnings { get; } = [];
}

/// <summary>
/// The one owner of the server's settings: each is a flag, an <c>AGLOW_…</c> variable and a member of "Aglow" in appsettings.json, in this order.
/// </summary>
/// <remarks>
/// <code>
///   --lease-seconds 30      AGLOW_LEASE_SECONDS=30      { "Aglow": { "LeaseSeconds": 30 } }      else the default
/// </code>
/// The file is appsettings.json beside the program, or the one that --settings names; never one that happens to lie in the current folder. A value that cannot be read, or a name in "Aglow" that is none, stops
/// the start; an unknown variable only warns, since platforms inject variables of their own (a Kubernetes service named aglow: AGLOW_PORT).
/// </remarks>
internal sealed record ServeSettings(string Name, string Value, string Help, Action<ServeOptions, string> Apply, bool IsFlag = true, bool IsSecret = false, bool IsSwitch = false)
{
    private const string Prefix = "AGLOW_";
    private const string FileName = "appsettings.json";
    private const string Section = "Aglow";
    private const string Definitions = "definitions";

    public static readonly IReadOnlyList<ServeSettings> All =
    [
        // read before all others
        new("settings", "FILE", "A settings file; appsettings.json beside the program where none is named. The current folder is not looked at.", static (_, _) => { }),
        new("urls", "URL,…", "Where to listen; http://127.0.0.1:8080 where it is not given.", static (o, v) => o.Urls = Addresses.Read(v)),
        new("data", "DIR", "The folder of the embedded store; \"data\" where it is not given. Made if it is not there.", static (o, v) => o.Presence.DataDirectory = v),
        new("redis", "HOST:PORT,…", "A Redis or Valkey 7 that many servers share instead of the folder: alone, some nodes of a cluster, or Sentinels (HOST:PORT,…,serviceName=NAME). Connection strings of StackExchange.Redis are taken as they are; also redis://USER:PASSWORD@HOST:PORT,…, rediss:// for TLS.", static (o, v) => o.Redis = Servers(v)),
        new("redis-user", "NAME", "Who to log in to Redis as; the default user.", static (o, v) => o.RedisUser = v),
        new("redis-password", "PASSWORD", "With which password. Others on this machine see flags: AGLOW_REDIS_PASSWORD is not seen.", static (o, v) => o.RedisPassword = v),
        new("postgres", "CONNECTION", "A PostgreSQL 13 or newer that has the users of nodes with --redis, by name; postgres://USER@HOST:PORT/DATABASE or Host=…;Database=…;Username=…. Without it, users are numbers there.", static (o, v) => o.Postgres = Database(v), IsSecret: true),
        new("postgres-password", "PASSWORD", "With which password. Others on this machine see flags: AGLOW_POSTGRES_PASSWORD is not seen.", static (o, v) => o.PostgresPassword = v, IsSecret: true),
        new("lease-seconds", "N", "How long a heartbeat lasts; 30.", static (o, v) => o.Presence.LeaseSeconds = Whole(v)),
        new("heartbeat-seconds", "N", "How often clients are told to heartbeat; 10.", static (o, v) => o.Presence.HeartbeatSeconds = Whole(v)),
        new("away-seconds", "N", "Reported activity older than this shows as away; 600.", static (o, v) => o.Presence.AwaySeconds = Whole(v)),
        new("max-user-number", "N", "The highest number of the application's own users; 2147483647.", static (o, v) => o.Presence.MaxUserNumber = Number(v)),
        new("memory-megabytes", "N", "Memory for users' words; 0: half of the machine's.", static (o, v) => o.Presence.MemoryMegabytes = Whole(v)),
        new("known-keys", "N", "Users known by key that are kept in memory; 10000000.", static (o, v) => o.Presence.KnownKeys = Whole(v)),
        new("changes-hours", "N", "How long the feed of changes keeps them, in hours; 24; 0: no feed.", static (o, v) => o.Presence.ChangesHours = Whole(v)),
        new("changes-megabytes", "N", "What the feed of changes may take on disk; 256.", static (o, v) => o.Presence.ChangesMegabytes = Whole(v)),
        new("webhooks-allow", "CIDR,…", "Networks that webhooks may go to although they are not public, such as 10.1.0.0/16.", static (o, v) => o.Presence.WebhooksAllow = v.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)),
        new("allowed-origins", "ORIGIN,…", "Origins besides the server's own whose pages may make calls, read answers, and open sockets and event streams.", static (o, v) => o.Presence.AllowedOrigins = v.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)),
        new("max-messages-per-second", "N", "Messages a second that are read of one socket; 50.", static (o, v) => o.Presence.MaxMessagesPerSecond = Whole(v)),
        new("reciprocal-visibility", "true|false", "Whether people see of others no more than they show themselves; false.", static (o, v) => o.Presence.IsVisibilityReciprocal = Yes(v), IsSwitch: true),
        new("drain-seconds", "N", "Over how long a node that stops sends its clients to other nodes; 10 with --redis, else 0.", static (o, v) => o.Presence.DrainSeconds = Whole(v)),
        new("node-name", "NAME", "The name of this node in explanations; the machine's.", static (o, v) => o.Presence.NodeName = v),
        new("demo", "N", "Named people who come and go by themselves, in memory only, so that the page has somebody on it; 0.", static (o, v) => o.Presence.DemoPeople = Whole(v)),
        new("max-connections-per-user", "N", "Sockets that one user may have at a time; 20.", static (o, v) => o.Presence.MaxConnectionsPerUser = Whole(v)),
        new("max-connections-per-address", "N", "Connections from one address at a time; 20000.", static (o, v) => o.Presence.MaxConnectionsPerAddress = Whole(v)),
        new("max-connections", "N", "Connections in all at a time; the limit of open files less 512.", static (o, v) => o.MaxConnections = Positive(v)),
        new("auth", "open|token", "Who may speak for whom; open (the default): anyone for anyone, on this machine only; token: people by their tokens, backends by their keys (aglow keys).", static (o, v) => o.Auth.TakesTokens = Mode(v)),
        new("allow-open", "true|false", "Lets open mode be reachable from other machines: only where a gateway that authenticates stands before it.", static (o, v) => o.Auth.AllowOpen = Yes(v), IsSwitch: true),
        new("jwt-secret", "BASE64", "The secret that people's tokens are signed with (HS256), 32 bytes or more. Others on this machine see flags: AGLOW_JWT_SECRET is not seen.", static (o, v) => o.Auth.Secret = AuthSettings.ReadSecret(v), IsSecret: true),
        new("jwt-issuer", "ISSUER", "The \"iss\" that a token must have; with --jwt-authority, that issuer's.", static (o, v) => o.Auth.Issuer = v),
        new("jwt-audience", "AUDIENCE", "The \"aud\" that a token must have.", static (o, v) => o.Auth.Audience = v),
        new("jwt-authority", "URL", "Who issues people's tokens and publishes the keys for them, by OpenID Connect discovery, instead of a secret.", static (o, v) => o.Auth.Authority = AuthSettings.ReadAuthority(v)),
        new("rate-limit", "N", "Calls a second of one person; 0: no limit. 50 with --auth token, else 0.", static (o, v) => o.CallsPerUser = Rate(v)),
        new("rate-limit-key", "N", "Calls a second of one key; 20000 with --auth token, else 0.", static (o, v) => o.CallsPerKey = Rate(v)),
        new("rate-limit-address", "N", "Calls a second of one address; 20000 with --auth token, else 0.", static (o, v) => o.CallsPerAddress = Rate(v)),
        new("rate-limit-registrations", "N", "New users a second that one key or address registers, and at most 100 of one person; 10000 with --auth token.", static (o, v) => o.RegistrationsPerKey = Rate(v)),
        new("trusted-proxies", "CIDR,…", "Proxies that are believed when they say whose request it is, in X-Forwarded-For or Forwarded: addresses and networks such as 10.0.0.0/8.", static (o, v) => o.TrustedProxies = Addresses.ReadNetworks(v)),
        new("proxy-protocol", "true|false", "Their connections begin with a PROXY header (version 1 or 2) instead.", static (o, v) => o.ReadsProxyProtocol = Yes(v), IsSwitch: true),
        new("page", "on|off", "Whether there is a page at /; on.", static (o, v) => o.HasPage = OnOff(v)),
        new("otlp", "URL", "Where to send metrics and traces by OpenTelemetry's protocol, such as http://127.0.0.1:4318; OTEL_… variables hold as well. Nowhere.", static (o, v) => o.Otlp = Collector(v)),
        new("log-format", "text|json", "How log lines are written; text.", static (o, v) => o.LogsJson = v is "json" || (v is "text" ? false : throw new UsageException("set text or json"))),
    ];

    public string Flag => $"--{Name}";

    private string Key => Normal(Name);

    /// <summary>Reads all settings; flags are given by name.</summary>
    public static ServeOptions Read(IReadOnlyDictionary<string, string> flags)
    {
        var settings = flags.GetValueOrDefault("--settings") ?? Environment.GetEnvironmentVariable($"{Prefix}SETTINGS");
        var files = ReadFile(settings);
        var file = settings ?? FileName;
        var options = new ServeOptions { Files = files };
        foreach (var (path, value) in files.GetSection(Section).AsEnumerable(makePathsRelative: true))
        {
            if (value is not null && !TryApply(options, path.Split(ConfigurationPath.KeyDelimiter), value, $"{path} in {file}"))
                throw new UsageException($"{path} in {file} is not a setting: see aglow serve --help for those there are.");
        }

        foreach (var variable in Environment.GetEnvironmentVariables().Cast<DictionaryEntry>())
        {
            var (name, value) = ((string)variable.Key, (string?)variable.Value);
            if (name.StartsWith(Prefix, StringComparison.Ordinal) && value is { Length: > 0 } && !TryApply(options, name[Prefix.Length..].Split("__"), value, name))
                options.Warnings.Add($"{name} is not a setting and is ignored: see aglow serve --help for those there are.");
        }

        foreach (var setting in All)
        {
            if (flags.TryGetValue(setting.Flag, out var value))
                setting.Set(options, value, setting.Flag);
        }

        if (options.Presence.Validate() is [var wrong, ..])
            throw new UsageException(wrong);
        options.Presence.WebhooksToLoopback = options.ListensOn.All(Addresses.IsLoopback);
        if (options.Auth.Validate(options.ListensOn) is { } refused)
            throw new UsageException(refused);
        options.Warnings.AddRange(options.Auth.Warnings());
        if (options.ReadsProxyProtocol && options.TrustedProxies.Count == 0)
            throw new UsageException("proxy-protocol believes whoever connects what they say of themselves, but for trusted proxies: set --trusted-proxies, too.");
        if (options.Redis is null && (options.RedisUser ?? options.RedisPassword) is not null)
            throw new UsageException("redis-user and redis-password are for --redis: set that, too.");
        if (options.Redis is not null && options.Presence.DemoPeople > 0)
            throw new UsageException("demo people are in the memory of one server: set --demo or --redis, not both.");
        if (options.Postgres is null && options.PostgresPassword is not null)
            throw new UsageException("postgres-password is for --postgres: set that, too.");
        if (options.Postgres is not null && options.Redis is null)
            throw new UsageException("--postgres is for nodes that share a Redis: set --redis, too, or leave it out; one server has its users in its folder.");
        if (options.Postgres is { } postgres)
            options.Postgres = postgres with { Password = options.PostgresPassword, ApplicationName = $"aglow {options.Presence.NodeName}" };
        if (options.Redis is { } redis)
            (redis.User, redis.Password) = (options.RedisUser ?? redis.User, options.RedisPassword ?? redis.Password);
        return options;
    }

    private static IConfiguration ReadFile(string? named)
    {
        if (named is not null && !File.Exists(named))
            throw new UsageException($"settings is \"{named}\", which is no file: name one that is there");
        try
        {
            return new ConfigurationBuilder().AddJsonFile(named is null ? Path.Combine(AppContext.BaseDirectory, FileName) : Path.GetFullPath(named), optional: true).Build();
        }
        catch (InvalidDataException wrong)
        {
            throw new UsageException($"{wrong.Message} {wrong.InnerException?.InnerException?.Message ?? wrong.InnerException?.Message}");
        }
    }

    /// <summary>Applies one setting, named by its path as a file has it; false where there is none of that name.</summary>
    /// <exception cref="UsageException">The value cannot be read.</exception>
    internal static bool TryApply(ServeOptions options, string[] path, string value, string source)
    {
        if (path.Length == 3 && Normal(path[0]) == Definitions)
            return TryDefine(options.Presence.Definitions, path[1], Normal(path[2]), value, source);
        if (path.Length != 1 || All.FirstOrDefault(s => s.Key == Normal(path[0])) is not { } setting)
            return false;
        setting.Set(options, value, source);
        return true;
    }

    private static bool TryDefine(Dictionary<string, DefinitionOptions> definitions, string name, string member, string value, string source)
    {
        if (!definitions.TryGetValue(name, out var definition))
            definitions[name] = definition = new DefinitionOptions();
        switch (member)
        {
            case "pulseseconds":
                definition.PulseSeconds = Or(source, value, Whole);
                return true;
            case "activityseconds":
                definition.ActivitySeconds = Or(source, value, Whole);
                return true;
            case "endedbyleave":
                definition.EndedByLeave = Or(source, value, static v => bool.TryParse(v, out var yes) ? yes : throw new UsageException("set true or false"));
                return true;
            default:
                return false;
        }
    }

    private void Set(ServeOptions options, string value, string source) => Or(
        source,
        value,
        v =>
        {
            Apply(options, v);
            return true;
        },
        IsSecret);

    private static T Or<T>(string source, string value, Func<string, T> read, bool isSecret = false)
    {
        try
        {
            return read(value);
        }
        catch (UsageException wrong)
        {
            // who reads logs need not know passwords
            if (isSecret || value.Contains("password=", StringComparison.OrdinalIgnoreCase))
                throw new UsageException($"{source} is not as it should be: {wrong.Message}.");
            var shown = value.LastIndexOf('@') is >= 0 and var at ? $"…{value[at..]}" : value;
            throw new UsageException($"{source} is \"{shown}\": {wrong.Message}.");
        }
    }

    // "LeaseSeconds", "LEASE_SECONDS" and "lease-seconds" are one name
    private static string Normal(string name) => name.Replace("_", "").Replace("-", "").ToLowerInvariant();

    private static int Whole(string value) =>
        int.TryParse(value, NumberStyles.AllowLeadingSign, null, out var number) ? number : throw new UsageException("set a whole number");

    private static int Positive(string value) => Whole(value) is >= 1 and var number ? number : throw new UsageException("set a whole number from 1");

    private static uint Number(string value) =>
        uint.TryParse(value, NumberStyles.None, null, out var number) ? number : throw new UsageException("set a whole number from 0 to 2147483647");

    private static ConfigurationOptions Servers(string value)
    {
        try
        {
            return RedisAddress.Parse(value);
        }
        catch (FormatException wrong)
        {
            throw new UsageException(wrong.Message);
        }
    }

    private static PostgresOptions Database(string value)
    {
        try
        {
            return PostgresOptions.Parse(value);
        }
        catch (FormatException wrong)
        {
            throw new UsageException(wrong.Message);
        }
    }

    private static string Collector(string value) =>
        Uri.TryCreate(value, UriKind.Absolute, out var url) && url.Scheme is ("http" or "https") ? value : throw new UsageException("set http://HOST:PORT or https://HOST:PORT");

    private static int Rate(string value) =>
        int.TryParse(value, NumberStyles.None, null, out var rate) && rate <= 1_000_000_000 ? rate : throw new UsageException("set a whole number, 0 for no limit");

    private static bool Mode(string value) => value switch
    {
        "open" => false,
        "token" => true,
        _ => throw new UsageException("set open or token"),
    };

    private static bool Yes(string value) => bool.TryParse(value, out var yes) ? yes : throw new UsageException("set true or false");

    private static bool OnOff(string value) => value switch
    {
        "on" => true,
        "off" => false,
        _ => throw new UsageException("set on or off"),
    };
}
