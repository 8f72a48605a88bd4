using System.Buffers;
using System.Collections.Concurrent;
using System.Net;
using System.Net.Sockets;

namespace Aglow.AspNetCore.Hosting;

/// <summary>
/// Sockets that were accepted and have not sent the whole head of a request yet. Their bytes stay in the kernel: they are looked at (<see cref="SocketFlags.Peek"/>), not read, until the head is
/// whole, and then the socket is the web server's as if nothing had been.
/// </summary>
/// <remarks>
/// The first byte is waited for. What it brings is nearly always the whole; what is not is looked at again after 15 ms, 30, 60 and so on, ten times in all, and then given up. So whoever sends a byte
/// a second costs ten looks, where a connection of the web server costs 12 KB, a read for each byte, and a part of each collection (aglow bench attack). What it costs: a head that comes in
/// pieces is heard up to twice as late as its last piece came, and who hangs up after half of one is noticed when it is given up.
/// Where there are no descriptors for more, those that are held make room for new ones, the oldest first: somebody who connects and asks is not kept out by any number who do not.
/// All that wait for their nth look wait equally long, so they are due in the order in which they came: one queue for each, and one timer, which runs while anybody waits.
/// Threading: any thread; the list of those who are silent is under a lock, once when a socket comes and once when it says something.
/// </remarks>
internal sealed class HeldSockets : IDisposable
{
    /// <summary>After how long half of a head is looked at again; twice as long each time.</summary>
    public static readonly TimeSpan FirstWait = TimeSpan.FromMilliseconds(15);

    /// <summary>So often half of a head is looked at again, over 15.3 s, before it is given up.</summary>
    public const int Looks = 10;

    /// <summary>How long a connection may say nothing at all: as long as one may be idle between two requests.</summary>
    public static readonly TimeSpan LongestSilence = TimeSpan.FromMinutes(2);

    private static readonly TimeSpan SilenceBeat = TimeSpan.FromSeconds(1);

    // So many looks at a time, or two connections closed, and then a pause for others; where very many are held, a hundredth of them. So thousands that are late together are given up over some ten
    // seconds. Turns as short without a pause between them made others wait for longer (aglow bench attack).
    private const int BudgetOfBeat = 64;
    private const int CostOfClosing = 32;
    private static readonly TimeSpan BusyBeat = TimeSpan.FromMilliseconds(1);

    [ThreadStatic]
    private static byte[]? s_looked;

    private readonly LinkedList<Held> _silent = new();
    private readonly ConcurrentQueue<Held>[] _unfinished = [.. Enumerable.Range(0, Looks).Select(static _ => new ConcurrentQueue<Held>())];
    private readonly TimeProvider _time;
    private readonly ConnectionLimit _limit;
    private readonly Action<Socket> _whole;
    private readonly ITimer _looks;
    private readonly ITimer _silence;
    private int _unfinishedCount;
    private bool _isStopped;

    /// <summary>Holds sockets, and gives those whose head is whole to <paramref name="whole"/>, from any thread.</summary>
    public HeldSockets(TimeProvider time, ConnectionLimit limit, Action<Socket> whole)
    {
        _time = time;
        _limit = limit;
        _whole = whole;
        _looks = time.CreateTimer(static held => ((HeldSockets)held!).LookAgain(), this, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
        _silence = time.CreateTimer(static held => ((HeldSockets)held!).CloseSilent(), this, SilenceBeat, Timeout.InfiniteTimeSpan);
    }

    /// <summary>How many are held.</summary>
    public int Count
    {
        get
        {
            lock (_silent)
                return _silent.Count + Unfinished;
        }
    }

    /// <summary>How many of them have said something.</summary>
    public int Unfinished => Volatile.Read(ref _unfinishedCount);

    /// <summary>Takes a socket that was just accepted; closes it where its address has too many, or where there is no room.</summary>
    public void Take(Socket socket)
    {
        if (socket.RemoteEndPoint is not IPEndPoint from || !_limit.TryEnter(from.Address))
        {
            socket.Close(0);
            return;
        }

        var held = new Held(this, socket, from.Address) { DueAt = After(LongestSilence) };
        _limit.CountHeld(1);
        if (_limit.IsOverfull)
        {
            _limit.CountClosed(ClosedFor.Room);
            if (!TryMakeRoom())
            {
                Close(held);
                return;
            }
        }

        if (!TryHold(held))
            Close(held);
        else if (!socket.ReceiveAsync(held))
            Hear(held);
    }

    /// <summary>Closes all.</summary>
    public void Dispose()
    {
        _looks.Dispose();
        _silence.Dispose();
        Held[] silent;
        lock (_silent)
        {
            _isStopped = true;
            silent = [.. _silent];
        }

        foreach (var held in silent)
            End(held.Socket);
        foreach (var queue in _unfinished)
        {
            while (queue.TryDequeue(out var held))
            {
                Interlocked.Decrement(ref _unfinishedCount);
                Close(held);
            }
        }
    }

    private bool TryHold(Held held)
    {
        try
        {
            held.Socket.Blocking = false;
        }
        catch (SocketException)
        {
            return false;
        }

        held.SetBuffer(Memory<byte>.Empty);
        lock (_silent)
        {
            if (_isStopped)
                return false;
            _silent.AddLast(held.Place);
            return true;
        }
    }

    private long After(TimeSpan wait) => _time.GetTimestamp() + (long)(wait.TotalSeconds * _time.TimestampFrequency);

    // The first byte came, or the end, or it was silent for too long.
    private void Hear(Held held)
    {
        lock (_silent)
        {
            if (held.Place.List is not null)
                _silent.Remove(held.Place);
        }

        if (held.SocketError == SocketError.Success)
            Look(held);
        else
            Close(held);
    }

    // False: it is too late for more.
    private bool Look(Held held)
    {
        var looked = s_looked ??= new byte[RequestHead.MaxBytes + 1];
        var length = held.Socket.Receive(looked, SocketFlags.Peek, out var error);
        if (error is not (SocketError.Success or SocketError.WouldBlock) || (error == SocketError.Success && length == 0))
        {
            Close(held);
        }
        else if (error == SocketError.Success && !RequestHead.IsUnfinished(new ReadOnlySequence<byte>(looked, 0, length)))
        {
            HandOver(held);
        }
        else if (held.Looks == Looks || Volatile.Read(ref _isStopped))
        {
            GiveUp(held, looked);
            return false;
        }
        else
        {
            held.DueAt = After(FirstWait * (1 << held.Looks));
            _unfinished[held.Looks++].Enqueue(held);
            if (Interlocked.Increment(ref _unfinishedCount) == 1)
                _looks.Change(FirstWait, Timeout.InfiniteTimeSpan);
        }

        return true;
    }

    private void LookAgain()
    {
        var now = _time.GetTimestamp();
        var budget = BudgetFor(Unfinished);
        foreach (var queue in _unfinished)
        {
            while (budget > 0 && queue.TryPeek(out var next) && next.DueAt <= now && queue.TryDequeue(out var held))
            {
                Interlocked.Decrement(ref _unfinishedCount);
                budget -= Look(held) ? 1 : CostOfClosing;
            }
        }

        if (Unfinished > 0)
            _looks.Change(budget > 0 ? FirstWait : BusyBeat, Timeout.InfiniteTimeSpan);
    }

    private void CloseSilent()
    {
        var now = _time.GetTimestamp();
        var budget = BudgetFor(Count);
        for (; budget > 0 && TakeSilent(now) is { } socket; budget -= CostOfClosing)
        {
            _limit.CountClosed(ClosedFor.Silence);
            End(socket);
        }

        _silence.Change(budget > 0 ? SilenceBeat : BusyBeat, Timeout.InfiniteTimeSpan);
    }

    // Whoever has said nothing for longest goes, or else whoever has been at a head for longest.
    private bool TryMakeRoom()
    {
        if (TakeSilent(long.MaxValue) is { } silent)
        {
            End(silent);
            return true;
        }

        for (var looks = _unfinished.Length - 1; looks >= 0; looks--)
        {
            if (_unfinished[looks].TryDequeue(out var held))
            {
                Interlocked.Decrement(ref _unfinishedCount);
                Close(held);
                return true;
            }
        }

        return false;
    }

    private static int BudgetFor(int held) => Math.Max(BudgetOfBeat, held / 100);

    private Socket? TakeSilent(long dueUntil)
    {
        lock (_silent)
        {
            if (_silent.First is not { } oldest || oldest.Value.DueAt > dueUntil)
                return null;
            _silent.RemoveFirst();
            return oldest.Value.Socket;
        }
    }

    // Its read ends, and what hears of that closes it.
    private static void End(Socket silent)
    {
        try
        {
            silent.Shutdown(SocketShutdown.Both);
        }
        catch (Exception e) when (e is SocketException or ObjectDisposedException)
        {
            // it was reset, or has just been closed
        }
    }

    private void HandOver(Held held)
    {
        _limit.CountHeld(-1);
        _limit.Leave(held.From);
        var socket = held.Socket;
        held.Dispose();
        _whole(socket);
    }

    private void GiveUp(Held held, byte[] buffer)
    {
        // what was not read would make the answer's way back a reset
        held.Socket.Receive(buffer, SocketFlags.None, out _);
        held.Socket.Send(RequestHead.TooSlow, SocketFlags.None, out _);
        _limit.CountClosed(ClosedFor.Slowness);
        Close(held);
    }

    private void Close(Held held)
    {
        _limit.CountHeld(-1);
        _limit.Leave(held.From);
        held.Socket.Dispose();
        held.Dispose();
    }

    private sealed class Held : SocketAsyncEventArgs
    {
        private readonly HeldSockets _owner;

        public Held(HeldSockets owner, Socket socket, IPAddress from)
            : base(true) // it needs nothing of whoever began it
        {
            (_owner, Socket, From) = (owner, socket, from);
            Place = new(this);
        }

        public Socket Socket { get; }

        public IPAddress From { get; }

        // among those who are silent
        public LinkedListNode<Held> Place { get; }

        // how often it was looked at again, or is to be
        public int Looks { get; set; }

        public long DueAt { get; set; }

        protected override void OnCompleted(SocketAsyncEventArgs e) => _owner.Hear(this);
    }
}
