using System.Data.Common;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>How to reach PostgreSQL.</summary>
public sealed record PostgresOptions
{
    // a writer, a listener, and readers for unknown IDs; fifty nodes stay within 500 connections
    private const int DefaultPoolSize = 10;
    private const int ConnectSeconds = 3;

    private readonly NpgsqlConnectionStringBuilder _parts;

    private PostgresOptions(NpgsqlConnectionStringBuilder parts) => _parts = parts;

    /// <summary>The password; null: the connection string contains it.</summary>
    public string? Password { get; init; }

    /// <summary>The application name that the server shows.</summary>
    public string ApplicationName { get; init; } = "aglow";

    /// <summary>
    /// How long an answer may take: 10 s, because ten thousand new IDs take one second on a busy server. An unreachable server is noticed
    /// within <c>Timeout</c> (3 s).
    /// </summary>
    public TimeSpan AnswersWithin { get; init; } = TimeSpan.FromSeconds(10);

    internal string User => _parts.Username ?? Environment.UserName;

    internal string Database => _parts.Database ?? User;

    internal int PoolSize => _parts.MaxPoolSize;

    /// <summary>
    /// Parses <c>Host=…;Username=…;Password=…;Database=…</c> or <c>postgres://USER:PASSWORD@HOST:PORT/DATABASE?sslmode=require</c>. The
    /// first form may name several hosts, separated by commas; the one that takes writes is used.
    /// </summary>
    /// <exception cref="FormatException">The text is neither. The message says what to write, and repeats no part of the text.</exception>
    public static PostgresOptions Parse(string text)
    {
        const string expected = "set Host=…;Port=5432;Database=…;Username=…;Password=… or postgres://USER:PASSWORD@HOST:PORT/DATABASE";
        try
        {
            var parts = text.Contains("://", StringComparison.Ordinal) ? FromUri(text) : new NpgsqlConnectionStringBuilder(text);
            if (string.IsNullOrWhiteSpace(parts.Host))
                throw new FormatException(expected);
            SetDefaults(parts);
            return new PostgresOptions(parts);
        }
        catch (Exception wrong) when (
            wrong is ArgumentException or UriFormatException or KeyNotFoundException or OverflowException or InvalidCastException)
        {
            throw new FormatException(expected, wrong);
        }
    }

    /// <summary>Host and database, without secrets.</summary>
    public override string ToString() =>
        $"{string.Join(",", _parts.Host!.Split(',').Select(host => host.Contains(':') ? host : $"{host}:{_parts.Port}"))}/{Database}";

    internal NpgsqlDataSource CreateSource()
    {
        var parts = new NpgsqlConnectionStringBuilder(_parts.ConnectionString)
        {
            // so long that Npgsql's own timeout never comes first; Deadline says why
            CommandTimeout = (int)PostgresChanges.AllWithin.TotalSeconds,
            // keep-alive queries would block threads of the pool while the server is away
            KeepAlive = 0,
        };
        parts.ApplicationName ??= ApplicationName;
        if (Password is not null)
            parts.Password = Password;
        // the whole builder knows types that nothing here uses, which take 2 MB of the native file
        return new NpgsqlSlimDataSourceBuilder(parts.ConnectionString)
            .EnableTransportSecurity()
            .EnableIntegratedSecurity()
            .EnableArrays()
            .Build();
    }

    private static NpgsqlConnectionStringBuilder FromUri(string text)
    {
        var uri = new Uri(text);
        if (uri.Scheme is not ("postgres" or "postgresql"))
            throw new UriFormatException();
        var parts = new NpgsqlConnectionStringBuilder { Host = uri.Host.Trim('[', ']'), Port = uri.Port < 0 ? 5432 : uri.Port };
        if (uri.AbsolutePath.Length > 1)
            parts.Database = Uri.UnescapeDataString(uri.AbsolutePath[1..]);
        var who = uri.UserInfo.Split(':', 2);
        if (who[0].Length > 0)
            parts.Username = Uri.UnescapeDataString(who[0]);
        if (who.Length == 2)
            parts.Password = Uri.UnescapeDataString(who[1]);
        foreach (var setting in uri.Query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = setting.IndexOf('=');
            if (equals < 0)
                throw new UriFormatException();
            // libpq's words: verify-full is this library's VerifyFull, connect_timeout its Timeout
            var (name, value) = (setting[..equals], Uri.UnescapeDataString(setting[(equals + 1)..]));
            parts[name switch { "connect_timeout" => "Timeout", "application_name" => "Application Name", _ => name }] =
                name == "sslmode" ? value.Replace("-", "") : value;
        }

        return parts;
    }

    private static void SetDefaults(NpgsqlConnectionStringBuilder parts)
    {
        // only this builder knows which keywords the text contains; Npgsql's builder has every keyword
        var given = new DbConnectionStringBuilder { ConnectionString = parts.ConnectionString };
        if (!given.ContainsKey("Maximum Pool Size"))
            parts.MaxPoolSize = DefaultPoolSize;
        if (!given.ContainsKey("Timeout"))
            parts.Timeout = ConnectSeconds;
        if (parts.Host!.Contains(',') && !given.ContainsKey("Target Session Attributes"))
            parts.TargetSessionAttributes = "primary";
        // connections have no session settings, so a reset between uses is unnecessary
        parts.NoResetOnClose = true;
        parts.Pooling = true;
    }
}
