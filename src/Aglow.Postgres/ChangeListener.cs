using Npgsql;

namespace Aglow.Postgres;

/// <summary>
/// Listens for other nodes' changes of the directory: <c>LISTEN</c> on a separate connection, which it reopens until it succeeds.
/// </summary>
/// <remarks>
/// A notification only names the node that changed something; the writer reads the change itself. So a lost notification (no connection, or
/// a pooler without <c>LISTEN</c>) only delays a change by up to <see cref="PostgresWriter.CatchUpInterval"/>. Rejected: payloads with the
/// change itself. They hold 8,000 bytes and have their own order. They would also be a second way to read what the writer must read after
/// each loss anyway.
/// </remarks>
internal sealed class ChangeListener(
    NpgsqlDataSource source, PostgresOptions options, PostgresWriter writer, string node, TimeProvider time, PostgresLog log)
    : IAsyncDisposable
{
    private static readonly TimeSpan PauseBetweenAttempts = TimeSpan.FromSeconds(1);

    // a firewall may drop a connection silently
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(10);

    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;
    private long _received;
    private bool _isLossLogged;

    /// <summary>Notifications received from other nodes.</summary>
    public long Received => Volatile.Read(ref _received);

    public void Start() => _loop = Task.Run(RunAsync);

    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await ListenAsync();
            }
            catch (Exception) when (_stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception failure)
            {
                // the writer reports that the server is away
                if (!_isLossLogged && !writer.IsAway)
                {
                    log.NotHeard(PostgresFailure.Explain(failure, options).Message.TrimEnd('.'));
                    _isLossLogged = true;
                }
            }

            // reads what was missed meanwhile, and finds out whether the server answers
            writer.ScheduleCatchUp();
            await Task.Delay(PauseBetweenAttempts * (0.5 + Random.Shared.NextDouble()), time, _stop.Token)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ListenAsync()
    {
        await using var connection = await source.OpenConnectionAsync(_stop.Token);
        connection.Notification += (_, notification) =>
        {
            if (notification.Payload == node)
                return;
            Interlocked.Increment(ref _received);
            writer.ScheduleCatchUp();
        };
        await ExecuteAsync(connection, $"LISTEN {PostgresWriter.Channel}");
        if (_isLossLogged)
            log.HeardAgain();
        _isLossLogged = false;
        writer.ScheduleCatchUp();
        while (true)
        {
            if (!await connection.WaitAsync(CheckInterval, _stop.Token))
                await ExecuteAsync(connection, "SELECT 1");
        }
    }

    private async Task ExecuteAsync(NpgsqlConnection connection, string sql)
    {
        using var deadline = new Deadline(options.AnswersWithin);
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(deadline.Token);
    }
}
