using Npgsql;
using NpgsqlTypes;

namespace Aglow.Postgres;

/// <summary>Statements and their parameters.</summary>
internal static class Sql
{
    public static NpgsqlBatchCommand Statement(string sql, params ReadOnlySpan<NpgsqlParameter> parameters)
    {
        var statement = new NpgsqlBatchCommand(sql);
        foreach (var parameter in parameters)
            statement.Parameters.Add(parameter);
        return statement;
    }

    public static NpgsqlParameter<long> Number(long number) => new() { TypedValue = number };

    public static NpgsqlParameter NumberOrNull(long? number) =>
        new() { Value = (object?)number ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Bigint };

    public static NpgsqlParameter<long[]> Numbers(IEnumerable<uint> numbers) =>
        new() { TypedValue = [.. numbers.Select(static n => (long)n)] };

    public static NpgsqlParameter<bool> Flag(bool flag) => new() { TypedValue = flag };

    public static NpgsqlParameter<string> Text(string text) => new() { TypedValue = text };

    public static NpgsqlParameter TextOrNull(string? text) =>
        new() { Value = (object?)text ?? DBNull.Value, NpgsqlDbType = NpgsqlDbType.Text };

    public static NpgsqlParameter Texts(IEnumerable<string?> texts) =>
        new() { Value = texts.ToArray(), NpgsqlDbType = NpgsqlDbType.Array | NpgsqlDbType.Text };
}

/// <summary>Cancels what takes longer than a time.</summary>
/// <remarks>
/// Commands have no timeout of Npgsql's: where one passes, Npgsql connects to the server to cancel the command, and blocks the thread of
/// the pool that it is on. A server that cannot be reached would so hold up every heartbeat. Here a thread of its own does it.
/// </remarks>
internal sealed class Deadline : IDisposable
{
    private readonly CancellationTokenSource _source = new();
    private readonly ITimer _timer;

    public Deadline(TimeSpan within) => _timer = TimeProvider.System.CreateTimer(Expire, _source, within, Timeout.InfiniteTimeSpan);

    public CancellationToken Token => _source.Token;

    public void Dispose() => _timer.Dispose();

    private static void Expire(object? source) => _ = Task.Factory.StartNew(
        static source => ((CancellationTokenSource)source!)
            .Cancel(), source, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
}
