using System.Collections.Concurrent;
using Aglow.Storage;

namespace Aglow.Redis;

/// <summary>
/// One multiplexed connection to one server: everybody's commands go out in one stream, and their answers come back in order.
/// </summary>
/// <remarks>
/// <code>
///   Send ─► queue ─► write loop: formats all that waits into one buffer ─► socket
///                          └─► in flight ─► read loop: the next answer is the oldest command's
/// </code>
/// Pipelining is by nature: while one buffer is being sent, commands gather for the next. Where the connection is lost, what was in flight is handed back to the cluster with
/// <see cref="RedisRequest.MayHaveRun"/> set, and what waits goes on waiting until its deadline; it is connected anew after a pause with jitter,
/// 50 ms to 1 s. A server that owes an answer for longer than the time-out is given up. Bounded: at <see cref="MostWaiting"/> commands new ones are refused.
/// Threading: <see cref="Send"/> from any thread, without a lock; one loop writes, one reads, and the cluster's calls <see cref="Tick"/>.
/// </remarks>
internal sealed class RedisConnection : IAsyncDisposable
{
    /// <summary>Commands that may wait to be sent.</summary>
    public const int MostWaiting = 100_000;

    // several batches at once, and still soon on the wire
    private const int BufferBytes = 64 * 1024;
    private static readonly TimeSpan FirstPause = TimeSpan.FromMilliseconds(50);
    private static readonly TimeSpan LongestPause = TimeSpan.FromSeconds(1);

    private readonly RedisServer _server;
    private readonly RedisEndpoint _endpoint;
    private readonly RedisOptions _options;
    private readonly TimeProvider _time;
    private readonly IRedisRouter _router;
    private readonly ConcurrentQueue<RedisRequest> _waiting = new();
    private readonly ConcurrentQueue<RedisRequest> _inFlight = new();
    private readonly Lock _taking = new();
    private readonly WakeUp _wake = new();
    private readonly RespWriter _writer = new();
    private readonly CancellationTokenSource _stop = new();
    private readonly Task _loop;
    private RedisSocket? _socket;
    private int _owed;
    private long _progressAt;
    private volatile bool _isGivenUp;
    private bool _isEnded;

    public RedisConnection(RedisServer server, RedisOptions options, TimeProvider time, IRedisRouter router)
    {
        _server = server;
        _endpoint = server.Endpoint;
        _options = options;
        _time = time;
        _router = router;
        _loop = Task.Run(RunAsync);
    }

    /// <summary>Whether it is connected.</summary>
    public bool IsUp => Volatile.Read(ref _socket) is not null;

    /// <summary>Queues a command; it is sent when its turn has come and the connection is up.</summary>
    public void Send(RedisRequest request)
    {
        if (_waiting.Count >= MostWaiting)
        {
            request.Fail(new StoreUnavailableException($"More than {MostWaiting} commands wait for Redis at {_endpoint}."));
            return;
        }

        _waiting.Enqueue(request);
        _wake.Signal();
        // ended meanwhile: nobody would ever take it
        if (Volatile.Read(ref _isEnded))
            Drain();
    }

    /// <summary>Some ten times a second, by the cluster's loop: notices a server that owes an answer for too long; while there is no connection, fails what waited too long.</summary>
    public void Tick()
    {
        var now = _time.GetTimestamp();
        if (_socket is { } socket)
        {
            if (Volatile.Read(ref _owed) > 0 && _time.GetElapsedTime(Volatile.Read(ref _progressAt), now) > _options.Timeout)
                GiveUp(socket);
            return;
        }

        lock (_taking)
        {
            for (var left = _waiting.Count; left > 0 && _waiting.TryDequeue(out var request); left--)
            {
                if (request.Deadline > now)
                    _waiting.Enqueue(request);
                else
                    _router.Fail(_server, request);
            }
        }
    }

    /// <summary>Hands back all that waits: this server has nothing to serve any more.</summary>
    public void Drain()
    {
        lock (_taking)
        {
            for (var left = _waiting.Count; left > 0 && _waiting.TryDequeue(out var request); left--)
                _router.SendAgain(request);
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _socket?.Dispose();
        await _loop;
        Interlocked.Exchange(ref _isEnded, true);
        Drain();
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        var pause = FirstPause;
        while (!_stop.IsCancellationRequested)
        {
            string reason;
            var owedFor = TimeSpan.Zero;
            try
            {
                using var socket = await RedisSocket.ConnectAsync(_endpoint, _options, _time, _stop.Token);
                pause = FirstPause;
                reason = await UseAsync(socket);
                if (_isGivenUp)
                    owedFor = _options.Timeout;
            }
            catch (Exception failure) when (failure is IOException or RedisRefusalException or RespException or OperationCanceledException or ObjectDisposedException)
            {
                reason = failure.Message;
            }

            if (_stop.IsCancellationRequested)
                return;
            _router.Lost(_server, reason, owedFor);
            try
            {
                await Task.Delay(pause * (0.5 + Random.Shared.NextDouble()), _time, _stop.Token);
            }
            catch (OperationCanceledException)
            {
                return;
            }

            pause = pause * 2 > LongestPause ? LongestPause : pause * 2;
        }
    }

    // Returns why it ended.
    private async Task<string> UseAsync(RedisSocket socket)
    {
        _isGivenUp = false;
        Volatile.Write(ref _owed, 0);
        Volatile.Write(ref _socket, socket);
        _wake.Signal();
        var reading = ReadAsync(socket);
        var writing = WriteAsync(socket);
        await Task.WhenAny(reading, writing);
        lock (_taking)
            Volatile.Write(ref _socket, null);
        socket.Dispose();
        _wake.Signal();
        var reason = await EndedAsync(reading) ?? await EndedAsync(writing) ?? "the connection was lost";
        await EndedAsync(writing);
        while (_inFlight.TryDequeue(out var request))
        {
            if (request == AskingAnswer.Instance)
                continue;
            request.MayHaveRun = true;
            _router.SendAgain(request);
        }

        return _isGivenUp ? $"no answer within {_options.Timeout.TotalSeconds:0.#} s" : reason;
    }

    private static async Task<string?> EndedAsync(Task loop)
    {
        try
        {
            await loop;
            return null;
        }
        catch (Exception failure)
        {
            // whatever it was, a new connection is made
            return failure is ObjectDisposedException or OperationCanceledException ? "the connection was lost" : failure.Message;
        }
    }

    private async Task WriteAsync(RedisSocket socket)
    {
        while (Volatile.Read(ref _socket) == socket)
        {
            Take();
            if (_writer.Length > 0)
                await socket.SendAsync(_writer.Written);
            else
                await _wake.WaitAsync();
        }
    }

    // Formats what waits, as much as is sent at once.
    private void Take()
    {
        _writer.Clear();
        var now = _time.GetTimestamp();
        lock (_taking)
        {
            while (_socket is not null && _writer.Length < BufferBytes && _waiting.TryDequeue(out var request))
            {
                if (request.Deadline <= now)
                {
                    _router.Fail(_server, request);
                    continue;
                }

                if (request.Asking)
                {
                    request.Asking = false;
                    Owe(AskingAnswer.Instance, now);
                }

                Owe(request, now);
            }
        }
    }

    private void Owe(RedisRequest request, long now)
    {
        if (Interlocked.Increment(ref _owed) == 1)
            Volatile.Write(ref _progressAt, now);
        _inFlight.Enqueue(request);
        request.Write(_writer);
    }

    private async Task ReadAsync(RedisSocket socket)
    {
        while (true)
        {
            await socket.ReceiveAsync();
            Volatile.Write(ref _progressAt, _time.GetTimestamp());
            while (socket.TryRead(out var frame))
                Handle(frame);
        }
    }

    private void Handle(ReadOnlySpan<byte> frame)
    {
        // nothing here subscribes, so a push is not for us
        if (frame[0] == '>')
            return;
        if (!_inFlight.TryDequeue(out var request))
            throw new RespException("the server answered what nobody had asked.");
        Interlocked.Decrement(ref _owed);
        if (request == AskingAnswer.Instance)
            return;
        var reader = new RespReader(frame);
        if (reader.IsError)
        {
            _router.Refused(_server, request, System.Text.Encoding.UTF8.GetString(reader.ReadText(out _)));
            return;
        }

        if (request.ProvesService && Volatile.Read(ref _server.AwaySince) != 0)
            _router.Worked(_server);
        try
        {
            request.Complete(frame);
        }
        catch (RespException wrong)
        {
            request.Fail(new StoreUnavailableException($"Redis at {_endpoint}: {wrong.Message}"));
            throw;
        }
    }

    private void GiveUp(RedisSocket socket)
    {
        _isGivenUp = true;
        socket.Dispose();
    }

    /// <summary>The answer to ASKING, which nobody waits for.</summary>
    private sealed class AskingAnswer : RedisRequest
    {
        public static readonly AskingAnswer Instance = new();

        public override void Write(RespWriter to)
        {
            to.Command(1);
            to.Part("ASKING"u8);
        }

        public override void Complete(ReadOnlySpan<byte> frame)
        {
        }

        public override void Fail(StoreUnavailableException why)
        {
        }
    }
}

/// <summary>What a connection tells whoever routes commands.</summary>
internal interface IRedisRouter
{
    /// <summary>A server that was away has answered, and not with an error.</summary>
    void Worked(RedisServer server);

    /// <summary>The server answered with an error: the command is sent elsewhere, later, or has failed.</summary>
    void Refused(RedisServer server, RedisRequest request, string error);

    /// <summary>A connection was lost, or could not be made; it owed answers for so long.</summary>
    void Lost(RedisServer server, string reason, TimeSpan owedFor);

    /// <summary>This was not answered: it is sent again, or has failed.</summary>
    void SendAgain(RedisRequest request);

    /// <summary>This waited too long.</summary>
    void Fail(RedisServer server, RedisRequest request);
}
