using System.Security.Authentication;
using Aglow.Storage;
using StackExchange.Redis;
using StackExchange.Redis.Availability;

namespace Aglow.Redis;

/// <summary>
/// The connections of StackExchange.Redis to all servers: one for commands, one for hints, and one for pages, since their 255 KiB would delay the
/// answers behind them.
/// </summary>
/// <remarks>
/// The library selects the server of a key, connects again, follows Sentinels, logs in and speaks TLS. Set here is what <see cref="RedisCluster"/> relies on: a
/// command that cannot be sent fails at once and does not wait in a queue of the library, and a connection on which an answer is owed for 5 s, and none came for 2 s, is closed.
/// </remarks>
internal sealed class RedisConnections : IAsyncDisposable
{
    // a start has nobody who waits for an answer, and a process's first TLS handshake reads all certificates that its machine trusts: seconds on a busy machine
    private static readonly TimeSpan StartTimeout = TimeSpan.FromSeconds(10);
    private const string ClientName = "aglow";

    /// <summary>How long an answer may take while others come.</summary>
    public static readonly TimeSpan AnswerTimeout = TimeSpan.FromSeconds(5);

    private RedisConnections(ConnectionMultiplexer commands, ConnectionMultiplexer pages)
    {
        Commands = commands;
        (Short, Long) = (commands.GetDatabase(), pages.GetDatabase());
        Pages = pages;
    }

    /// <summary>Everything but pages.</summary>
    public ConnectionMultiplexer Commands { get; }

    /// <summary>Commands with short answers.</summary>
    public IDatabase Short { get; }

    /// <summary>Commands with long answers.</summary>
    public IDatabase Long { get; }

    private ConnectionMultiplexer Pages { get; }

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
        await Commands.CloseAsync(allowCommandsToComplete: false);
        await Pages.CloseAsync(allowCommandsToComplete: false);
        await Commands.DisposeAsync();
        await Pages.DisposeAsync();
    }

    /// <summary>One more connection to all servers, set as these are.</summary>
    /// <exception cref="StoreUnavailableException">No server can be used; the message is one line.</exception>
    internal static async Task<ConnectionMultiplexer> ConnectAsync(ConfigurationOptions options, TimeProvider time)
    {
        var began = time.GetTimestamp();
        while (true)
        {
            var attempts = new Attempts();
            try
            {
                return await ConnectionMultiplexer.ConnectAsync(Prepare(options, attempts));
            }
            catch (Exception failure) when (failure is RedisException or TimeoutException or ArgumentException or InvalidOperationException)
            {
                if (attempts.Failure is { } refusal)
                    throw new StoreUnavailableException($"Redis at {RedisAddress.Describe(options)} cannot be used: {Explain(refusal, failure)}.", failure);
                if (time.GetElapsedTime(began) > StartTimeout)
                    throw new StoreUnavailableException($"Redis at {RedisAddress.Describe(options)} cannot be used: no answer within {StartTimeout.TotalSeconds:0} s.", failure);
            }
        }
    }

    // A refused login is said by the failure alone: the attempt goes on, and is then told that it has not logged in.
    private static string Explain(Exception attempt, Exception failure)
    {
        if (failure.Message.Contains("WRONGPASS", StringComparison.Ordinal))
            return "it refuses this user and password";
        if (attempt is AuthenticationException || attempt.InnerException is AuthenticationException)
            return $"its TLS certificate is not accepted: {attempt.GetBaseException().Message.TrimEnd('.')}";
        return attempt.Message.Contains("NOAUTH", StringComparison.Ordinal)
            ? "it wants a password: set --redis-user and --redis-password"
            : attempt.GetBaseException().Message.TrimEnd('.');
    }

    private static ConfigurationOptions Prepare(ConfigurationOptions options, Attempts attempts)
    {
        var prepared = options.Clone();
        var timeout = (int)AnswerTimeout.TotalMilliseconds;
        (prepared.AsyncTimeout, prepared.SyncTimeout, prepared.ConnectTimeout) = (timeout, timeout, (int)StartTimeout.TotalMilliseconds / 2);
        (prepared.AbortOnConnectFail, prepared.ConnectRetry) = (true, 1);
        // timeouts are found, and lost connections made again, once in this time
        prepared.HeartbeatInterval = TimeSpan.FromMilliseconds(100);
        prepared.ReconnectRetryPolicy = new Reconnects();
        prepared.BacklogPolicy = BacklogPolicy.FailFast;
        prepared.CircuitBreaker = new AnswerOwed();
        // seconds after which a silent subscription is tested
        prepared.KeepAlive = 5;
        // neither a key nor a channel of the library's own in a Redis that others may use, too
        (prepared.TieBreaker, prepared.ConfigurationChannel) = ("", "");
        prepared.ClientName ??= ClientName;
        prepared.IncludeDetailInExceptions = false;
        prepared.AllowAdmin = true;
        prepared.ConnectionAttemptCompleted += attempts.Note;
        return prepared;
    }

    /// <summary>How the attempts to connect ended.</summary>
    private sealed class Attempts
    {
        private volatile Exception? _failure;

        /// <summary>The last one; null: nobody refused, and nobody answered in time.</summary>
        public Exception? Failure => _failure;

        public void Note(object? sender, ConnectionAttemptCompletedEventArgs attempt)
        {
            if (!attempt.IsSuccess && attempt.FailureType != ConnectionFailureType.ConnectionDisposed && attempt.Exception is { } failure)
                _failure = failure;
        }
    }

    /// <summary>Connects again with pauses of 50 to 250 ms, half as long or longer at random: so that all nodes notice soon that a server is back.</summary>
    private sealed class Reconnects : IReconnectRetryPolicy
    {
        public bool ShouldRetry(long currentRetryCount, int timeElapsedMillisecondsSinceLastRetry) =>
            timeElapsedMillisecondsSinceLastRetry >= Math.Min(250, 50 << (int)Math.Min(currentRetryCount, 3)) * (0.5 + Random.Shared.NextDouble());
    }

    /// <summary>Gives a connection up when an answer is owed, and none came, for longer than the timeout.</summary>
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
