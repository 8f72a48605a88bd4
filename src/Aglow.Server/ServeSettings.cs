using System.Collections;
using System.Globalization;
using Aglow.Postgres;
using Aglow.Redis;
using Microsoft.Extensions.Configuration;

namespace Aglow.Server;

/// <summary>
/// Owns the server's settings. Each is a flag, an <c>AGLOW_…</c> variable, a file of the secrets folder and a member of "Aglow" in
/// appsettings.json; the first of these that is set counts.
/// </summary>
/// <remarks>
/// <code>
///   --lease-seconds 30      AGLOW_LEASE_SECONDS=30      { "Aglow": { "LeaseSeconds": 30 } }      else the default
/// </code>
/// The file is appsettings.json beside the program, or the one that --settings names, but never one in the current folder. The start fails
/// if a value cannot be read, or if "Aglow" has an unknown member. An unknown variable only causes a warning, because platforms set
/// variables of their own (AGLOW_PORT for a Kubernetes service named aglow). The secrets folder has a file AGLOW_… for each secret, because
/// other users and the platform's tools can see flags and variables.
/// </remarks>
internal sealed record ServeSettings(
    string Name, string Value, string Help, Action<ServeOptions, string> Apply, bool IsSecret = false, bool IsSwitch = false)
{
    private const string Prefix = "AGLOW_";
    private const string FileName = "appsettings.json";
    private const string Section = "Aglow";
    private const string Definitions = "definitions";
    private const string Credentials = "CREDENTIALS_DIRECTORY";

    public static readonly IReadOnlyList<ServeSettings> All =
    [
        // must be read before all others
        new(
            "settings", "FILE", "A settings file. Default: appsettings.json beside the program, never one in the current folder.",
            static (_, _) => { }),
        new(
            "secrets", "DIR",
            "A folder of secrets, one file each, named as the variable: AGLOW_JWT_SECRET. Default: the credentials of the systemd unit.",
            static (o, v) => o.SecretsFolder = v),
        new("urls", "URL,…", "The addresses to listen on; default http://127.0.0.1:8080.", static (o, v) => o.Urls = Addresses.Read(v)),
        new(
            "data", "DIR", "The folder of the embedded store, created if it does not exist; default \"data\".",
            static (o, v) => o.Presence.DataDirectory = v),
        new(
            "redis", "HOST:PORT,…",
            "A Redis or Valkey 7 that several servers share instead of a folder: one server, some nodes of a cluster, or Sentinels "
                + "(HOST:PORT,…,serviceName=NAME). Also redis://USER:PASSWORD@HOST:PORT,…, rediss:// for TLS, or a connection string of "
                + "StackExchange.Redis.",
            static (o, v) => o.Redis = RedisAddress.Parse(v)),
        new("redis-user", "NAME", "The user name for Redis; default: the default user.", static (o, v) => o.RedisUser = v),
        new(
            "redis-password", "PASSWORD",
            "The password for Redis. Other users of this machine can see flags, but not AGLOW_REDIS_PASSWORD.",
            static (o, v) => o.RedisPassword = v),
        new(
            "adopt", "true|false",
            "Overwrites the settings that the nodes of this Redis share (lease, heartbeat, definitions and others) with those of this "
                + "node; default false.",
            static (o, v) => o.RedisStore = o.RedisStore with { AdoptsSettings = Yes(v) }, IsSwitch: true),
        new(
            "allow-eviction", "true|false",
            "Starts also on a Redis that deletes online users when its memory is full (maxmemory-policy allkeys-…); default false.",
            static (o, v) => o.RedisStore = o.RedisStore with { AllowsEviction = Yes(v) }, IsSwitch: true),
        new(
            "wait-for-replica", "off|leaves|all",
            "Which writes wait for a Redis replica, if there is one: off, leaves, or all (also heartbeats that bring users online); "
                + "default leaves.",
            static (o, v) => o.RedisStore = o.RedisStore with
            {
                ReplicaWait = Word(v, ("off", ReplicaWait.Off), ("leaves", ReplicaWait.Leaves), ("all", ReplicaWait.All)),
            }),
        new(
            "postgres", "CONNECTION",
            "A PostgreSQL 13 or newer that stores the users of nodes with --redis, with their names; "
                + "postgres://USER@HOST:PORT/DATABASE or Host=…;Database=…;Username=…. Without it, users are numbers on these nodes.",
            static (o, v) => o.Postgres = PostgresOptions.Parse(v), IsSecret: true),
        new(
            "postgres-password", "PASSWORD",
            "The password for PostgreSQL. Other users of this machine can see flags, but not AGLOW_POSTGRES_PASSWORD.",
            static (o, v) => o.PostgresPassword = v, IsSecret: true),
        new(
            "lease-seconds", "N", "How long a heartbeat lasts, in seconds; default 30.",
            static (o, v) => o.Presence.LeaseSeconds = Whole(v)),
        new(
            "heartbeat-seconds", "N", "The interval of heartbeats that the server gives clients, in seconds; default 10.",
            static (o, v) => o.Presence.HeartbeatSeconds = Whole(v)),
        new(
            "socket-ping-seconds", "N", "The interval at which the server pings sockets, in seconds; default: that of heartbeats.",
            static (o, v) => o.Presence.SocketPingSeconds = Whole(v)),
        new(
            "away-seconds", "N", "A user is away when their reported activity is older than this, in seconds; default 600.",
            static (o, v) => o.Presence.AwaySeconds = Whole(v)),
        new(
            "max-user-number", "N", "The highest integer ID of the application's users; default 2147483647.",
            static (o, v) => o.Presence.MaxUserNumber = (uint)Whole(v, least: 0)),
        new(
            "memory-megabytes", "N", "The memory for users' words, in MiB (0: half of the memory that the process may use); default 0.",
            static (o, v) => o.Presence.MemoryMegabytes = Whole(v)),
        new(
            "known-keys", "N", "How many registered users a node keeps in memory; default 10000000.",
            static (o, v) => o.Presence.KnownKeys = Whole(v)),
        new(
            "changes-hours", "N", "How long the feed of changes keeps a change, in hours (0: no feed); default 24.",
            static (o, v) => o.Presence.ChangesHours = Whole(v)),
        new(
            "changes-megabytes", "N", "The most space that the feed of changes takes, in MiB; default 256.",
            static (o, v) => o.Presence.ChangesMegabytes = Whole(v)),
        new(
            "webhooks-allow", "CIDR,…", "Networks that are not public, but that webhooks may call, such as 10.1.0.0/16.",
            static (o, v) => o.Presence.WebhooksAllow = v.Split(
                ',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)),
        new(
            "allowed-origins", "ORIGIN,…", "Other origins whose pages may make calls, read answers, and open sockets and event streams.",
            static (o, v) => o.Presence.AllowedOrigins = v.Split(
                ',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries)),
        new(
            "max-messages-per-second", "N", "Messages a second that the server accepts on one socket; default 50.",
            static (o, v) => o.Presence.MaxMessagesPerSecond = Whole(v)),
        new(
            "reciprocal-visibility", "true|false", "Whether people see no more of others than they show of themselves; default false.",
            static (o, v) => o.Presence.IsVisibilityReciprocal = Yes(v), IsSwitch: true),
        new(
            "drain-seconds", "N",
            "How long a stopping node takes to send its clients to other nodes, in seconds; default 10 with --redis, else 0.",
            static (o, v) => o.Presence.DrainSeconds = Whole(v)),
        new(
            "node-name", "NAME", "The name of this node in explanations; default: the name of the machine.",
            static (o, v) => o.Presence.NodeName = v),
        new(
            "demo", "N", "How many simulated people there are, in memory only, for trying out the page; default 0.",
            static (o, v) => o.Presence.DemoPeople = Whole(v)),
        new(
            "max-connections-per-user", "N", "Simultaneous sockets of one user; default 20.",
            static (o, v) => o.Presence.MaxConnectionsPerUser = Whole(v)),
        new(
            "max-connections-per-address", "N", "Simultaneous connections from one address; default 20000.",
            static (o, v) => o.Presence.MaxConnectionsPerAddress = Whole(v)),
        new(
            "max-connections", "N", "Simultaneous connections in all; default: the limit of open files less 512.",
            static (o, v) => o.MaxConnections = Whole(v, least: 1)),
        new(
            "auth", "open|token",
            "Who may act for a user. open (the default): any caller for any user, on this machine only. token: people with their "
                + "tokens, backends with their keys (aglow keys).",
            static (o, v) => o.Auth.TakesTokens = Word(v, ("open", false), ("token", true))),
        new(
            "allow-open", "true|false",
            "Allows open mode to be reachable from other machines; default false. Use it only behind a gateway that authenticates callers.",
            static (o, v) => o.Auth.AllowOpen = Yes(v), IsSwitch: true),
        new(
            "jwt-secret", "BASE64",
            "The secret that signs people's tokens (HS256), 32 bytes or more. Other users of this machine can see flags, but not "
                + "AGLOW_JWT_SECRET.",
            static (o, v) => o.Auth.Secret = AuthSettings.ReadSecret(v), IsSecret: true),
        new(
            "jwt-issuer", "ISSUER", "The \"iss\" that a token must have; default with --jwt-authority: that issuer's name.",
            static (o, v) => o.Auth.Issuer = v),
        new("jwt-audience", "AUDIENCE", "The \"aud\" that a token must have.", static (o, v) => o.Auth.Audience = v),
        new(
            "jwt-authority", "URL",
            "The issuer of people's tokens, which publishes its keys (OpenID Connect discovery). Use it instead of a secret.",
            static (o, v) => o.Auth.Authority = AuthSettings.ReadAuthority(v)),
        new(
            "rate-limit", "N", "Calls a second of one person (0: no limit); default 50 with --auth token, else 0.",
            static (o, v) => o.CallsPerUser = Rate(v)),
        new(
            "rate-limit-key", "N", "Calls a second of one key (0: no limit); default 20000 with --auth token, else 0.",
            static (o, v) => o.CallsPerKey = Rate(v)),
        new(
            "rate-limit-address", "N", "Calls a second of one address (0: no limit); default 20000 with --auth token, else 0.",
            static (o, v) => o.CallsPerAddress = Rate(v)),
        new(
            "rate-limit-registrations", "N",
            "New users a second that one key or address may register (0: no limit); default 10000 with --auth token. "
                + "A person may register at most 100 a second.",
            static (o, v) => o.RegistrationsPerKey = Rate(v)),
        new(
            "trusted-proxies", "CIDR,…",
            "Proxies whose X-Forwarded-For or Forwarded header the server trusts: addresses and networks such as 10.0.0.0/8.",
            static (o, v) => o.TrustedProxies = Addresses.ReadNetworks(v)),
        new(
            "proxy-protocol", "true|false",
            "Trusted proxies send a PROXY header (version 1 or 2) at the start of each connection, instead of HTTP headers; "
                + "default false.",
            static (o, v) => o.ReadsProxyProtocol = Yes(v), IsSwitch: true),
        new(
            "page", "on|off", "Whether the server has its page at / and the description of its calls at /docs; default on.",
            static (o, v) => o.HasPage = Word(v, ("on", true), ("off", false))),
        new(
            "otlp", "URL",
            "The collector for metrics and traces (OpenTelemetry), such as http://127.0.0.1:4318. OTEL_… variables apply too. "
                + "Default: none.",
            static (o, v) => o.Otlp = Collector(v)),
        new(
            "log-format", "text|json", "The format of log lines; default text.",
            static (o, v) => o.LogsJson = Word(v, ("text", false), ("json", true))),
    ];

    public string Flag => $"--{Name}";

    private string Key => Normal(Name);

    /// <summary>Reads all settings. The keys of <paramref name="flags"/> are the names of flags.</summary>
    public static ServeOptions Read(IReadOnlyDictionary<string, string> flags)
    {
        var settings = flags.GetValueOrDefault("--settings") ?? Variable($"{Prefix}SETTINGS");
        var files = ReadFile(settings);
        var file = settings ?? FileName;
        var options = new ServeOptions { Files = files };
        foreach (var (path, value) in files.GetSection(Section).AsEnumerable(makePathsRelative: true))
        {
            if (value is not null && !TryApply(options, path.Split(ConfigurationPath.KeyDelimiter), value, $"{path} in {file}"))
                throw new UsageException($"{path} in {file} is not a setting: aglow serve --help lists them.");
        }

        var secrets = flags.GetValueOrDefault("--secrets") ?? Variable($"{Prefix}SECRETS") ?? options.SecretsFolder;
        ReadSecrets(options, secrets ?? Variable(Credentials));
        foreach (var variable in Environment.GetEnvironmentVariables().Cast<DictionaryEntry>())
        {
            var (name, value) = ((string)variable.Key, (string?)variable.Value);
            // the key is for commands that call a server, and often set in the same shell
            if (name.StartsWith(Prefix, StringComparison.Ordinal) && name != RemoteServer.KeyVariable && value is { Length: > 0 }
                && !TryApply(options, name[Prefix.Length..].Split("__"), value, name))
                options.Warnings.Add($"{name} is not a setting and is ignored: aglow serve --help lists them.");
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
        {
            throw new UsageException(
                "proxy-protocol lets every connection name its own client address, unless there are trusted proxies: "
                    + "set --trusted-proxies, too.");
        }

        if (options.Redis is null && (options.RedisUser ?? options.RedisPassword) is not null)
            throw new UsageException("redis-user and redis-password are for --redis: set that, too.");
        if (options.Redis is null && options.RedisStore != new RedisStoreOptions())
            throw new UsageException("adopt, allow-eviction and wait-for-replica are for --redis: set that, too.");
        if (options.Redis is not null && options.Presence.DemoPeople > 0)
            throw new UsageException("demo people are in the memory of one server: set --demo or --redis, not both.");
        if (options.Postgres is null && options.PostgresPassword is not null)
            throw new UsageException("postgres-password is for --postgres: set that, too.");
        if (options.Postgres is not null && options.Redis is null)
        {
            throw new UsageException(
                "--postgres is for nodes that share a Redis: set --redis, too, or leave it out; one server has its users in its folder.");
        }

        if (options.Postgres is { } postgres)
        {
            options.Postgres = postgres with
            {
                Password = options.PostgresPassword,
                ApplicationName = $"aglow {options.Presence.NodeName}",
            };
        }

        if (options.Redis is { } redis)
            (redis.User, redis.Password) = (options.RedisUser ?? redis.User, options.RedisPassword ?? redis.Password);
        return options;
    }

    /// <summary>
    /// Only the data folder: that of a flag, or else as <c>serve</c> finds it. Keys are made before the rest of the settings is complete.
    /// </summary>
    public static string ReadFolder(string? flag) =>
        flag
        ?? Variable($"{Prefix}DATA")
        ?? (ReadFile(Variable($"{Prefix}SETTINGS"))[$"{Section}:Data"] is { Length: > 0 } folder ? folder : null)
        ?? new AglowOptions().DataDirectory;

    private static IConfiguration ReadFile(string? named)
    {
        if (named is not null && !File.Exists(named))
            throw new UsageException($"settings is \"{named}\", which does not exist: name a file that does");
        try
        {
            return new ConfigurationBuilder()
                .AddJsonFile(
                    named is null ? Path.Combine(AppContext.BaseDirectory, FileName) : Path.GetFullPath(named), optional: true)
                .Build();
        }
        catch (InvalidDataException wrong)
        {
            throw new UsageException($"{wrong.Message} {wrong.InnerException?.InnerException?.Message ?? wrong.InnerException?.Message}");
        }
    }

    private static void ReadSecrets(ServeOptions options, string? folder)
    {
        if (folder is null)
            return;
        try
        {
            // a platform puts other files beside ours
            foreach (var file in Directory.EnumerateFiles(folder, $"{Prefix}*"))
            {
                // editors and `echo` end a file with a line break, which is not part of the password
                if (File.ReadAllText(file).TrimEnd('\r', '\n') is { Length: > 0 } value
                    && !TryApply(options, Path.GetFileName(file)[Prefix.Length..].Split("__"), value, file, isSecret: true))
                    throw new UsageException($"{file} is not a setting: aglow serve --help lists them.");
            }
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new UsageException(
                $"secrets cannot be read ({failure.Message.TrimEnd('.')}): name a folder that this user may read with --secrets.");
        }
    }

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    /// <summary>Applies one setting, named by its path in a file; false if there is no such setting.</summary>
    /// <exception cref="UsageException">The value cannot be read.</exception>
    internal static bool TryApply(ServeOptions options, string[] path, string value, string source, bool isSecret = false)
    {
        if (path.Length == 3 && Normal(path[0]) == Definitions)
            return TryDefine(options.Presence.Definitions, path[1], Normal(path[2]), value, source);
        if (path.Length != 1 || All.FirstOrDefault(s => s.Key == Normal(path[0])) is not { } setting)
            return false;
        setting.Set(options, value, source, isSecret);
        return true;
    }

    private static bool TryDefine(
        Dictionary<string, DefinitionOptions> definitions, string name, string member, string value, string source)
    {
        if (!definitions.TryGetValue(name, out var definition))
            definitions[name] = definition = new DefinitionOptions();
        Action? apply = member switch
        {
            "pulseseconds" => () => definition.PulseSeconds = Whole(value),
            "activityseconds" => () => definition.ActivitySeconds = Whole(value),
            "endedbyleave" => () => definition.EndedByLeave = Yes(value),
            _ => null,
        };
        if (apply is null)
            return false;
        Try(apply, value, source, isSecret: false);
        return true;
    }

    private void Set(ServeOptions options, string value, string source, bool isSecret = false) => Try(
        () =>
        {
            if (value.Length == 0 && Value is "DIR" or "FILE")
                throw new UsageException(Value == "DIR" ? "name a folder" : "name a file");
            Apply(options, value);
        },
        value, source, isSecret || IsSecret);

    private static void Try(Action apply, string value, string source, bool isSecret)
    {
        try
        {
            apply();
        }
        catch (Exception wrong) when (wrong is UsageException or FormatException)
        {
            // passwords must not get into logs
            if (isSecret || value.Contains("password=", StringComparison.OrdinalIgnoreCase))
                throw new UsageException($"{source} is not valid: {wrong.Message}.");
            var shown = value.LastIndexOf('@') is >= 0 and var at ? $"…{value[at..]}" : value;
            throw new UsageException($"{source} is \"{shown}\": {wrong.Message}.");
        }
    }

    // "LeaseSeconds", "LEASE_SECONDS" and "lease-seconds" are one name
    private static string Normal(string name) => name.Replace("_", "").Replace("-", "").ToLowerInvariant();

    private static int Whole(string value, int least = int.MinValue) =>
        int.TryParse(value, NumberStyles.AllowLeadingSign, null, out var number) && number >= least
            ? number
            : throw new UsageException($"set a whole number {(least == int.MinValue ? "up" : $"from {least}")} to {int.MaxValue}");

    private static string Collector(string value) =>
        Uri.TryCreate(value, UriKind.Absolute, out var url) && url.Scheme is ("http" or "https")
            ? value
            : throw new UsageException("set http://HOST:PORT or https://HOST:PORT");

    private static int Rate(string value) =>
        int.TryParse(value, NumberStyles.None, null, out var rate) && rate <= 1_000_000_000
            ? rate
            : throw new UsageException("set a whole number up to 1000000000, 0 for no limit");

    private static bool Yes(string value) => bool.TryParse(value, out var yes) ? yes : throw new UsageException("set true or false");

    private static T Word<T>(string value, params (string Word, T Meaning)[] words)
    {
        foreach (var (word, meaning) in words)
        {
            if (word == value)
                return meaning;
        }

        var but = string.Join(", ", words[..^1].Select(static one => one.Word));
        throw new UsageException($"set {but} or {words[^1].Word}");
    }
}
