namespace Aglow.Watching;

/// <summary>
/// A connection that watches, as the <see cref="WatchHub"/> sees it: a socket or an event stream.
/// </summary>
/// <remarks>
/// Only the hub's loop sends, one message after another, so a connection needs no lock. The connection's own read loop posts messages to
/// the hub.
/// </remarks>
public abstract class WatchConnection
{
    internal Outbox Outbox;

    /// <summary>
    /// Creates a connection that receives what this user may see. <see cref="UserId.Nobody"/>: a stranger, who sees what everyone may see.
    /// </summary>
    protected WatchConnection(uint user) => User = user;

    /// <summary>The user of the connection.</summary>
    public uint User { get; }

    internal int Id { get; set; } = -1;

    /// <summary>Watches whose snapshot is not sent yet; nearly always null.</summary>
    internal List<Snapshot>? Snapshots { get; set; }

    /// <summary>Answers that wait for room; nearly always null. Bounded by <see cref="WatchHub.MaxWaitingAnswers"/>.</summary>
    internal Queue<byte[]>? Answers { get; set; }

    /// <summary>What this connection last received about users whom it does not fully see, by outbox index; nearly always null.</summary>
    internal Dictionary<int, Presence>? Shown { get; set; }

    /// <summary>Whether the snapshots are sent after the next read; otherwise they wait for the store or for room.</summary>
    internal bool IsSnapshotDue { get; set; }

    internal bool IsStale { get; set; }

    /// <summary>Whether it watches users whose words cannot be read or have not been read again, as of the last check.</summary>
    internal bool WatchesAway { get; set; }

    /// <summary>The hub's beat in which it opened.</summary>
    internal long OpenedBeat { get; set; }

    /// <summary>Whether it was told to connect to another node.</summary>
    internal bool IsLeaving { get; set; }

    internal bool IsScheduled { get; set; }

    internal bool IsBusy { get; set; }

    /// <summary>Whether the transport is full: nothing is sent until it reports that it is writable. The hub's loop only.</summary>
    protected bool IsFull => IsBusy;

    internal long NextTick { get; set; }

    /// <summary>
    /// Passes one JSON text to the transport. Only the hub's loop calls it; the span is valid during the call. True: more may follow.
    /// False: the transport is full or closed. If full, it still takes this text, and the connection calls <see cref="WatchHub.Writable"/>
    /// later. If closed, the connection has called or will call <see cref="WatchHub.Close"/>.
    /// </summary>
    protected internal abstract bool Send(ReadOnlySpan<byte> json);

    /// <summary>
    /// Keeps the connection alive and checks it: a socket sends a ping and a tick, an event stream a comment. The hub's loop calls it once
    /// an interval. While the transport is full, it sends nothing and only checks whether the client is still there. Returns the same as
    /// <see cref="Send"/>.
    /// </summary>
    protected internal abstract bool Tick();

    /// <summary>How often <see cref="Tick"/> is due.</summary>
    protected internal abstract TimeSpan TickInterval { get; }

    /// <summary>
    /// The interval, or the time that is left until the connection must end, if that is shorter. At least a second, because a tick expects
    /// an answer.
    /// </summary>
    protected static TimeSpan SoonerOf(TimeSpan interval, TimeSpan? left) =>
        left is not { } end || end > interval ? interval : end > TimeSpan.FromSeconds(1) ? end : TimeSpan.FromSeconds(1);

    /// <summary>Answers a ping of the client with its payload. Called by the hub's loop; returns the same as <see cref="Send"/>.</summary>
    protected internal abstract bool Answer(ReadOnlySpan<byte> pingPayload);

    /// <summary>
    /// Reserves bytes for new watches. False if all connections of this owner together would then hold more than they may. Called by the
    /// hub's loop.
    /// </summary>
    protected internal virtual bool TryHold(long bytes) => true;

    /// <summary>Releases bytes of watches. Called by the hub's loop.</summary>
    protected internal virtual void Release(long bytes)
    {
    }

    /// <summary>Called when the hub no longer uses the connection: the transport may be closed.</summary>
    protected internal abstract void Released();

    /// <summary>
    /// Closes the connection, because the client read nothing for too long or the server stops. <paramref name="code"/>: a WebSocket close
    /// code.
    /// </summary>
    protected internal abstract void End(int code);
}

/// <summary>
/// A snapshot to send: indexes of the connection's outbox, and the id of the message that the snapshot answers. Some of these watches may
/// have ended since.
/// </summary>
internal readonly record struct Snapshot(int[] Indexes, Definition Definition, long? Id = null)
{
    /// <summary>Replaces an index whose watch has ended.</summary>
    public const int Ended = -1;
}
