using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Text.Unicode;
using Aglow.AspNetCore.Access;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// One WebSocket: reads frames, writes a heartbeat when a frame arrives, and passes the client's requests to the hub.
/// </summary>
/// <remarks>
/// A connected client sends no heartbeats. The server pings, and writes a heartbeat with the second in which the pong arrived.
/// Browsers answer pings even in background tabs, where they throttle timers to one a minute. A page cannot see pings and must notice a
/// dead node itself, so the server sends a tick with each ping: a small text frame.
/// Threading: the read loop runs in <see cref="RunAsync"/>; only the hub's loop sends. The class has few fields, because a node has a
/// hundred thousand instances.
/// </remarks>
internal sealed class PresenceSocket : WatchConnection, IDeviceConnection
{
    // a message counts once more for every 500 users that it names
    private const int UsersAMessage = 500;

    // the limit of frames per second, as a multiple of the limit of messages: pings, pongs, fragments and dropped messages are frames, too
    private const int FramesAMessage = 10;

    // a client that did not answer two pings is disconnected
    private const int MaxUnanswered = 2;

    private static ReadOnlySpan<byte> ReconnectNow => "{\"type\":\"reconnect\",\"after_ms\":0}"u8;

    private readonly PipeReader _input;
    private readonly SocketOutput _output;
    private readonly SocketHost _host;
    private readonly Client _client;
    private volatile Caller? _caller;
    private PartialMessage _message;
    private TaskCompletionSource? _released;
    private uint _lastEvidence;
    private uint _framesSecond;
    private int _framesInSecond;
    private uint _messagesSecond;
    private int _messagesInSecond;
    private byte _unanswered;
    private bool _ended;
    private volatile bool _isIgnored;
    private bool _peerClosed;
    private bool _wasFloodReported;

    public PresenceSocket(PipeReader input, SocketOutput output, uint user, SocketHost host, Client client)
        : base(user)
    {
        _caller = client.Caller;
        _client = client;
        _input = input;
        _output = output;
        _output.Owner = this;
        _host = host;
    }

    /// <summary>The device of the client; an unnamed device of this socket alone if the client names none.</summary>
    public Device Device => _client.Device;

    /// <summary>Whether its device has sent a leave message.</summary>
    public bool IsLeaving { get; private set; }

    /// <summary>Whether it has not answered the last ping.</summary>
    public bool IsSilent => Volatile.Read(ref _unanswered) > 0;

    /// <summary>The address whose rate limit its messages count against.</summary>
    public IPAddress? Address => _client.Address;

    protected override TimeSpan TickInterval => SoonerOf(_host.TickInterval, Left);

    private TimeSpan? Left => _client.Session?.Left() ?? _caller?.Left(_host.Tokens!.Now);

    /// <summary>Reads until the connection ends. Before the call, the handshake is done and the hub has opened this connection.</summary>
    /// <param name="beginning">What comes before the first read. If it fails, the connection ends.</param>
    public async Task RunAsync(Task beginning)
    {
        try
        {
            await beginning;
            await ReadAsync();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
        {
            // the connection was lost; the lease continues until it expires
        }
        finally
        {
            if (!IsLeaving)
                _host.Sockets.Exit(User);
            _message.Drop(_host.Memory);
            // once the hub has released this connection it sends nothing more, so the transport may be closed
            _released = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
            _host.Hub.Close(this);
            await _released.Task;
        }
    }

    protected override bool Send(ReadOnlySpan<byte> json) => !_ended && SendFrame(SocketOpcode.Text, json);

    protected override bool Tick()
    {
        if (_ended)
            return false;
        if (Left == TimeSpan.Zero)
        {
            // the client may have a newer cookie or token of the application by now
            var mayReturn = _client.Session is { IsRejected: false } && Send(ReconnectNow);
            End(mayReturn ? SocketClose.GoingAway : SocketClose.TokenEnded);
            return false;
        }

        if (_message.IsTooSlow(_host.Presence.Clock.Uptime))
        {
            End(SocketClose.PolicyViolation);
            return false;
        }

        if (_unanswered >= MaxUnanswered)
        {
            // the client does not answer, so a close handshake is useless
            _ended = true;
            _input.CancelPendingRead();
            return false;
        }

        _unanswered++;
        if (IsFull)
            return false;
        return _output.Send(_host.PingAndTick);
    }

    protected override bool Answer(ReadOnlySpan<byte> pingPayload) => !_ended && SendFrame(SocketOpcode.Pong, pingPayload);

    void IDeviceConnection.Ignore() => _isIgnored = true;

    protected override void End(int code)
    {
        if (_ended)
            return;
        _ended = true;
        _isIgnored |= code >= SocketClose.TokenEnded;
        SendFrame(SocketOpcode.Close, SocketClose.Payload(code, SocketClose.ReasonOf(code)));
        // both sides have sent a close frame: now the server closes the connection first (RFC 6455, section 7.1.1)
        if (_peerClosed)
            _input.CancelPendingRead();
        else
            _host.Presence.Background.LetGo("end of sockets", LingerAsync());
    }

    protected override bool TryHold(long bytes)
    {
        if (_host.Gate is not { } gate || gate.Holdings.TryHold(_caller, bytes))
            return true;
        gate.Note(Problems.HoldsTooMuch(), Address);
        return false;
    }

    protected override void Release(long bytes) => _host.Gate?.Holdings.Release(_caller, bytes);

    protected override void Released() => _released?.TrySetResult();

    // Gives the client one second to send its close frame, and then ends the read loop anyway.
    private async Task LingerAsync()
    {
        await Task.Delay(TimeSpan.FromSeconds(1), _host.Presence.Clock.Time);
        _input.CancelPendingRead();
    }

    /// <summary>Replaces the caller, after the same person sent a newer token.</summary>
    internal void Renew(Caller caller)
    {
        _caller = caller;
        _host.Sockets.Renew(this, caller);
    }

    /// <summary>Charges a message to the person (or key) and to the address.</summary>
    /// <exception cref="ProblemException">One of them cannot pay it (429).</exception>
    internal void Pay(int cost) => _host.Gate?.Charge(_caller, Address, cost);

    /// <summary>Tells the hub that the transport has room again.</summary>
    internal void Resume() => _host.Hub.Writable(this);

    private bool SendFrame(SocketOpcode opcode, ReadOnlySpan<byte> payload)
    {
        var frame = _host.Frame;
        frame.ResetWrittenCount();
        SocketFrame.Write(frame, opcode, payload);
        return _output.Send(frame.WrittenSpan);
    }

    private async Task ReadAsync()
    {
        while (true)
        {
            var result = await _input.ReadAsync();
            if (result.IsCanceled)
                return;
            var buffer = result.Buffer;
            var open = true;
            while (open)
            {
                var wrong = SocketFrame.Read(ref buffer, out var frame);
                if (wrong != 0)
                {
                    _host.Hub.End(this, wrong);
                    open = false;
                }
                else if (frame is null)
                {
                    break;
                }
                else
                {
                    open = await HandleAsync(frame.Value);
                    if (++_framesInSecond > _host.MaxMessagesPerSecond * FramesAMessage)
                        await RestAsync();
                }
            }

            open = open && (Keep(buffer.Length, result.Buffer.Length) || Refuse(SocketClose.TryAgainLater));
            _input.AdvanceTo(buffer.Start, buffer.End);
            if (result.IsCompleted)
                return;
            if (!open)
            {
                await DrainAsync();
                return;
            }
        }
    }

    private bool Keep(long left, long had) => _message.Keep(left, isNew: left != had, _host.Memory, _host.Presence.Clock.Uptime);

    // After a close frame in either direction: drops all that arrives until the client closes, or the hub ends the wait.
    private async Task DrainAsync()
    {
        while (true)
        {
            var result = await _input.ReadAsync();
            _input.AdvanceTo(result.Buffer.End);
            if (result.IsCanceled || result.IsCompleted)
                return;
        }
    }

    // False: the read loop must stop.
    private async ValueTask<bool> HandleAsync(SocketFrame frame)
    {
        switch (frame.Opcode)
        {
            case not SocketOpcode.Close when _isIgnored:
                return true;
            case SocketOpcode.Pong:
                _unanswered = 0;
                await EvidenceAsync(byPerson: false);
                return true;
            case SocketOpcode.Ping:
                _unanswered = 0;
                await EvidenceAsync(byPerson: false);
                if (!IsFlooding())
                {
                    var payload = new byte[frame.Payload.Length];
                    frame.CopyTo(payload);
                    _host.Hub.Answer(this, payload);
                }

                return true;
            case SocketOpcode.Close:
                if (!_isIgnored && !_host.Sockets.HasLeft(User, Device))
                    await EvidenceAsync(byPerson: false);
                _peerClosed = true;
                _host.Hub.End(this, CloseCode(frame));
                return false;
            case SocketOpcode.Binary:
                return Refuse(SocketClose.UnsupportedData);
            default:
                return await HandleTextAsync(frame);
        }
    }

    private async ValueTask<bool> HandleTextAsync(SocketFrame frame)
    {
        if (frame.Opcode == SocketOpcode.Continuation != _message.IsBegun)
            return Refuse(SocketClose.ProtocolError);
        if (!_message.TryAppend(frame))
            return Refuse(SocketClose.TooBig);
        if (!frame.IsFinal)
            return true;
        var (message, length) = _message.Take();
        var json = message.AsMemory(0, length);
        try
        {
            _unanswered = 0;
            if (!Utf8.IsValid(json.Span))
                return Refuse(SocketClose.InvalidData);
            if (IsFlooding())
                return true;
            return await SocketMessages.HandleAsync(json, this, _host) switch
            {
                SocketMessageOutcome.NotJson => Refuse(SocketClose.InvalidData),
                SocketMessageOutcome.Left => Refuse(SocketClose.Normal),
                _ => true,
            };
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(message);
        }
    }

    /// <summary>Writes a heartbeat because something arrived from the client; see <see cref="SocketHost.EvidenceAsync"/>.</summary>
    internal ValueTask EvidenceAsync(bool byPerson) => _host.EvidenceAsync(User, Device, byPerson, ref _lastEvidence);

    private bool Refuse(int code)
    {
        _host.Hub.End(this, code);
        return false;
    }

    /// <summary>
    /// Lets the device leave. False: the store is not available; the leave is written when the store is back, or the lease expires.
    /// </summary>
    internal ValueTask<bool> LeaveAsync()
    {
        IsLeaving = true;
        return _host.LeaveAsync(User, Device);
    }

    /// <summary>Counts a message that names many users as several messages, because it costs more.</summary>
    internal void Charge(int users) => _messagesInSecond += users / UsersAMessage;

    // Reading one frame costs little, but a million per second cost a core. So a client over the limit is read again after a pause of 1 s.
    private async ValueTask RestAsync()
    {
        var now = _host.Presence.Clock.Uptime;
        if (now == _framesSecond)
            await Task.Delay(TimeSpan.FromSeconds(1), _host.Presence.Clock.Time);
        (_framesSecond, _framesInSecond) = (_host.Presence.Clock.Uptime, 0);
    }

    // Whether the client exceeds the limit of messages per second. The caller then drops the message; one error is sent per second.
    private bool IsFlooding()
    {
        var now = _host.Presence.Clock.Uptime;
        if (now != _messagesSecond)
            (_messagesSecond, _messagesInSecond, _wasFloodReported) = (now, 0, false);
        if (++_messagesInSecond <= _host.MaxMessagesPerSecond)
            return false;
        if (!_wasFloodReported)
        {
            var flood = Problems.TooManyMessages(_host.MaxMessagesPerSecond);
            _host.Gate?.Note(flood, Address);
            _host.Hub.Reply(this, SocketMessages.Error(flood));
        }

        return _wasFloodReported = true;
    }

    private static int CloseCode(SocketFrame frame)
    {
        if (frame.Payload.IsEmpty)
            return SocketClose.Normal;
        if (frame.Payload.Length == 1)
            return SocketClose.ProtocolError;
        Span<byte> payload = stackalloc byte[125];
        frame.CopyTo(payload);
        payload = payload[..(int)frame.Payload.Length];
        var code = (payload[0] << 8) | payload[1];
        if (!SocketClose.MayBeSent(code))
            return SocketClose.ProtocolError;
        return Utf8.IsValid(payload[2..]) ? code : SocketClose.InvalidData;
    }
}
