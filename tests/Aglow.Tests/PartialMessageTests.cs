using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Sockets;

namespace Aglow.Tests;

/// <summary>Messages that arrive in parts: how much of them the server buffers, and for how long.</summary>
public sealed class PartialMessageTests
{
    private const byte Text = 0x01;
    private const byte FinalText = 0x81;
    private const byte FinalContinuation = 0x80;
    private const byte FinalPing = 0x89;
    private const int Half = SocketFrame.MaxPayload / 2;

    private readonly CallMemory _memory = new(most: 3 * SocketFrame.MaxPayload);
    private readonly World _world;

    public PartialMessageTests() => _world = new World(_memory);

    [Fact]
    public async Task Fragments_of_which_the_last_does_not_come_in_a_minute_end_their_socket_and_nothing_of_them_is_kept()
    {
        await using var socket = _world.Connect();
        await socket.SendAsync(Frame(Text, new byte[Half]));
        await _world.UntilAsync(() => _memory.Taken >= Half);
        await _world.PassAsync(50, socket);
        socket.CloseCode.ShouldBeNull();
        _memory.Taken.ShouldBeGreaterThanOrEqualTo(Half);
        await _world.PassAsync(25);
        await _world.UntilAsync(() => socket.CloseCode is not null);
        socket.CloseCode.ShouldBe(SocketClose.PolicyViolation);
        await _world.PassAsync(2);
        await _world.UntilAsync(() => _memory.Taken == 0);
    }

    [Fact]
    public async Task Half_of_a_frame_lets_no_pong_through_so_whoever_waits_in_it_is_gone()
    {
        await using var socket = _world.Connect();
        await socket.SendAsync(Frame(FinalText, new byte[Half])[..^1]);
        await _world.UntilAsync(() => _memory.Taken >= Half);
        await _world.PassAsync(31);
        await _world.UntilAsync(() => socket.IsOver);
        _memory.Taken.ShouldBe(0);
    }

    [Fact]
    public async Task Messages_that_are_cut_anywhere_end_nothing_as_long_as_each_becomes_whole()
    {
        await using var socket = _world.Connect();
        var ping = Frame(FinalPing, "still here"u8);
        for (var second = 0; second < 100; second += 5)
        {
            // the end of one message, a whole one, and the beginning of the next
            var pongs = socket.Pongs;
            await socket.SendAsync([.. second == 0 ? [] : ping[5..], .. ping, .. ping[..5]]);
            await _world.UntilAsync(() => socket.Pongs > pongs);
            await _world.PassAsync(5);
        }

        socket.CloseCode.ShouldBeNull();
        _memory.Taken.ShouldBe(0);
    }

    [Fact]
    public async Task What_is_kept_beyond_what_all_may_keep_together_ends_who_would_keep_it()
    {
        await using var first = _world.Connect();
        await using var second = _world.Connect();
        foreach (var socket in new[] { first, second })
            await socket.SendAsync(Frame(Text, new byte[SocketFrame.MaxPayload - 1]));
        await _world.UntilAsync(() => _memory.Taken == 2 * SocketFrame.MaxPayload);
        await using var third = _world.Connect();
        // a fragment and a part of the next one: more than the memory that is left
        await third.SendAsync([.. Frame(Text, new byte[Half]), .. Frame(FinalContinuation, new byte[SocketFrame.MaxPayload])[..^1]]);
        await _world.UntilAsync(() => third.CloseCode is not null);
        third.CloseCode.ShouldBe(SocketClose.TryAgainLater);

        // small messages are still accepted, and a complete message frees its memory
        await first.SendAsync(Frame(FinalContinuation, "x"u8));
        await _world.UntilAsync(() => first.CloseCode is not null);
        first.CloseCode.ShouldBe(SocketClose.InvalidData);
        // a client whose connection was closed has a second to answer the close
        await _world.PassAsync(2);
        await _world.UntilAsync(() => _memory.Taken == SocketFrame.MaxPayload);
    }

    [Fact]
    public async Task What_is_small_is_not_counted()
    {
        await using var socket = _world.Connect();
        await socket.SendAsync(Frame(Text, new byte[PartialMessage.Uncounted]));
        await _world.PingAsync(socket);
        _memory.Taken.ShouldBe(0);
    }

    // A frame as a client sends it, with a mask of zero.
    private static byte[] Frame(byte first, ReadOnlySpan<byte> payload)
    {
        var length = payload.Length;
        var size = new byte[length < 126 ? 1 : length <= ushort.MaxValue ? 3 : 9];
        size[0] = (byte)(0x80 | (length < 126 ? length : size.Length == 3 ? 126 : 127));
        if (size.Length == 3)
            BinaryPrimitives.WriteUInt16BigEndian(size.AsSpan(1), (ushort)length);
        else if (size.Length == 9)
            BinaryPrimitives.WriteInt64BigEndian(size.AsSpan(1), length);
        return [first, .. size, 0, 0, 0, 0, .. payload];
    }

    /// <summary>A server's sockets over pipes, with a clock that the test advances.</summary>
    private sealed class World
    {
        private readonly ManualTimeProvider _time = new();
        private readonly PresenceService _presence;
        private readonly SocketHost _host;
        private uint _user;

        public World(CallMemory memory)
        {
            var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
            var clock = new Clock(_time, new StallGuard(20));
            _presence = new PresenceService(
                new MemoryPlaneStore(PageBudget.Of(options)), null, new LocalTransitionBus(), clock, options,
                new AglowMetrics(), new AglowLog(NullLogger.Instance));
            _host = new SocketHost(_presence, options, tokens: null, gate: null) { Memory = memory };
        }

        public Client Connect() => new(_host, ++_user);

        // Every five seconds, these clients send a ping and get the answer. So the server takes none of them for gone, even on a slow
        // machine.
        public async Task PassAsync(int seconds, params Client[] here)
        {
            for (var second = 0; second < seconds; second++)
            {
                for (var passed = TimeSpan.Zero; passed < TimeSpan.FromSeconds(1); passed += WatchHub.BeatInterval)
                    await BeatAsync();
                foreach (var client in second % 5 == 4 ? here : [])
                    await PingAsync(client);
            }
        }

        public async Task PingAsync(Client client)
        {
            var pongs = client.Pongs;
            await client.SendAsync(Frame(FinalPing, "x"u8));
            await UntilAsync(() => client.Pongs > pongs);
        }

        // Waits in real time for other threads, while little simulated time passes.
        public async Task UntilAsync(Func<bool> isSo)
        {
            for (var tries = 0; !isSo(); tries++)
            {
                tries.ShouldBeLessThan(4000);
                if (tries % 10 == 0)
                    await BeatAsync();
                await Task.Delay(5);
            }
        }

        private async Task BeatAsync()
        {
            _time.Advance(WatchHub.BeatInterval);
            await _presence.Watchers.BeatAsync();
        }
    }

    /// <summary>The other end of a socket.</summary>
    private sealed class Client : IAsyncDisposable
    {
        private readonly Pipe _toServer = new();
        private readonly Task _running;
        private readonly ReceivedFrames _received = new();

        public Client(SocketHost host, uint user) => _running = host.RunAsync(_toServer.Reader, _received, new Arrival(
            UserId.Of(user), user, new Aglow.AspNetCore.Sockets.Client(Caller: null, Address: null, Device.Unnamed())));

        /// <summary>The code with which the server closed; null: it did not close.</summary>
        public int? CloseCode => _received.CloseCode;

        public int Pongs => _received.Pongs;

        public bool IsOver => _running.IsCompleted;

        public async Task SendAsync(byte[] bytes) => await _toServer.Writer.WriteAsync(bytes);

        public async ValueTask DisposeAsync() => await _toServer.Writer.CompleteAsync();
    }

    private sealed class ReceivedFrames : SocketOutput
    {
        private volatile int _code;
        private volatile int _pongs;

        public int? CloseCode => _code == 0 ? null : _code;

        public int Pongs => _pongs;

        public override bool Send(ReadOnlySpan<byte> frames)
        {
            if (frames[0] == (0x80 | (byte)SocketOpcode.Close))
                _code = BinaryPrimitives.ReadUInt16BigEndian(frames[2..]);
            else if (frames[0] == (0x80 | (byte)SocketOpcode.Pong))
                _pongs++;
            return true;
        }
    }
}
