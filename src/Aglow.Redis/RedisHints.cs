using System.Collections.Concurrent;
using Aglow.Heartbeats;
using Aglow.Storage;

namespace Aglow.Redis;

/// <summary>
/// Hints between nodes, by publish and subscribe: sharded where the servers have it (Redis 7), so that a hint does not go over every link of the cluster.
/// </summary>
/// <remarks>
/// <code>
///   Publish ─► this node's handlers, at once
///           └► queue ─► one message on the way at a time, with all that gathered meanwhile ─► SPUBLISH {p:hints} ─► every node's subscription
/// </code>
/// Each node hears all hints: at 8,400 transitions a second 34 KB/s and node. The subscription is a connection of its own, since its pushes have no place in
/// the order of answers. Hints may be lost (a connection was down, or more than <see cref="MostWaiting"/> waited); sweeps and rechecks find what they would have told
/// within their interval. Nothing is sent again: a hint that is seconds old is worth no more than the next sweep.
/// Threading: publishing from any thread, without waiting; other nodes' hints are heard on the subscription's loop.
/// </remarks>
internal sealed class RedisHints : ITransitionBus, IAsyncDisposable
{
    /// <summary>Hints that may wait to be sent; more are dropped.</summary>
    public const int MostWaiting = 1_000_000;

    private static readonly TimeSpan PingInterval = TimeSpan.FromSeconds(5);
    private static readonly TimeSpan PauseBetweenAttempts = TimeSpan.FromMilliseconds(250);
    private static readonly Version Sharded = new(7, 0);

    private readonly RedisCluster _cluster;
    private readonly RedisOptions _options;
    private readonly TimeProvider _time;
    private readonly RedisLog _log;
    private readonly ulong _node = (ulong)Random.Shared.NextInt64();
    private readonly ConcurrentQueue<(TransitionKind Kind, uint User)> _waiting = new();
    private readonly WakeUp _wake = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _subscribed = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly bool _isSharded;
    private TransitionHandler? _handlers;
    private Task _publishing = Task.CompletedTask;
    private Task _hearing = Task.CompletedTask;
    private RedisSocket? _socket;
    private long _sent;
    private long _heard;
    private long _dropped;
    private long _answeredAt;
    private bool _isSaidLost;

    public RedisHints(RedisCluster cluster, RedisOptions options, TimeProvider time, RedisLog log)
    {
        _cluster = cluster;
        _options = options;
        _time = time;
        _log = log;
        _isSharded = cluster.Version >= Sharded;
    }

    /// <summary>Hints sent to other nodes.</summary>
    public long Sent => Volatile.Read(ref _sent);

    /// <summary>Hints heard of other nodes.</summary>
    public long Heard => Volatile.Read(ref _heard);

    /// <summary>Hints that were not sent: too many waited, or the server was away.</summary>
    public long Dropped => Volatile.Read(ref _dropped);

    /// <inheritdoc/>
    public bool IsLossless => false;

    /// <inheritdoc/>
    public void Publish(TransitionKind kind, ReadOnlySpan<uint> users)
    {
        _handlers?.Invoke(kind, users);
        if (_waiting.Count + users.Length > MostWaiting)
        {
            Interlocked.Add(ref _dropped, users.Length);
            return;
        }

        foreach (var user in users)
            _waiting.Enqueue((kind, user));
        _wake.Signal();
    }

    /// <inheritdoc/>
    public void Subscribe(TransitionHandler handler) => _handlers += handler;

    /// <summary>Starts; completes when other nodes' hints are heard, or after the time-out.</summary>
    public async Task StartAsync()
    {
        _publishing = Task.Run(PublishAsync);
        _hearing = Task.Run(HearAsync);
        await Task.WhenAny(_subscribed.Task, Task.Delay(_options.Timeout, _time));
    }

    /// <summary>Some ten times a minute at least, by the owner's loop: notices a server that no longer answers.</summary>
    public void Tick()
    {
        if (Volatile.Read(ref _socket) is { } socket && _time.GetElapsedTime(Volatile.Read(ref _answeredAt)) > PingInterval + _options.Timeout)
            socket.Dispose();
    }

    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        _wake.Signal();
        Volatile.Read(ref _socket)?.Dispose();
        await _publishing;
        await _hearing;
        _stop.Dispose();
    }

    private async Task PublishAsync()
    {
        var hints = new (TransitionKind Kind, uint User)[HintMessage.MostUsers];
        var message = new byte[HintMessage.MaxBytes(HintMessage.MostUsers)];
        while (!_stop.IsCancellationRequested)
        {
            var count = 0;
            while (count < hints.Length && _waiting.TryDequeue(out var hint))
                hints[count++] = hint;
            if (count == 0)
            {
                await _wake.WaitAsync();
                continue;
            }

            var length = HintMessage.Write(message, _node, hints.AsSpan(0, count));
            var publish = new PublishRequest(_isSharded, message.AsMemory(0, length));
            _cluster.Send(publish);
            if (await publish.Done)
                Interlocked.Add(ref _sent, count);
            else
                Interlocked.Add(ref _dropped, count);
        }
    }

    private async Task HearAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                using var socket = await RedisSocket.ConnectAsync(_cluster.OwnerOf(RedisKeys.HintsSlot), _options, _time, _stop.Token);
                await HearAsync(socket);
            }
            catch (Exception failure) when (!_stop.IsCancellationRequested)
            {
                Volatile.Write(ref _socket, null);
                // where the slot has moved the commands notice, and the map is asked for; here it is enough to try again
                if (!_isSaidLost && _subscribed.Task.IsCompleted)
                    _log.HintsLost(failure.Message);
                _isSaidLost |= _subscribed.Task.IsCompleted;
            }
            catch (Exception)
            {
                return;
            }

            try
            {
                await Task.Delay(PauseBetweenAttempts * (0.5 + Random.Shared.NextDouble()), _time, _stop.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }
        }
    }

    private async Task HearAsync(RedisSocket socket)
    {
        var writer = new RespWriter();
        writer.Command(2);
        writer.Part(_isSharded ? "SSUBSCRIBE"u8 : "SUBSCRIBE"u8);
        writer.Part(RedisKeys.Hints);
        await socket.SendAsync(writer.Written);
        Volatile.Write(ref _answeredAt, _time.GetTimestamp());
        Volatile.Write(ref _socket, socket);
        writer.Clear();
        writer.Command(1);
        writer.Part("PING"u8);
        using var pings = _time.CreateTimer(_ => _ = PingAsync(socket, writer.Written), null, PingInterval, PingInterval);
        while (true)
        {
            await socket.ReceiveAsync(_stop.Token);
            Volatile.Write(ref _answeredAt, _time.GetTimestamp());
            while (socket.TryRead(out var frame))
                Hear(frame);
        }
    }

    private static async Task PingAsync(RedisSocket socket, ReadOnlyMemory<byte> ping)
    {
        try
        {
            await socket.SendAsync(ping);
        }
        catch (Exception lost) when (lost is IOException or ObjectDisposedException or InvalidOperationException)
        {
            // the loop that reads notices, too
        }
    }

    private void Hear(ReadOnlySpan<byte> frame)
    {
        var reader = new RespReader(frame);
        if (reader.IsError)
            throw new IOException(System.Text.Encoding.UTF8.GetString(reader.ReadText(out _)));
        if (reader.Kind != '>' || reader.ReadList() < 3)
            return;
        var kind = reader.ReadText(out _);
        if (kind.SequenceEqual("ssubscribe"u8) || kind.SequenceEqual("subscribe"u8))
        {
            if (_isSaidLost)
                _log.HintsHeard();
            _isSaidLost = false;
            _subscribed.TrySetResult();
            return;
        }

        if (kind.SequenceEqual("sunsubscribe"u8) || kind.SequenceEqual("unsubscribe"u8))
            throw new IOException("the slot of hints has moved");
        _ = reader.ReadText(out _);
        HintMessage.Read(reader.ReadText(out _), _node, (transition, users) =>
        {
            Interlocked.Add(ref _heard, users.Length);
            _handlers?.Invoke(transition, users);
        });
    }

    /// <summary>A message on its way.</summary>
    private sealed class PublishRequest : RedisRequest
    {
        private readonly bool _isSharded;
        private readonly ReadOnlyMemory<byte> _message;
        private readonly TaskCompletionSource<bool> _done = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public PublishRequest(bool isSharded, ReadOnlyMemory<byte> message)
        {
            Slot = RedisKeys.HintsSlot;
            _isSharded = isSharded;
            _message = message;
        }

        public Task<bool> Done => _done.Task;

        public override void Write(RespWriter to)
        {
            to.Command(3);
            to.Part(_isSharded ? "SPUBLISH"u8 : "PUBLISH"u8);
            to.Part(RedisKeys.Hints);
            to.Part(_message.Span);
        }

        public override void Complete(ReadOnlySpan<byte> frame) => _done.TrySetResult(true);

        public override void Fail(StoreUnavailableException why) => _done.TrySetResult(false);
    }
}
