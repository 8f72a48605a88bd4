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
internal sealed class ChangeListener : IAsyncDisposable
{
    private static readonly TimeSpan PauseBetweenAttempts = TimeSpan.FromSeconds(1);

    // a firewall may drop a connection silently
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(10);

    private readonly NpgsqlDataSource _source;
    private readonly PostgresOptions _options;
    private readonly PostgresWriter _writer;
    private readonly string _node;
    private readonly TimeProvider _time;
    private readonly PostgresLog _log;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private long _heard;
    private bool _isSaidLost;

    public ChangeListener(
        NpgsqlDataSource source, PostgresOptions options, PostgresWriter writer, string node, TimeProvider time, PostgresLog log)
    {
        _source = source;
        _options = options;
        _writer = writer;
        _node = node;
        _time = time;
        _log = log;
        _loop = Task.Run(RunAsync);
    }

    /// <summary>Notifications received from other nodes.</summary>
    public long Heard => Volatile.Read(ref _heard);

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
                if (!_isSaidLost && !_writer.IsAway)
                {
                    _log.NotHeard(PostgresFailure.Explain(failure, _options).Message.TrimEnd('.'));
                    _isSaidLost = true;
                }
            }

            // reads what was missed meanwhile, and finds out whether the server answers
            _writer.Hear();
            await Task.Delay(PauseBetweenAttempts * (0.5 + Random.Shared.NextDouble()), _time, _stop.Token)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private async Task ListenAsync()
    {
        await using var connection = await _source.OpenConnectionAsync(_stop.Token);
        connection.Notification += (_, notification) =>
        {
            if (notification.Payload == _node)
                return;
            Interlocked.Increment(ref _heard);
            _writer.Hear();
        };
        await SayAsync(connection, $"LISTEN {PostgresWriter.Channel}");
        if (_isSaidLost)
            _log.HeardAgain();
        _isSaidLost = false;
        _writer.Hear();
        while (true)
        {
            if (!await connection.WaitAsync(CheckInterval, _stop.Token))
                await SayAsync(connection, "SELECT 1");
        }
    }

    private async Task SayAsync(NpgsqlConnection connection, string sql)
    {
        using var deadline = new Deadline(_options.AnswersWithin);
        await using var command = new NpgsqlCommand(sql, connection);
        await command.ExecuteNonQueryAsync(deadline.Token);
    }
}
