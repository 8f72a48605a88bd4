using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Text.Unicode;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// One WebSocket: reads frames, writes heartbeats from evidence of life, and tells the hub what the client asks for.
/// </summary>
/// <remarks>
/// A connected client sends no heartbeats: this pings (browsers answer even in background tabs, where timers are throttled to one a minute) and
/// writes on the pong: the second of the last evidence, never "now". With each ping goes a tick, a tiny text frame, since a page cannot see pings and
/// must notice a dead node itself.
/// Threading: the read loop runs in <see cref="RunAsync"/>; everything that is sent is sent by the hub's loop. Fields are few: there are a hundred
/// thousand of these.
/// </remarks>
internal sealed class PresenceSocket : WatchConnection, IDeviceConnection
{
    // naming so many users in one message costs as much as a message more
    private const int UsersAMessage = 500;

    // frames that are read for each message that may be: pings, pongs, fragments, and messages that are dropped
    private const int FramesAMessage = 10;

    // a client that answered none of two pings is gone
    private const int MaxUnanswered = 2;

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
    private bool _peerClosed;
    private bool _saidGoodbye;
    private bool _wasToldOfFlood;

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

    /// <summary>The device that it is from: one of its own where the client names none.</summary>
    public Device Device => _client.Device;

    /// <summary>Whether its device has said goodbye.</summary>
    public bool IsLeaving => _saidGoodbye;

    /// <summary>The address that pays for it.</summary>
    public IPAddress? Address => _client.Address;

    /// <summary>How long the application's sign-in behind it lasts; null where there is none.</summary>
    public Func<TimeSpan>? Left => _client.Left;

    protected override TimeSpan TickInterval => SoonerOf(_host.TickInterval, Left?.Invoke() ?? _caller?.Left(_host.Tokens!.Now));

    /// <summary>Reads until the connection ends. The handshake is done, and the hub knows this.</summary>
    public async Task RunAsync()
    {
        try
        {
            await ReadAsync();
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
        {
            // lost: the lease runs on
        }
        finally
        {
            if (!_saidGoodbye)
                _host.Sockets.Exit(User);
            _message.Drop(_host.Memory);
            // nothing is sent any more once the hub has let go, so the transport may be closed
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
        if ((Left?.Invoke() ?? _caller?.Left(_host.Tokens!.Now)) == TimeSpan.Zero)
        {
            End(SocketClose.TokenEnded);
            return false;
        }

        if (_message.IsTooSlow(_host.Presence.Clock.Uptime))
        {
            End(SocketClose.PolicyViolation);
            return false;
        }

        if (_unanswered >= MaxUnanswered)
        {
            // no close handshake with who is not there
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

    protected override void End(int code)
    {
        if (_ended)
            return;
        _ended = true;
        SendFrame(SocketOpcode.Close, SocketClose.Payload(code, SocketClose.ReasonOf(code)));
        // both sides have said it: the server closes the connection first (RFC 6455, section 7.1.1)
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

    // The other side has a second to say that it closes, too; then the transport is closed anyway.
    private async Task LingerAsync()
    {
        await Task.Delay(TimeSpan.FromSeconds(1), _host.Presence.Clock.Time);
        _input.CancelPendingRead();
    }

    /// <summary>The same person has shown a newer token.</summary>
    internal void Renew(Caller caller)
    {
        _caller = caller;
        _host.Sockets.Renew(this, caller);
    }

    /// <summary>The person, or key, and the address pay for a message.</summary>
    /// <exception cref="ProblemException">They have spent what they may (429).</exception>
    internal void Pay(int cost) => _host.Gate?.Charge(_caller, Address, cost);

    /// <summary>The transport has room again.</summary>
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

    // After a close in either direction: what still comes is thrown away until the other side closes, or the hub ends the wait.
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

    // False: nothing more is to be read.
    private async ValueTask<bool> HandleAsync(SocketFrame frame)
    {
        switch (frame.Opcode)
        {
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

    /// <summary>Something came from the client: at most once a second, it is written as a heartbeat.</summary>
    internal ValueTask EvidenceAsync(bool byPerson) => _host.EvidenceAsync(User, Device, byPerson, ref _lastEvidence);

    private bool Refuse(int code)
    {
        _host.Hub.End(this, code);
        return false;
    }

    /// <summary>This device says goodbye. False: the store is away, and the goodbye is written when it is back, or the lease expires.</summary>
    internal ValueTask<bool> LeaveAsync()
    {
        _saidGoodbye = true;
        return _host.LeaveAsync(User, Device);
    }

    /// <summary>A message named so many users, which costs more than one that names a few: it counts for several of those read in a second.</summary>
    internal void Charge(int users) => _messagesInSecond += users / UsersAMessage;

    // Reading a frame costs little, and a million of them a core: whoever sends so many is read again when the second is over.
    private async ValueTask RestAsync()
    {
        var now = _host.Presence.Clock.Uptime;
        if (now == _framesSecond)
            await Task.Delay(TimeSpan.FromSeconds(1), _host.Presence.Clock.Time);
        (_framesSecond, _framesInSecond) = (_host.Presence.Clock.Uptime, 0);
    }

    // Over the limit of messages a second: said once in that second, and the message is dropped.
    private bool IsFlooding()
    {
        var now = _host.Presence.Clock.Uptime;
        if (now != _messagesSecond)
            (_messagesSecond, _messagesInSecond, _wasToldOfFlood) = (now, 0, false);
        if (++_messagesInSecond <= _host.MaxMessagesPerSecond)
            return false;
        if (!_wasToldOfFlood)
        {
            var flood = Problems.TooManyMessages(_host.MaxMessagesPerSecond);
            _host.Gate?.Note(flood, Address);
            _host.Hub.Reply(this, SocketMessages.Error(flood));
        }

        return _wasToldOfFlood = true;
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
