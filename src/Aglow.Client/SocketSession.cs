using System.Buffers;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;

namespace Aglow.Client;

/// <summary>How a session ended.</summary>
/// <param name="Code">The close code; null if the connection was lost.</param>
/// <param name="Reason">The server's reason, or how the connection was lost.</param>
/// <param name="ReconnectAfter">When to connect again, if the server said so.</param>
/// <param name="WasWelcome">Whether the server had sent the welcome.</param>
internal readonly record struct SessionEnd(int? Code, string Reason, TimeSpan? ReconnectAfter, bool WasWelcome);

/// <summary>
/// One connected socket, from the welcome to its end. It receives the server's messages. It sends the messages of <see cref="Commands"/>
/// and <see cref="WatchTable"/>, each with its own ID.
/// </summary>
/// <remarks>
/// The WebSocket answers pings while a receive is pending. A receive is always pending, which keeps the user online. Threading: one loop
/// receives, one sends; <see cref="Probe"/>, <see cref="RenewNow"/>, <see cref="LeaveAsync"/> and <see cref="CloseAsync"/> may be called on
/// any thread.
/// </remarks>
internal sealed class SocketSession(
    WebSocket socket, string? token, TimeSpan welcomeWithin, WatchTable watches, Commands commands, TokenSource tokens,
    AglowClientOptions options, StayConnected owner) : IDisposable
{
    // a snapshot of ten thousand users with the longest IDs, every character escaped, is 9 MB
    private const int MaxMessageBytes = 16 * 1024 * 1024;
    private const int UsualMessageBytes = 16 * 1024;
    // 2.5 ticks: one may be lost and the next one late
    private const double SilentTicks = 2.5;

    // Twenty messages a second. The server accepts 50, and its seconds begin at other times than the client's.
    private static readonly TimeSpan SendInterval = TimeSpan.FromMilliseconds(50);
    // when to renew a token before it ends, or after half of its time if that is later
    private static readonly TimeSpan RenewBefore = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(1);
    // a round trip to the other side of the world takes half a second
    private static readonly TimeSpan ProbeTimeout = TimeSpan.FromSeconds(2);
    // a timer that is later than this shows that the process did not run
    private static readonly TimeSpan LateAfter = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _silence = new();
    private readonly TaskCompletionSource<bool> _left = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(UsualMessageBytes);
    private TimeSpan _silenceLimit = welcomeWithin;
    private string? _token = token;
    private string? _newToken;
    private long? _newTokenId;
    private long? _leaveId;
    private volatile bool _isWelcome;
    private volatile bool _isLeaving;
    private volatile bool _isProbeDue;
    private int _isProbing;
    private int _renewal;
    private long _nextId;
    private ITimer? _silenceTimer;
    private long _silentAt;
    // the wait that the server asked for before it closes, and when this message came
    private TimeSpan? _reconnectAfter;
    private long _reconnectReceivedAt;

    /// <summary>Whether the server has sent the welcome.</summary>
    public bool IsWelcome => _isWelcome;

    /// <summary>
    /// Finds out within two seconds whether the connection works: sends a message that changes nothing, and waits for any message.
    /// </summary>
    public void Probe()
    {
        if (_isWelcome)
            TryProve();
    }

    /// <summary>Gets a new token now, and sends it to the server.</summary>
    public void RenewNow(CancellationToken ended) => _ = RenewAsync(TimeSpan.Zero, Interlocked.Increment(ref _renewal), ended);

    /// <summary>Sends a leave for this device. True when the server has confirmed it; false if the connection was lost first.</summary>
    public Task<bool> LeaveAsync()
    {
        _isLeaving = true;
        watches.Work.Set();
        return _left.Task;
    }

    /// <summary>Closes this side without a leave. Takes a second at most.</summary>
    public async Task CloseAsync()
    {
        using var limit = new CancellationTokenSource(CloseTimeout, options.TimeProvider);
        try
        {
            if (socket.State is WebSocketState.Open or WebSocketState.CloseReceived)
                await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, limit.Token);
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException or ObjectDisposedException)
        {
            // the connection is already closed
        }
    }

    /// <summary>Runs until the connection ends.</summary>
    /// <exception cref="OperationCanceledException">It was canceled.</exception>
    public async Task<SessionEnd> RunAsync(CancellationToken stop)
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(stop, _silence.Token);
        using var silence = options.TimeProvider.CreateTimer(_ => OnSilence(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _silenceTimer = silence;
        Wait(_silenceLimit);
        var sending = Task.CompletedTask;
        try
        {
            while (await ReceiveAsync(ended.Token) is { } json)
            {
                if (Parse(json.Span) is { } message)
                {
                    if (message.Type == "welcome" && !_isWelcome)
                    {
                        Welcome(message);
                        sending = SendAsync(ended.Token);
                    }

                    Handle(message);
                    if (message.ExpiresInSeconds is { } left && tokens.IsCallback)
                        _ = RenewAsync(TimeSpan.FromSeconds(Math.Clamp(left, 0, 86_400)), Interlocked.Increment(ref _renewal), ended.Token);
                }

                if (_isWelcome)
                    OnReceived();
            }

            var code = (int?)socket.CloseStatus;
            _left.TrySetResult(code == (int)WebSocketCloseStatus.NormalClosure);
            await CloseAsync();
            return new SessionEnd(code, socket.CloseStatusDescription ?? "", LeftToWait(), _isWelcome);
        }
        catch (OperationCanceledException) when (!stop.IsCancellationRequested)
        {
            return Lost(
                _isWelcome
                    ? $"nothing was heard for {_silenceLimit.TotalSeconds:0.#} s"
                    : $"no welcome within {options.ConnectTimeout.TotalSeconds:0.#} s");
        }
        catch (Exception failure) when (
            !stop.IsCancellationRequested
                && failure is WebSocketException or IOException or InvalidDataException or ObjectDisposedException)
        {
            return Lost(failure.Message.TrimEnd('.'));
        }
        finally
        {
            _left.TrySetResult(false);
            ended.Cancel();
            await sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing | ConfigureAwaitOptions.ContinueOnCapturedContext);
        }
    }

    public void Dispose()
    {
        socket.Dispose();
        _silence.Dispose();
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }

    private SessionEnd Lost(string how) => new(null, how, LeftToWait(), _isWelcome);

    private ServerMessage? Parse(ReadOnlySpan<byte> json)
    {
        try
        {
            return JsonSerializer.Deserialize(json, Wire.Default.ServerMessage);
        }
        catch (JsonException wrong)
        {
            owner.Report(
                new AglowException(
                    0, "Not a message", $"The server sent something that is not a message of Aglow's ({wrong.Message})", inner: wrong));
            return null;
        }
    }

    private void Welcome(ServerMessage message)
    {
        var tick = TimeSpan.FromSeconds(Math.Clamp(message.TickSeconds ?? 10, 1, 3600));
        _silenceLimit = options.SilenceLimit ?? (tick * SilentTicks);
        _isWelcome = true;
        owner.Connected(ConnectionState.Open);
    }

    private void OnReceived()
    {
        Volatile.Write(ref _isProbing, 0);
        Wait(_silenceLimit);
    }

    private void Wait(TimeSpan limit)
    {
        var time = options.TimeProvider;
        Volatile.Write(ref _silentAt, time.GetTimestamp() + (long)(limit.TotalSeconds * time.TimestampFrequency));
        try
        {
            _silenceTimer?.Change(limit, Timeout.InfiniteTimeSpan);
        }
        catch (ObjectDisposedException)
        {
            // the session has ended
        }
    }

    // If the timer comes late, this process did not run, and what came meanwhile is not read yet. So the connection gets one more chance.
    private void OnSilence()
    {
        if (options.TimeProvider.GetElapsedTime(Volatile.Read(ref _silentAt)) > LateAfter && TryProve())
            return;
        try
        {
            _silence.Cancel();
        }
        catch (ObjectDisposedException)
        {
            // the session has ended
        }
    }

    // Gives the server two seconds to send anything. False: it did not, since the last time. Before the welcome there is nothing to send.
    private bool TryProve()
    {
        if (Interlocked.Exchange(ref _isProbing, 1) != 0)
            return false;
        Wait(ProbeTimeout);
        if (_isWelcome)
        {
            _isProbeDue = true;
            watches.Work.Set();
        }

        return true;
    }

    private void Handle(ServerMessage message)
    {
        switch (message.Type)
        {
            case "tick":
                commands.Tick();
                watches.Tick();
                owner.Ticked();
                break;
            case "presence":
                watches.Received(message.Id, message.Definition, message.Users ?? []);
                break;
            case "ok" when message.Id is { } id:
                if (id == _leaveId)
                    _left.TrySetResult(true);
                else if (!commands.Done(id))
                    watches.Done(id);
                break;
            case "token" when message.Id is { } id && id == _newTokenId:
                _newTokenId = null;
                break;
            case "stale":
                watches.Stale(true);
                owner.Connected(ConnectionState.Stale);
                break;
            case "fresh":
                watches.Stale(false);
                owner.Connected(ConnectionState.Open);
                break;
            case "reconnect":
                _reconnectAfter = TimeSpan.FromMilliseconds(Math.Clamp(message.AfterMs ?? 0, 0, 600_000));
                _reconnectReceivedAt = options.TimeProvider.GetTimestamp();
                break;
            case "error":
                Failed(message);
                break;
        }
    }

    // A server that moves its clients to other nodes closes each at the given time. One that closes a single client does so at once.
    private TimeSpan? LeftToWait() =>
        _reconnectAfter - options.TimeProvider.GetElapsedTime(_reconnectReceivedAt) is { } left
            ? TimeSpan.FromTicks(Math.Max(0, left.Ticks))
            : null;

    private void Failed(ServerMessage message)
    {
        var error = AglowException.Refused(message.Status ?? 0, message.Title ?? "Error", message.Detail ?? "The server does not say why.");
        if (message.Id is not { } id)
        {
            commands.Dropped();
            watches.Dropped();
        }
        else if (id == _leaveId)
        {
            _left.TrySetResult(false);
        }
        else if (!commands.Failed(id, error))
        {
            watches.Failed(id, error);
        }

        owner.Report(error);
    }

    // The server closes the connection when the token ends, so this sends a new one earlier. The answer contains the lifetime of the new
    // token.
    private async Task RenewAsync(TimeSpan left, int renewal, CancellationToken ended)
    {
        var began = options.TimeProvider.GetTimestamp();
        try
        {
            while (true)
            {
                var rest = left - options.TimeProvider.GetElapsedTime(began);
                if (rest > TimeSpan.Zero)
                    await Task.Delay(rest - RenewBefore > rest / 2 ? rest - RenewBefore : rest / 2, options.TimeProvider, ended);
                if (renewal != Volatile.Read(ref _renewal) || await TryRenewAsync(ended) || rest <= TimeSpan.Zero)
                    return;
            }
        }
        catch (OperationCanceledException) when (ended.IsCancellationRequested)
        {
            // the connection has ended
        }
    }

    // Returns false if the application gave no token, or the same one again.
    private async Task<bool> TryRenewAsync(CancellationToken ended)
    {
        try
        {
            if (await tokens.RequestAsync(ended) is not { } newer || newer == _token)
                return false;
            _token = newer;
            _newToken = newer;
            watches.Work.Set();
            return true;
        }
        catch (AglowException failure)
        {
            owner.Report(
                new AglowException(
                    0,
                    "No new token",
                    $"{failure.Detail} This connection ends with its token; the client asks for another token before that.",
                    inner: failure));
            return false;
        }
    }

    private async Task SendAsync(CancellationToken ended)
    {
        var frame = new ArrayBufferWriter<byte>();
        try
        {
            while (true)
            {
                if (!TryCompose(frame))
                {
                    await watches.Work.WaitAsync(ended);
                    continue;
                }

                await socket.SendAsync(frame.WrittenMemory, WebSocketMessageType.Text, endOfMessage: true, ended);
                await Task.Delay(SendInterval, options.TimeProvider, ended);
            }
        }
        catch (Exception e) when (e is WebSocketException or IOException or ObjectDisposedException)
        {
            // the connection is lost; the receive loop notices it
        }
    }

    private bool TryCompose(ArrayBufferWriter<byte> frame)
    {
        var id = ++_nextId;
        if (_isProbeDue)
        {
            _isProbeDue = false;
            return Compose(frame, Encoding.UTF8.GetBytes($"{{\"type\":\"unwatch\",\"users\":[],\"id\":{id}}}"));
        }

        if (Interlocked.Exchange(ref _newToken, null) is { } newer)
        {
            _newTokenId = id;
            return Compose(frame, JsonSerializer.SerializeToUtf8Bytes(new TokenMessage("token", newer, id), Wire.Default.TokenMessage));
        }

        if (commands.Compose(id) is { } command)
            return Compose(frame, command);
        if (!_isLeaving)
            return watches.TryCompose(frame, id);
        if (_leaveId is not null)
            return false;
        _leaveId = id;
        return Compose(frame, Encoding.UTF8.GetBytes($"{{\"type\":\"leave\",\"id\":{id}}}"));
    }

    private static bool Compose(ArrayBufferWriter<byte> frame, ReadOnlySpan<byte> json)
    {
        frame.ResetWrittenCount();
        frame.Write(json);
        return true;
    }

    // Returns the next message, valid until the next call. Null: the server closes.
    private async ValueTask<ReadOnlyMemory<byte>?> ReceiveAsync(CancellationToken cancellationToken)
    {
        // frees the memory of a long snapshot
        if (_buffer.Length > 4 * UsualMessageBytes)
            Resize(UsualMessageBytes, keep: 0);
        var length = 0;
        while (true)
        {
            if (length == _buffer.Length)
                Resize(2 * length, keep: length);
            var part = await socket.ReceiveAsync(_buffer.AsMemory(length), cancellationToken);
            if (part.MessageType == WebSocketMessageType.Close)
                return null;
            length += part.Count;
            if (length > MaxMessageBytes)
                throw new InvalidDataException($"a message of more than {MaxMessageBytes} bytes came");
            if (part.EndOfMessage)
                return _buffer.AsMemory(0, length);
        }
    }

    private void Resize(int length, int keep)
    {
        var other = ArrayPool<byte>.Shared.Rent(length);
        _buffer.AsSpan(0, keep).CopyTo(other);
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = other;
    }
}
