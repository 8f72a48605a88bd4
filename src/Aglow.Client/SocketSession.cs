using System.Buffers;
using System.Net.WebSockets;
using System.Text.Json;

namespace Aglow.Client;

/// <summary>How a session ended.</summary>
/// <param name="ReconnectAfter">When the server wants to see this client again, where it said so.</param>
/// <param name="HasLasted">Whether it lived for a tick at least: then the next try is a first one.</param>
internal readonly record struct SessionEnd(TimeSpan? ReconnectAfter, bool HasLasted);

/// <summary>
/// One connected socket, from the welcome to its end: hears the server, and tells it what <see cref="WatchTable"/> has for it.
/// </summary>
/// <remarks>
/// Pings are answered by the WebSocket itself while a receive is pending, and one always is: that is what keeps the user online. Threading: one
/// loop receives, one sends; <see cref="Active"/> and <see cref="LeaveAsync"/> from any thread.
/// </remarks>
internal sealed class SocketSession : IAsyncDisposable
{
    // a snapshot of ten thousand users with the longest keys, every character escaped, is 9 MB
    private const int MaxMessageBytes = 16 * 1024 * 1024;
    private const int UsualMessageBytes = 16 * 1024;
    // 2.5 ticks: one may be lost, and the next late
    private const double SilentTicks = 2.5;

    // the server reads 50 messages a second; twenty leave room for whatever counts seconds differently
    private static readonly TimeSpan SendInterval = TimeSpan.FromMilliseconds(50);
    // a token is asked for so long before it ends, or at half of its time
    private static readonly TimeSpan RenewBefore = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan CloseTimeout = TimeSpan.FromSeconds(1);

    private readonly WebSocket _socket;
    private readonly WatchTable _watches;
    private readonly AglowClientOptions _options;
    private readonly Action<ConnectionState> _say;
    private readonly Action<AglowException> _complain;
    private byte[] _buffer = ArrayPool<byte>.Shared.Rent(UsualMessageBytes);
    private volatile bool _isActive;
    private volatile bool _isLeaving;
    private string? _newToken;
    private readonly TaskCompletionSource<bool> _left = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private TimeSpan _silenceLimit;
    private bool _isWelcome;
    // what the server asked for before it closes, and when
    private TimeSpan? _reconnectAfter;
    private long _reconnectHeardAt;
    private bool _hasLasted;
    private int _errors;

    public SocketSession(
        WebSocket socket, WatchTable watches, AglowClientOptions options, Action<ConnectionState> say, Action<AglowException> complain)
    {
        _socket = socket;
        _watches = watches;
        _options = options;
        _say = say;
        _complain = complain;
    }

    /// <summary>The person did something.</summary>
    public void Active()
    {
        _isActive = true;
        _watches.Work.Set();
    }

    /// <summary>This device is gone. True when the server has heard it and closed; false where the connection was lost instead.</summary>
    public Task<bool> LeaveAsync()
    {
        _isLeaving = true;
        _watches.Work.Set();
        return _left.Task;
    }

    /// <summary>Runs until the connection ends.</summary>
    /// <exception cref="TimeoutException">The server fell silent.</exception>
    /// <exception cref="WebSocketException">The connection was lost.</exception>
    /// <exception cref="AglowException">The server closed for a reason of its own.</exception>
    public async Task<SessionEnd> RunAsync(CancellationToken stop)
    {
        using var silence = new CancellationTokenSource(_options.ConnectTimeout, _options.TimeProvider);
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(stop, silence.Token);
        var sending = Task.CompletedTask;
        try
        {
            while (await ReceiveAsync(ended.Token) is { } json)
            {
                if (JsonSerializer.Deserialize(json.Span, Wire.Default.ServerMessage) is not { } message)
                    continue;
                if (message.Type == "welcome" && !_isWelcome)
                {
                    var tick = TimeSpan.FromSeconds(Math.Clamp(message.TickSeconds ?? 10, 1, 3600));
                    _silenceLimit = _options.SilenceLimit ?? (tick * SilentTicks);
                    _isWelcome = true;
                    _say(ConnectionState.Open);
                    sending = SendAsync(ended.Token);
                }

                Handle(message);
                if (message.ExpiresInSeconds is { } left && _options.AccessToken is { } token)
                    _ = RenewAsync(token, TimeSpan.FromSeconds(Math.Clamp(left, 0, 86_400)), ended.Token);
                if (_isWelcome)
                    silence.CancelAfter(_silenceLimit);
            }

            if (_socket.CloseStatus is not (WebSocketCloseStatus.NormalClosure or WebSocketCloseStatus.EndpointUnavailable))
                throw new AglowException(0, "Closed by the server", $"The server ended the connection with code {(int?)_socket.CloseStatus}. Connecting again.");
            _left.TrySetResult(true);
            return new SessionEnd(LeftToWait(), _hasLasted);
        }
        catch (OperationCanceledException late) when (silence.IsCancellationRequested && !stop.IsCancellationRequested)
        {
            throw new TimeoutException(
                _isWelcome ? $"nothing was heard for {_silenceLimit.TotalSeconds:0.#} s" : $"no welcome within {_options.ConnectTimeout.TotalSeconds:0.#} s", late);
        }
        finally
        {
            _left.TrySetResult(false);
            await ended.CancelAsync();
            await sending.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    /// <summary>Answers a close, and lets go of the socket: a second at most.</summary>
    public async ValueTask DisposeAsync()
    {
        await CloseAsync();
        _socket.Dispose();
        ArrayPool<byte>.Shared.Return(_buffer);
        _buffer = [];
    }

    private void Handle(ServerMessage message)
    {
        switch (message.Type)
        {
            case "tick":
                _hasLasted = true;
                break;
            case "presence":
                _watches.Heard(message.Definition, message.Users ?? []);
                break;
            case "stale":
                _watches.Stale(true);
                _say(ConnectionState.Stale);
                break;
            case "fresh":
                _watches.Stale(false);
                _say(ConnectionState.Open);
                break;
            case "reconnect":
                _reconnectAfter = TimeSpan.FromMilliseconds(Math.Clamp(message.AfterMs ?? 0, 0, 600_000));
                _reconnectHeardAt = _options.TimeProvider.GetTimestamp();
                break;
            case "error":
                Complain(message);
                break;
        }
    }

    // a server that sends its clients to others closes when their time has come, one that is alone at once
    private TimeSpan? LeftToWait() =>
        _reconnectAfter - _options.TimeProvider.GetElapsedTime(_reconnectHeardAt) is { } left ? TimeSpan.FromTicks(Math.Max(0, left.Ticks)) : null;

    private void Complain(ServerMessage message)
    {
        var error = new AglowException(0, message.Title ?? "Error", message.Detail ?? "The server does not say why.");
        _complain(error);
        if (message.Definition is { } definition)
            _watches.Refuse(definition, error);
        else
            _ = AskAgainAsync();
    }

    private async Task AskAgainAsync()
    {
        await Task.Delay(Jitter.Retry(_errors++, _options.FirstRetryWithin, _options.RetryWithin, _options.Random), _options.TimeProvider);
        _watches.AskAgain();
    }

    // The server closes when the token ends; it is shown another one before. Answered by how long that one is good for.
    private async Task RenewAsync(Func<CancellationToken, ValueTask<string>> token, TimeSpan left, CancellationToken ended)
    {
        try
        {
            await Task.Delay(left - RenewBefore > left / 2 ? left - RenewBefore : left / 2, _options.TimeProvider, ended);
            _newToken = await token(ended);
            _watches.Work.Set();
        }
        catch (OperationCanceledException) when (ended.IsCancellationRequested)
        {
            // so is the connection
        }
        catch (Exception failure)
        {
            // the next connection asks again
            _complain(new AglowException(0, "No new token", $"{failure.Message} This connection ends when its token does; then it is tried again.", inner: failure));
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
                    await _watches.Work.WaitAsync(ended);
                    continue;
                }

                await _socket.SendAsync(frame.WrittenMemory, WebSocketMessageType.Text, endOfMessage: true, ended);
                await Task.Delay(SendInterval, _options.TimeProvider, ended);
            }
        }
        catch (WebSocketException)
        {
            // lost; who receives hears of it
        }
    }

    private bool TryCompose(ArrayBufferWriter<byte> frame)
    {
        if (_isLeaving)
        {
            _isLeaving = false;
            return Compose(frame, "{\"type\":\"leave\"}"u8);
        }

        if (_isActive)
        {
            _isActive = false;
            return Compose(frame, "{\"type\":\"active\"}"u8);
        }

        if (Interlocked.Exchange(ref _newToken, null) is { } token)
            return Compose(frame, JsonSerializer.SerializeToUtf8Bytes(new TokenMessage("token", token), Wire.Default.TokenMessage));
        return _watches.TryCompose(frame);
    }

    private static bool Compose(ArrayBufferWriter<byte> frame, ReadOnlySpan<byte> json)
    {
        frame.ResetWrittenCount();
        frame.Write(json);
        return true;
    }

    // The next message, good until the next call; null: the server closes.
    private async ValueTask<ReadOnlyMemory<byte>?> ReceiveAsync(CancellationToken cancellationToken)
    {
        // a long snapshot's room is given back
        if (_buffer.Length > 4 * UsualMessageBytes)
            Resize(UsualMessageBytes, keep: 0);
        var length = 0;
        while (true)
        {
            if (length == _buffer.Length)
                Resize(2 * length, keep: length);
            var part = await _socket.ReceiveAsync(_buffer.AsMemory(length), cancellationToken);
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

    private async Task CloseAsync()
    {
        if (_socket.State != WebSocketState.CloseReceived)
            return;
        using var limit = new CancellationTokenSource(CloseTimeout, _options.TimeProvider);
        try
        {
            await _socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, null, limit.Token);
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException)
        {
            // it is gone already
        }
    }
}
