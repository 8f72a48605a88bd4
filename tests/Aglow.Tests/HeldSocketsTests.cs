using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Text;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Hosting;

namespace Aglow.Tests;

/// <summary>Real sockets that were accepted and are not the web server's yet, with a clock that moves when it is told to.</summary>
public sealed class HeldSocketsTests : IDisposable
{
    private const string Whole = "POST /heartbeat HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\n{";
    private const int MostOfAnAddress = 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);
    private static readonly TimeSpan UntilGivenUp = HeldSockets.FirstWait * ((1 << HeldSockets.Looks) - 1);

    private readonly ManualTimeProvider _time = new();
    private readonly BlockingCollection<Socket> _whole = [];
    private readonly List<Socket> _clients = [];
    private readonly List<Socket> _sockets = [];
    private readonly Socket _listen = new(SocketType.Stream, ProtocolType.Tcp);
    private readonly List<string> _warnings = [];
    private readonly List<HeldSockets> _holders = [];
    private readonly List<ConnectionLimit> _limits = [];
    private readonly ConnectionLimit _limit;
    private readonly HeldSockets _held;

    public HeldSocketsTests()
    {
        _limit = Limit(MostOfAnAddress);
        _held = Hold(_limit);
        _listen.Bind(new IPEndPoint(IPAddress.Loopback, 0));
        _listen.Listen();
    }

    public void Dispose()
    {
        // whoever hears of the end closes the socket: nobody else may before
        foreach (var held in _holders)
            held.Dispose();
        Until(() => _limits.TrueForAll(static limit => limit.Held == 0));
        _listen.Dispose();
        foreach (var socket in _clients.Concat(_sockets))
            socket.Dispose();
        _whole.Dispose();
    }

    [Theory]
    [InlineData(Whole)]
    [InlineData("GET / HTTP/1.1\n\n")]
    [InlineData("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")]
    [InlineData("\u0016\u0003\u0001")]
    [InlineData("get /")]
    public void What_is_whole_or_something_else_is_handed_over_at_once_untouched(string sent)
    {
        var client = Connect();
        Send(client, sent);
        Read(HandedOver(), sent.Length).ShouldBe(sent);
        _held.Count.ShouldBe(0);
    }

    [Fact]
    public void A_head_longer_than_is_waited_for_is_handed_over()
    {
        var sent = "GET / HTTP/1.1\r\nX-Long: ".PadRight(RequestHead.MaxBytes + 1, 'x');
        Send(Connect(), sent);
        // it may come in pieces
        using var moving = new Timer(_ => _time.Advance(HeldSockets.FirstWait), null, TimeSpan.Zero, TimeSpan.FromMilliseconds(50));
        Read(HandedOver(), sent.Length).ShouldBe(sent);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(30)]
    [InlineData(200)]
    [InlineData(14_000)]
    public void Half_of_a_head_is_held_and_handed_over_soon_after_it_is_whole(int milliseconds)
    {
        var client = Connect();
        Send(client, Whole[..20]);
        Until(HalfIsHeld);
        var later = TimeSpan.FromMilliseconds(milliseconds);
        _time.Advance(later);
        _whole.Count.ShouldBe(0);
        Send(client, Whole[20..]);
        Until(() => _sockets[^1].Available == Whole.Length);
        // by then twice the time may have passed
        _time.Advance(later + HeldSockets.FirstWait);
        Read(HandedOver(), Whole.Length).ShouldBe(Whole);
        _held.Count.ShouldBe(0);
    }

    [Fact]
    public void Who_sends_half_of_a_head_is_told_so_after_fifteen_seconds_and_closed()
    {
        var client = Connect();
        Send(client, "GET /status/1 HTTP/1.1\r\nX-Ne");
        Until(HalfIsHeld);
        _time.Advance(UntilGivenUp - TimeSpan.FromSeconds(1));
        // bytes buy no time
        Send(client, "ver");
        Until(() => _sockets[^1].Available > 30);
        _held.Count.ShouldBe(1);
        _time.Advance(TimeSpan.FromSeconds(1) + HeldSockets.FirstWait);
        Read(client, 1000).ShouldStartWith("HTTP/1.1 408 ");
        Read(client, 1).ShouldBe("");
        _held.Count.ShouldBe(0);
        _whole.Count.ShouldBe(0);
    }

    [Fact]
    public void Who_says_nothing_is_idle_for_two_minutes_and_closed()
    {
        var silent = Connect();
        var late = Connect();
        Until(() => _held.Count == 2);
        _time.Advance(HeldSockets.LongestSilence - TimeSpan.FromSeconds(1));
        Send(late, Whole);
        Read(HandedOver(), Whole.Length).ShouldBe(Whole);
        _held.Count.ShouldBe(1);
        _time.Advance(TimeSpan.FromSeconds(2));
        Read(silent, 1).ShouldBe("");
        Until(() => _held.Count == 0);
    }

    [Fact]
    public void Hundreds_that_say_nothing_are_closed_a_few_at_a_time()
    {
        var held = Hold(Limit(1000));
        var clients = Enumerable.Range(0, 500).Select(_ => Connect(held)).ToArray();
        _time.Advance(HeldSockets.LongestSilence);
        held.Count.ShouldBeGreaterThan(clients.Length / 2);
        _time.Advance(TimeSpan.FromSeconds(1));
        held.Count.ShouldBe(0);
        clients.ShouldAllBe(static client => Read(client, 1) == "");
    }

    [Fact]
    public void Who_hangs_up_is_forgotten()
    {
        var silent = Connect();
        var reset = Connect();
        var half = Connect();
        Send(half, "GET /");
        Until(HalfIsHeld);
        silent.Dispose();
        reset.Close(0);
        half.Dispose();
        Until(() => _held.Count == 1);
        // its bytes are still there to be looked at
        _time.Advance(UntilGivenUp + HeldSockets.FirstWait);
        _held.Count.ShouldBe(0);
        _whole.Count.ShouldBe(0);
    }

    [Fact]
    public void An_address_that_has_as_many_as_it_may_gets_no_more_until_one_is_gone()
    {
        for (var i = 0; i < MostOfAnAddress; i++)
            Connect();
        var oneTooMany = Connect();
        Should.Throw<SocketException>(() => oneTooMany.Receive(new byte[1])).SocketErrorCode.ShouldBe(SocketError.ConnectionReset);
        _held.Count.ShouldBe(MostOfAnAddress);
        // who is handed over is counted by the web server's own guard
        Send(_clients[0], Whole);
        HandedOver();
        Send(Connect(), Whole);
        HandedOver();
    }

    [Fact]
    public void Where_there_is_no_room_the_one_that_has_been_silent_for_longest_makes_some()
    {
        var limit = Limit(1000, mostInAll: 10);
        var held = Hold(limit);
        var early = Enumerable.Range(0, 10).Select(_ => Connect(held)).ToArray();
        var late = Connect(held);
        Read(early[0], 1).ShouldBe("");
        // somebody who asks is served, however many do not
        Send(late, Whole);
        HandedOver();
        Until(() => limit.Total == 9);
        limit.Closed(ClosedFor.Room).ShouldBe(1);
        _warnings.Count.ShouldBe(1);
    }

    [Fact]
    public void Where_nobody_is_silent_the_one_that_has_been_at_a_head_for_longest_makes_room()
    {
        var limit = Limit(1000, mostInAll: 2);
        var held = Hold(limit);
        var first = Connect(held);
        Send(first, "GET /");
        Until(() => held.Unfinished == 1);
        _time.Advance(TimeSpan.FromSeconds(1));
        var second = Connect(held);
        Send(second, "GET /");
        Until(() => held.Unfinished == 2);
        Connect(held);
        // what it sent was not read
        Should.Throw<SocketException>(() => first.Receive(new byte[1])).SocketErrorCode.ShouldBe(SocketError.ConnectionReset);
        held.Count.ShouldBe(2);
    }

    [Fact]
    public void Where_all_are_the_web_servers_a_new_one_is_refused_and_the_log_says_so_once_a_minute()
    {
        var limit = Limit(1000, mostInAll: 1);
        var held = Hold(limit);
        limit.TryEnter(IPAddress.Loopback).ShouldBeTrue();
        for (var i = 0; i < 3; i++)
            Read(Connect(held), 1).ShouldBe("");
        limit.Total.ShouldBe(1);
        limit.Held.ShouldBe(0);
        _warnings.ShouldHaveSingleItem().ShouldContain("descriptors for 1 connections");
        _time.Advance(TimeSpan.FromMinutes(1));
        Read(Connect(held), 1).ShouldBe("");
        _warnings.Count.ShouldBe(2);
        limit.Leave(IPAddress.Loopback);
        Send(Connect(held), Whole);
        HandedOver();
    }

    [Fact]
    public void What_was_closed_and_why_is_counted()
    {
        Connect();
        Send(Connect(), "GET /");
        Until(HalfIsHeld);
        _limit.Held.ShouldBe(2);
        _time.Advance(HeldSockets.LongestSilence + TimeSpan.FromSeconds(1));
        Until(() => _limit.Total == 0);
        _limit.Closed(ClosedFor.Silence).ShouldBe(1);
        _limit.Closed(ClosedFor.Slowness).ShouldBe(1);
        _limit.Closed(ClosedFor.Address).ShouldBe(0);
        _limit.Held.ShouldBe(0);
    }

    [Theory]
    [InlineData("Max cpu time unlimited unlimited seconds\nMax open files            20000                40000                files     \n", 19_488)]
    [InlineData("Max open files            64                 64                files     \n", 16)]
    [InlineData("Max open files            unlimited            unlimited            files     \n", int.MaxValue)]
    [InlineData("", int.MaxValue)]
    public void Connections_leave_descriptors_for_everything_else(string limits, int connections) =>
        Descriptors.ForConnections(limits).ShouldBe(connections);

    [Fact]
    public void Hundreds_that_are_too_slow_are_all_told_so_a_few_at_a_time()
    {
        var held = Hold(Limit(1000));
        var clients = Enumerable.Range(0, 500).Select(_ => Connect(held)).ToArray();
        foreach (var client in clients)
            Send(client, "GET /");
        Until(() => _sockets.Count(static socket => socket.Available == 5) == clients.Length);
        // each has been looked at once, so that all are due at the same time
        Until(() => held.Unfinished == clients.Length);
        _time.Advance(UntilGivenUp);
        held.Count.ShouldBeGreaterThan(clients.Length / 2);
        _time.Advance(TimeSpan.FromSeconds(1));
        held.Count.ShouldBe(0);
        clients.ShouldAllBe(client => Read(client, 1000).StartsWith("HTTP/1.1 408 "));
    }

    [Fact]
    public void All_are_closed_where_the_server_stops()
    {
        var silent = Connect();
        var half = Connect();
        Send(half, "GET /");
        Until(HalfIsHeld);
        _held.Dispose();
        Read(silent, 1).ShouldBe("");
        // what it sent was not read
        Should.Throw<SocketException>(() => half.Receive(new byte[1])).SocketErrorCode.ShouldBe(SocketError.ConnectionReset);
        Read(Connect(), 1).ShouldBe("");
        Until(() => _held.Count == 0);
    }

    private ConnectionLimit Limit(int mostOfAnAddress, int mostInAll = 1000)
    {
        var limit = new ConnectionLimit(mostOfAnAddress, mostInAll, new ListLogger(_warnings), _time);
        _limits.Add(limit);
        return limit;
    }

    private HeldSockets Hold(ConnectionLimit limit)
    {
        var held = new HeldSockets(_time, limit, _whole.Add);
        _holders.Add(held);
        return held;
    }

    private Socket Connect() => Connect(_held);

    private Socket Connect(HeldSockets held)
    {
        var client = new Socket(SocketType.Stream, ProtocolType.Tcp) { ReceiveTimeout = (int)Patience.TotalMilliseconds, NoDelay = true };
        client.Connect(_listen.LocalEndPoint!);
        _clients.Add(client);
        var accepted = _listen.Accept();
        _sockets.Add(accepted);
        held.Take(accepted);
        return client;
    }

    private bool HalfIsHeld() => _held.Unfinished == 1;

    private Socket HandedOver()
    {
        _whole.TryTake(out var socket, Patience).ShouldBeTrue();
        socket!.Blocking = true;
        return socket;
    }

    private static void Send(Socket socket, string text) => socket.Send(Encoding.Latin1.GetBytes(text)).ShouldBe(text.Length);

    private static string Read(Socket socket, int most)
    {
        var (buffer, length) = (new byte[most], 0);
        while (length < most && socket.Receive(buffer, length, most - length, SocketFlags.None) is > 0 and var more)
            length += more;
        return Encoding.Latin1.GetString(buffer, 0, length);
    }

    private static void Until(Func<bool> holds)
    {
        var began = Stopwatch.GetTimestamp();
        while (!holds())
        {
            Stopwatch.GetElapsedTime(began).ShouldBeLessThan(Patience);
            Thread.Sleep(1);
        }
    }
}
