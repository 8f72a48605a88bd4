using Aglow.Model;

namespace Aglow.Watching;

/// <summary>
/// One connection that watches, as the <see cref="WatchHub"/> sees it; a socket and an event stream are the two there are.
/// </summary>
/// <remarks>
/// Everything that is sent is sent by the hub's loop, one thing after another, so a connection needs no lock. Its own read loop posts what it
/// hears to the hub.
/// </remarks>
public abstract class WatchConnection
{
    internal Outbox Outbox;

    /// <summary>A connection of this user, who sees what they may see; <see cref="UserId.Nobody"/> where none is named: a stranger.</summary>
    protected WatchConnection(uint user) => User = user;

    /// <summary>Whose connection it is.</summary>
    public uint User { get; }

    internal int Id { get; set; } = -1;

    /// <summary>Watches whose snapshot is still to be sent; null nearly always.</summary>
    internal List<Snapshot>? Snapshots { get; set; }

    /// <summary>Answers that wait for room; null nearly always. Bounded by <see cref="WatchHub.MaxWaitingAnswers"/>.</summary>
    internal Queue<byte[]>? Answers { get; set; }

    /// <summary>What this connection was last told of those of whom it does not see everything, by index of the outbox; null nearly always.</summary>
    internal Dictionary<int, Presence>? Shown { get; set; }

    /// <summary>Whether they are sent in the next beat; else they wait for the store.</summary>
    internal bool IsSnapshotDue { get; set; }

    /// <summary>Whether it was told that what it knows is stale.</summary>
    internal bool IsStale { get; set; }

    /// <summary>Whether it watches somebody whose words cannot be read now, as was last seen.</summary>
    internal bool WatchesAway { get; set; }

    /// <summary>The beat of the hub in which it came.</summary>
    internal long OpenedBeat { get; set; }

    /// <summary>Whether it was told to go to another node.</summary>
    internal bool IsLeaving { get; set; }

    internal bool IsScheduled { get; set; }

    internal bool IsBusy { get; set; }

    /// <summary>Whether the transport is full: nothing more is sent until it has said that it is writable. The hub's loop only.</summary>
    protected bool IsFull => IsBusy;

    internal long NextTick { get; set; }

    /// <summary>
    /// Hands one JSON text to the transport, called by the hub's loop only; the span is valid during the call. True: more may follow. False: the
    /// transport is full (this text is taken all the same), and the connection will call <see cref="WatchHub.Writable"/>; or it is closed, and has called or will call <see cref="WatchHub.Close"/>.
    /// </summary>
    protected internal abstract bool Send(ReadOnlySpan<byte> json);

    /// <summary>
    /// Keeps the connection alive and finds out whether it is: a ping and a tick, or a comment. Once an interval, by the hub's loop; also while
    /// full, and then sends nothing and only looks whether the other side is still there. Returns what <see cref="Send"/> does.
    /// </summary>
    protected internal abstract bool Tick();

    /// <summary>How often <see cref="Tick"/> is due.</summary>
    protected internal abstract TimeSpan TickInterval { get; }

    /// <summary>An interval that ends when what is left does, but for a second at the least: a tick expects an answer.</summary>
    protected static TimeSpan SoonerOf(TimeSpan interval, TimeSpan? left) =>
        left is not { } end || end > interval ? interval : end > TimeSpan.FromSeconds(1) ? end : TimeSpan.FromSeconds(1);

    /// <summary>Answers a ping of the other side's with its payload. By the hub's loop; returns what <see cref="Send"/> does.</summary>
    protected internal abstract bool Answer(ReadOnlySpan<byte> pingPayload);

    /// <summary>
    /// Counts bytes that watches are about to take; false where whoever owns the connection holds as much as they may on all of theirs. By the hub's loop.
    /// </summary>
    protected internal virtual bool TryHold(long bytes) => true;

    /// <summary>Watches have given back bytes. By the hub's loop.</summary>
    protected internal virtual void Release(long bytes)
    {
    }

    /// <summary>The hub has let go: nothing is sent any more, and the transport may be closed.</summary>
    protected internal abstract void Released();

    /// <summary>Nobody has taken anything for too long, or the server stops: end it. <paramref name="code"/> as in WebSocket closes.</summary>
    protected internal abstract void End(int code);
}

/// <summary>
/// What is to be told of a watch: these indexes of the connection's outbox, some of which may have ended since, and the id of the message that it answers.
/// </summary>
internal readonly record struct Snapshot(int[] Indexes, Definition Definition, long? Id = null)
{
    /// <summary>In place of an index whose watch has ended.</summary>
    public const int Ended = -1;
}
