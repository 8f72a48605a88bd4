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

/// <summary>Cancels a command that takes longer than a given time.</summary>
/// <remarks>
/// Npgsql's own command timeout is not used. When it passes, Npgsql connects to the server to cancel the command, and blocks its pool
/// thread meanwhile. An unreachable server would then block every heartbeat. This class cancels on a thread of its own instead.
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
