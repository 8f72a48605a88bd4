namespace Aglow.Client;

/// <summary>One user under one definition: the watches, and the last record. Guarded by the table's lock.</summary>
internal sealed class WatchedUser(UserId id, string? definition)
{
    public UserId Id => id;

    public string? Definition => definition;

    public List<Watch> Watches { get; } = new(1);

    /// <summary>The server's last record, from any connection.</summary>
    public PresenceRecord? Last { get; set; }

    /// <summary>Whether <see cref="Last"/> is from this connection.</summary>
    public bool IsCurrent { get; set; }

    /// <summary>Whether <see cref="Last"/> came after <c>stale</c>, so that it is valid.</summary>
    public bool IsReceivedWhileStale { get; set; }

    /// <summary>Whether this connection asked the server to watch the user.</summary>
    public bool IsRequested { get; set; }

    /// <summary>The ID of the newest message with this user, until it is answered.</summary>
    public long? PendingId { get; set; }

    public bool IsWanted => Watches.Count > 0;

    public void MarkChanged()
    {
        foreach (var watch in Watches)
            watch.Mark(this);
    }
}

/// <summary>
/// One caller's watch: the record that the caller last received of each user, and the set of users who changed since. Guarded by the
/// table's lock.
/// </summary>
internal sealed class Watch(WatchTable table)
{
    private readonly Queue<WatchedUser> _changed = new();
    private readonly HashSet<WatchedUser> _isChanged = [];
    private readonly Signal _signal = new();

    /// <summary>The users of this watch, with the record that the caller last received of each.</summary>
    public Dictionary<WatchedUser, PresenceRecord?> LastReceived { get; } = [];

    /// <summary>The error that ended the watch; null if there is none.</summary>
    public AglowException? Failure { get; private set; }

    public bool IsEnded { get; private set; }

    public void Mark(WatchedUser user)
    {
        if (!_isChanged.Add(user))
            return;
        _changed.Enqueue(user);
        _signal.Set();
    }

    public bool TryUnmark(out WatchedUser user) => _changed.TryDequeue(out user!) && _isChanged.Remove(user);

    public void End(AglowException? failure)
    {
        IsEnded = true;
        Failure ??= failure;
        _signal.Set();
    }

    /// <summary>Takes the next record; false if there is none now. Any thread.</summary>
    public bool TryTake(out PresenceRecord record) => table.TryTake(this, out record);

    /// <summary>Waits until there may be a next record, or the watch ends.</summary>
    public ValueTask WaitAsync(CancellationToken cancellationToken) => _signal.WaitAsync(cancellationToken);
}
