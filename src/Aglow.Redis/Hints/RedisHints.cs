using System.Collections.Concurrent;
using Aglow.Diagnostics;
using Aglow.Heartbeats;
using Aglow.Redis.Connections;
using Aglow.Storage;
using StackExchange.Redis;

namespace Aglow.Redis.Hints;

/// <summary>Sends hints between nodes by publish and subscribe.</summary>
/// <remarks>
/// <code>
///   Publish ─► this node's handlers, at once
///           └► queue ─► one message at a time, with all hints that queued meanwhile ─► SPUBLISH {p:hints} ─► every node's subscription
/// </code>
/// A cluster that supports sharded channels (Redis 7) uses them, so a hint does not cross every link of the cluster. A single server needs
/// no shards, and Garnet supports them only in a cluster.
///
/// Each node receives all hints: at 8,400 transitions per second, 34 KB/s for each node. The library subscribes on its own connection, and
/// again after it loses that connection.
///
/// Every few seconds a node sends a message without hints. So the others know of it even if none of its users comes or goes, and send their
/// clients to it if they are cut off from Redis.
///
/// Hints may be lost: a connection was down, or more than <see cref="MostWaiting"/> waited. Sweeps and rechecks then find the changes
/// within their interval. Nothing is sent again, because the next sweep finds the change about as soon as a late hint would.
///
/// Threading: any thread publishes, without waiting. Hints of other nodes are handled one message after another, in order.
/// </remarks>
internal sealed class RedisHints(RedisCluster cluster, TimeProvider time, RedisLog log) : ITransitionBus, IAsyncDisposable
{
    /// <summary>The most hints in the queue; more are dropped.</summary>
    public const int MostWaiting = 1_000_000;

    private static readonly TimeSpan PauseBetweenAttempts = TimeSpan.FromMilliseconds(100);
    // a node that sends nothing for this long no longer counts as a peer
    private static readonly TimeSpan PeersRemembered = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan AnnounceInterval = TimeSpan.FromSeconds(3);
    private static readonly TimeSpan LogInterval = TimeSpan.FromMinutes(1);
    private static readonly Version Sharded = new(7, 0);

    private readonly ulong _node = (ulong)Random.Shared.NextInt64();
    private readonly ConcurrentQueue<(TransitionKind Kind, uint User)> _waiting = new();
    private readonly WakeUp _wake = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly RedisChannel _channel = cluster.IsCluster && cluster.Version >= Sharded
        ? RedisChannel.Sharded(RedisKeys.Hints)
        : RedisChannel.Literal(RedisKeys.Hints);

    private TransitionHandler? _handlers;
    private Task _publishing = Task.CompletedTask;
    private Task _subscribing = Task.CompletedTask;
    private long _sent;
    private long _received;
    private long _receivedAt;
    private long _announcedAt;
    private bool _mustAnnounce;
    private long _dropped;
    private volatile string _dropReason = "";
    private long _droppedLogged;
    private long _droppedLoggedAt;
    private bool _isLossLogged;

    /// <summary>Whether this node receives other nodes' hints now.</summary>
    public bool IsSubscribed => _subscribing.IsCompletedSuccessfully && cluster.Commands.GetSubscriber().IsConnected(_channel);

    /// <inheritdoc/>
    public bool IsLossless => false;

    /// <inheritdoc/>
    public bool HasPeers => Volatile.Read(ref _receivedAt) is not 0 and var at && time.GetElapsedTime(at) < PeersRemembered;

    /// <inheritdoc/>
    public void Publish(TransitionKind kind, ReadOnlySpan<uint> users)
    {
        _handlers?.Invoke(kind, users);
        if (_waiting.Count + users.Length > MostWaiting)
        {
            Drop(users.Length, "too many wait");
            return;
        }

        foreach (var user in users)
            _waiting.Enqueue((kind, user));
        _wake.Signal();
    }

    /// <inheritdoc/>
    public void Subscribe(TransitionHandler handler) => _handlers += handler;

    /// <summary>Starts. Completes when this node receives other nodes' hints, or after the timeout.</summary>
    public async Task StartAsync()
    {
        _publishing = Task.Run(PublishAsync);
        _subscribing = SubscribeAsync();
        await Task.WhenAny(_subscribing, Task.Delay(RedisCluster.Timeout, time));
    }

    /// <summary>
    /// Announces this node to the others. Logs when hints are lost, dropped and received again, and makes the library subscribe again.
    /// The owner's loop calls it every second.
    /// </summary>
    public void Tick()
    {
        LogDropped();
        if (_announcedAt == 0 || time.GetElapsedTime(_announcedAt) >= AnnounceInterval)
        {
            _announcedAt = time.GetTimestamp();
            Volatile.Write(ref _mustAnnounce, true);
            _wake.Signal();
        }

        var isLost = !IsSubscribed;
        if (isLost)
            cluster.Configure();
        if (isLost == _isLossLogged)
            return;
        _isLossLogged = isLost;
        if (isLost)
            log.HintsLost("no subscription");
        else
            log.HintsHeard();
    }

    public void Observe(AglowMetrics metrics)
    {
        metrics.Count("aglow.hints.sent", "Hints sent to other nodes.", () => Volatile.Read(ref _sent));
        metrics.Count("aglow.hints.heard", "Hints heard of other nodes.", () => Volatile.Read(ref _received));
        metrics.Count("aglow.hints.dropped", "Hints not sent: too many waited, or Redis was away.", () => Volatile.Read(ref _dropped));
    }

    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        _wake.Signal();
        await _publishing;
        await _subscribing;
        _stop.Dispose();
    }

    // The library restores its subscription after a lost connection. Only the first subscription must be retried here.
    private async Task SubscribeAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                // Hints are published on primaries, since commands go only there. So the subscription must be on a primary too.
                var messages = await cluster.Commands.GetSubscriber().SubscribeAsync(_channel, CommandFlags.DemandMaster);
                messages.OnMessage(Receive);
                return;
            }
            catch (Exception failure) when (RedisFaults.IsOfRedis(failure))
            {
                await cluster.Commands.GetSubscriber().UnsubscribeAsync(_channel, flags: CommandFlags.FireAndForget);
            }

            await Task.WhenAny(Task.Delay(PauseBetweenAttempts, time, _stop.Token));
        }
    }

    private async Task PublishAsync()
    {
        var hints = new (TransitionKind Kind, uint User)[HintMessage.MostUsers];
        while (!_stop.IsCancellationRequested)
        {
            var count = 0;
            while (count < hints.Length && _waiting.TryDequeue(out var hint))
                hints[count++] = hint;
            if (!Interlocked.Exchange(ref _mustAnnounce, false) && count == 0)
            {
                await _wake.WaitAsync();
                continue;
            }

            var message = new byte[HintMessage.MaxBytes(count)];
            var length = HintMessage.Write(message, _node, hints.AsSpan(0, count));
            if (await SendAsync(message.AsMemory(0, length)) is { } reason)
                Drop(count, reason);
            else
                Interlocked.Add(ref _sent, count);
        }
    }

    private void Drop(int count, string reason)
    {
        _dropReason = reason;
        Interlocked.Add(ref _dropped, count);
    }

    private void LogDropped()
    {
        var dropped = Volatile.Read(ref _dropped);
        if (dropped == _droppedLogged || (_droppedLoggedAt != 0 && time.GetElapsedTime(_droppedLoggedAt) < LogInterval))
            return;
        log.HintsDropped(dropped - _droppedLogged, _dropReason.TrimEnd('.'));
        (_droppedLogged, _droppedLoggedAt) = (dropped, time.GetTimestamp());
    }

    // Returns why it was not sent; null: it was sent.
    private async Task<string?> SendAsync(ReadOnlyMemory<byte> message)
    {
        try
        {
            await cluster.SendAsync(
                RedisKeys.HintsSlot,
                (_channel, message),
                static (redis, hint, flags) => redis.PublishAsync(hint._channel, hint.message, flags),
                RedisCommandKind.Read);
            return null;
        }
        catch (StoreUnavailableException failure)
        {
            return failure.Message;
        }
    }

    private void Receive(ChannelMessage message)
    {
        var isOfPeer = HintMessage.Read(((ReadOnlyMemory<byte>)message.Message).Span, _node, (transition, users) =>
        {
            Interlocked.Add(ref _received, users.Length);
            _handlers?.Invoke(transition, users);
        });
        if (isOfPeer)
            Volatile.Write(ref _receivedAt, time.GetTimestamp());
    }
}
