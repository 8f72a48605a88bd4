using System.Net.Sockets;
using Aglow.Storage;
using Npgsql;

namespace Aglow.Postgres;

/// <summary>Turns a failure into one line that tells an operator what to do.</summary>
internal static class PostgresFailure
{
    // out of memory, disk or connections: nothing was done, and a retry may succeed
    private const string Resources = "53";

    /// <summary>Whether an exception comes from the server or the network, not from a fault in this program.</summary>
    public static bool IsAway(Exception failure) =>
        failure is NpgsqlException or SocketException or IOException or TimeoutException
            or OperationCanceledException or ObjectDisposedException;

    /// <summary>Whether the connection is broken, so that only a new one can work.</summary>
    public static bool IsConnectionLost(Exception failure) => failure switch
    {
        PostgresException postgres => WasNeverRun(postgres),
        NpgsqlException npgsql => npgsql.InnerException is not TimeoutException && npgsql.IsTransient,
        _ => failure is SocketException or IOException or ObjectDisposedException,
    };

    /// <summary>Whether the server refuses only this command (its data, a constraint, a limit) and would run others.</summary>
    public static bool IsOfOneCommand(Exception failure) =>
        failure is PostgresException { SqlState: ['2', '1' or '2' or '3', ..] or ['5', '4', ..] };

    /// <summary>
    /// Whether the server refuses writes because of its own state but may still answer reads: no space, a failing disk, a damaged table.
    /// </summary>
    public static bool IsOfWrites(Exception failure) =>
        failure is PostgresException
        {
            SqlState: (['5', '3' or '8', ..] or ['X', 'X', ..]) and not PostgresErrorCodes.TooManyConnections
        };

    /// <summary>The cause that log lines about a failure share. Each cause is logged once a minute.</summary>
    public static string CauseOf(Exception failure) =>
        failure is PostgresException postgres && !WasNeverRun(postgres) ? postgres.SqlState : "unreached";

    /// <summary>
    /// Whether the server did not run the commands: it was shutting down or starting, is no longer the primary, or rolled them back.
    /// </summary>
    public static bool WasNeverRun(Exception failure) => failure is PostgresException
    {
        SqlState: PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow
            or PostgresErrorCodes.IdleSessionTimeout or PostgresErrorCodes.ReadOnlySqlTransaction or PostgresErrorCodes.SerializationFailure
            or PostgresErrorCodes.DeadlockDetected
    };

    /// <summary>The failure as the exception that callers get.</summary>
    public static StoreUnavailableException Explain(Exception failure, PostgresOptions options) => new(Reason(failure, options), failure);

    /// <summary>The message about a server that takes no writes.</summary>
    public static string ReadOnly(PostgresOptions options) =>
        $"PostgreSQL at {options} is read-only: name the primary, or all servers (Host=a,b), of which the primary is used.";

    private static string Reason(Exception failure, PostgresOptions options)
    {
        if (failure is not PostgresException postgres)
            return Unreached(failure, options);
        return postgres.SqlState switch
        {
            PostgresErrorCodes.InvalidPassword or PostgresErrorCodes.InvalidAuthorizationSpecification =>
                $"PostgreSQL at {options} does not let {options.User} in ({postgres.MessageText}): set the right user, and the password "
                    + "with AGLOW_POSTGRES_PASSWORD.",
            PostgresErrorCodes.InvalidCatalogName =>
                $"PostgreSQL at {options} has no such database: create it (createdb -O {options.User} {options.Database}), or name "
                    + "another.",
            PostgresErrorCodes.InsufficientPrivilege =>
                $"{options.User} may not do this in PostgreSQL at {options} ({postgres.MessageText}): log in as the owner of the "
                    + "database, or have them start a node once.",
            PostgresErrorCodes.ReadOnlySqlTransaction => ReadOnly(options),
            PostgresErrorCodes.TooManyConnections =>
                $"PostgreSQL at {options} has no connection left: raise its max_connections, or lower Maximum Pool Size "
                    + $"({options.PoolSize}) here.",
            PostgresErrorCodes.AdminShutdown or PostgresErrorCodes.CrashShutdown or PostgresErrorCodes.CannotConnectNow =>
                $"PostgreSQL at {options} is stopping or starting.",
            PostgresErrorCodes.CheckViolation when postgres.ConstraintName == PostgresSchema.IndexesLeft =>
                "The user directory has given all of its 2,147,483,647 indexes.",
            PostgresErrorCodes.QueryCanceled =>
                $"PostgreSQL at {options} took longer than {options.AnswersWithin.TotalSeconds:0} s to answer.",
            var state when state.StartsWith(Resources, StringComparison.Ordinal) =>
                $"PostgreSQL at {options} cannot do this now: {postgres.MessageText}.",
            _ => $"PostgreSQL at {options} refuses: {postgres.MessageText} ({postgres.SqlState}).",
        };
    }

    private static string Unreached(Exception failure, PostgresOptions options)
    {
        if (failure.Message.Contains("pool has been exhausted", StringComparison.Ordinal))
            return $"All {options.PoolSize} connections to PostgreSQL at {options} are in use: raise Maximum Pool Size in --postgres.";
        if (failure.Message.Contains("No password has been provided", StringComparison.Ordinal))
            return $"PostgreSQL at {options} wants a password for {options.User}: set AGLOW_POSTGRES_PASSWORD.";
        if (failure is TimeoutException or OperationCanceledException || failure.InnerException is TimeoutException)
            return $"PostgreSQL at {options} does not answer in time: "
                + "see that it runs there, what holds it up, and that nothing stands between.";
        var reason = (failure.InnerException ?? failure).Message.TrimEnd('.');
        var end = reason.IndexOfAny(['\r', '\n']);
        return $"PostgreSQL at {options} cannot be reached ({(end < 0 ? reason : reason[..end])}): "
            + "start it, or name where it is with --postgres.";
    }
}
