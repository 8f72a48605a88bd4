using System.Security.Authentication;
using Aglow.Storage;
using StackExchange.Redis;
using StackExchange.Redis.Availability;

namespace Aglow.Redis.Connections;

/// <summary>
/// The connections of StackExchange.Redis to all servers: one for commands, one for hints, one for pages. A page has 255 KiB and would
/// delay the answers behind it.
/// </summary>
/// <remarks>
/// The library selects the server of a key, reconnects, follows Sentinels, logs in and speaks TLS. This class sets what
/// <see cref="RedisCluster"/> relies on. A command that cannot be sent fails at once instead of waiting in a queue of the library. A
/// connection closes when a command has waited for its answer for 5 s and no answer at all came for 2 s.
/// </remarks>
internal sealed class RedisConnections(ConnectionMultiplexer commands, ConnectionMultiplexer pages) : IAsyncDisposable
{
    // At start no caller waits. A process's first TLS handshake reads all trusted certificates of the machine, which takes seconds on a
    // busy machine.
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(10);
    private const string ClientName = "aglow";

    /// <summary>How long an answer may take while other answers arrive.</summary>
    public static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(5);

    /// <summary>The connection for everything but pages.</summary>
    public ConnectionMultiplexer Commands => commands;

    /// <summary>Commands with short answers.</summary>
    public IDatabase Short { get; } = commands.GetDatabase();

    /// <summary>Commands with long answers.</summary>
    public IDatabase Long { get; } = pages.GetDatabase();

    /// <summary>Connects.</summary>
    /// <exception cref="StoreUnavailableException">No server can be used; the message is one line.</exception>
    public static async Task<RedisConnections> OpenAsync(ConfigurationOptions options, TimeProvider time)
    {
        Task<ConnectionMultiplexer>[] both = [ConnectAsync(options, time), ConnectAsync(options, time)];
        try
        {
            return new RedisConnections(await both[0], await both[1]);
        }
        catch
        {
            foreach (var one in both)
            {
                await Task.WhenAny(one);
                if (one.IsCompletedSuccessfully)
                    await one.Result.DisposeAsync();
            }

            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        await commands.CloseAsync(allowCommandsToComplete: false);
        await pages.CloseAsync(allowCommandsToComplete: false);
        await commands.DisposeAsync();
        await pages.DisposeAsync();
    }

    /// <summary>Opens one more connection to all servers, with the same settings.</summary>
    /// <exception cref="StoreUnavailableException">No server can be used; the message is one line.</exception>
    internal static async Task<ConnectionMultiplexer> ConnectAsync(ConfigurationOptions options, TimeProvider time)
    {
        var began = time.GetTimestamp();
        while (true)
        {
            // how the last attempt failed; null: no server refused, and none answered in time
            Exception? refusal = null;
            var prepared = Prepare(options);
            prepared.ConnectionAttemptCompleted += (_, attempt) =>
            {
                if (!attempt.IsSuccess && attempt.FailureType != ConnectionFailureType.ConnectionDisposed)
                    refusal = attempt.Exception ?? refusal;
            };
            try
            {
                return await ConnectionMultiplexer.ConnectAsync(prepared);
            }
            catch (Exception failure) when (failure is RedisException or TimeoutException or ArgumentException or InvalidOperationException)
            {
                if (refusal is not null)
                    throw new StoreUnavailableException(
                        $"Redis at {ServerNames.Of(options)} cannot be used: {Explain(refusal, failure)}.", failure);
                if (time.GetElapsedTime(began) > StartTimeout)
                    throw new StoreUnavailableException(
                        $"Redis at {ServerNames.Of(options)} cannot be used: no answer within {StartTimeout.TotalSeconds:0} s.",
                        failure);
            }
        }
    }

    // Only the failure shows a refused login: the attempt continues, and then reports that it is not logged in.
    private static string Explain(Exception attempt, Exception failure)
    {
        if (failure.Message.Contains("WRONGPASS", StringComparison.Ordinal))
            return "it refuses this user and password";
        if (attempt is AuthenticationException || attempt.InnerException is AuthenticationException)
            return $"its TLS certificate is not accepted: {attempt.GetBaseException().Message.TrimEnd('.')}";
        return attempt.Message.Contains("NOAUTH", StringComparison.Ordinal)
            ? "it wants a password: set --redis-user and --redis-password"
            : $"{attempt.GetBaseException().Message.TrimEnd('.')}. Start it, or name another";
    }

    private static ConfigurationOptions Prepare(ConfigurationOptions options)
    {
        var prepared = options.Clone();
        var timeout = (int)AnswerTimeout.TotalMilliseconds;
        (prepared.AsyncTimeout, prepared.SyncTimeout, prepared.ConnectTimeout) =
            (timeout, timeout, (int)StartTimeout.TotalMilliseconds / 2);
        (prepared.AbortOnConnectFail, prepared.ConnectRetry) = (true, 1);
        // how often the library checks for timeouts and reconnects lost connections
        prepared.HeartbeatInterval = TimeSpan.FromMilliseconds(100);
        prepared.ReconnectRetryPolicy = new Reconnects();
        prepared.BacklogPolicy = BacklogPolicy.FailFast;
        prepared.CircuitBreaker = new AnswerOwed();
        // seconds after which a silent subscription is tested
        prepared.KeepAlive = 5;
        // use no keys or channels of the library's own, because other applications may share this Redis
        (prepared.TieBreaker, prepared.ConfigurationChannel) = ("", "");
        prepared.ClientName ??= ClientName;
        prepared.IncludeDetailInExceptions = false;
        prepared.AllowAdmin = true;
        return prepared;
    }

    /// <summary>
    /// Reconnects after pauses of 50 to 250 ms, each multiplied by a random factor of 0.5 to 1.5. So all nodes notice a returning server
    /// soon.
    /// </summary>
    private sealed class Reconnects : IReconnectRetryPolicy
    {
        public bool ShouldRetry(long currentRetryCount, int timeElapsedMillisecondsSinceLastRetry) =>
            timeElapsedMillisecondsSinceLastRetry
                >= Math.Min(250, 50 << (int)Math.Min(currentRetryCount, 3)) * (0.5 + Random.Shared.NextDouble());
    }

    /// <summary>Closes a connection when a command timed out and no answer at all came for <see cref="RedisCluster.Timeout"/>.</summary>
    private sealed class AnswerOwed : CircuitBreaker
    {
        public override Accumulator CreateAccumulator() => new Connection();

        private sealed class Connection : Accumulator
        {
            private long _answeredAt = Environment.TickCount64;
            private volatile bool _isOwed;

            public override void ObserveResult(in FaultContext fault)
            {
                if (fault.ErrorKind == RedisErrorKind.Timeout)
                    _isOwed |= Environment.TickCount64 - Volatile.Read(ref _answeredAt) >= (long)RedisCluster.Timeout.TotalMilliseconds;
                else
                    Volatile.Write(ref _answeredAt, Environment.TickCount64);
            }

            public override bool IsHealthy() => !_isOwed;

            public override void Reset() => _isOwed = false;
        }
    }
}
