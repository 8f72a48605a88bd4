using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Aglow.Client;

/// <summary>
/// Who is watched, by which watches, what is known of them, and what must still be sent to the server.
/// </summary>
/// <remarks>
/// <code>
///   WatchAsync ─► Add, Remove ─► users to send ─► TryCompose ─► socket
///   socket ─► Heard, Stale, Lost ─► what is known ─► who changed, in each watch ─► WatchAsync
/// </code>
/// It sends the difference between what is wanted and what the server knows, not a queue of requests. A thousand watches begun and ended in
/// a row are a frame or none, and after a reconnect the difference is simply everybody. Each watch has a set of changed users, too, so a
/// slow reader costs no memory and gets the latest.
/// A user's last record is kept while the connection or the store is away, and shown as unknown. After <c>fresh</c> the server sends only
/// what changed since <c>stale</c>.
/// Threading: any thread; one lock, under which nothing waits and no caller's code runs.
/// </remarks>
internal sealed class WatchTable
{
    /// <summary>The most users of one connection; the server's limit.</summary>
    public const int MaxWatches = 10_000;

    // the server takes messages of 64 KiB; the last user of one has at most 128 bytes, each escaped to six at worst
    private const int FrameBytes = 60 * 1024;

    private readonly Lock _gate = new();
    private readonly Dictionary<(UserId User, string? Definition), WatchedUser> _users = [];
    private readonly HashSet<WatchedUser> _untold = [];
    private readonly HashSet<Watch> _watches = [];
    private readonly Dictionary<WatchedUser, long> _askedAgainAtTick = [];
    private bool _isStale;
    private int _wanted;

    /// <summary>Set when something must be sent.</summary>
    public Signal Work { get; } = new();

    /// <summary>Whether nobody watches.</summary>
    public bool IsEmpty
    {
        get
        {
            lock (_gate)
                return _watches.Count == 0;
        }
    }

    /// <summary>Users held.</summary>
    public int Count
    {
        get
        {
            lock (_gate)
                return _users.Count;
        }
    }

    /// <summary>Begins a watch. If another watch has the same users, what is known is its snapshot at once.</summary>
    /// <exception cref="AglowException">Over the limit; nothing is watched.</exception>
    public Watch Add(IReadOnlyCollection<UserId> users, string? definition)
    {
        lock (_gate)
        {
            var added = users.Count(user => !_users.TryGetValue((user, definition), out var known) || !known.IsWanted);
            if (_wanted + added > MaxWatches)
            {
                throw new AglowException(
                    0,
                    "Too many watches",
                    $"A connection may watch {MaxWatches} users, {_wanted} are watched, and {added} more are asked for: end other "
                        + "watches, or use another client.");
            }

            var watch = new Watch(this);
            foreach (var id in users)
            {
                if (!_users.TryGetValue((id, definition), out var user))
                    _users[(id, definition)] = user = new WatchedUser(id, definition);
                if (!user.IsWanted)
                    _wanted++;
                user.Watches.Add(watch);
                watch.Told.Add(user, null);
                watch.Mark(user);
                Retell(user);
            }

            _watches.Add(watch);
            return watch;
        }
    }

    /// <summary>Ends a watch. The server no longer watches users whom no other watch has.</summary>
    public void Remove(Watch watch)
    {
        lock (_gate)
        {
            if (!_watches.Remove(watch))
                return;
            foreach (var user in watch.Told.Keys)
            {
                user.Watches.Remove(watch);
                if (user.IsWanted)
                    continue;
                _wanted--;
                Retell(user);
            }
        }
    }

    /// <summary>The server sent these records: changes, or (with an id) the answer to one watch message.</summary>
    public void Heard(long? id, string? definition, IReadOnlyList<WireRecord> records)
    {
        lock (_gate)
        {
            foreach (var record in records)
            {
                // It may include followed users whom the server watches by itself. A change of a user does not count while their newest
                // watch has no answer.
                if (!_users.TryGetValue((record.UserId, definition), out var user) || !user.IsTold || user.PendingId != id)
                    continue;
                user.Last = record.ToRecord();
                user.IsCurrent = true;
                user.IsSaidWhileStale = _isStale;
                user.MarkChanged();
            }

            if (id is { } answered)
                Settle(answered);
        }
    }

    /// <summary>The server has done what this message said; false if the message named no user.</summary>
    public bool Done(long id)
    {
        lock (_gate)
            return Settle(id);
    }

    /// <summary>
    /// The server has not done what this message said. It is sent again after the next tick, or, if the refusal is final, ends the watches
    /// of its users.
    /// </summary>
    public bool Failed(long id, AglowException failure)
    {
        lock (_gate)
        {
            var users = Pending(id);
            foreach (var user in users)
            {
                if (failure.IsTransient)
                {
                    _askedAgainAtTick[user] = id;
                    continue;
                }

                user.PendingId = null;
                user.IsTold = false;
                foreach (var watch in user.Watches)
                    watch.End(failure);
                _untold.Remove(user);
                if (!user.IsWanted)
                    _users.Remove((user.Id, user.Definition));
            }

            return users.Length > 0;
        }
    }

    /// <summary>The server dropped an unknown message: everything without an answer is sent again after the next tick.</summary>
    public void Dropped()
    {
        lock (_gate)
        {
            foreach (var user in _users.Values)
            {
                if (user.PendingId is { } id)
                    _askedAgainAtTick[user] = id;
            }
        }
    }

    /// <summary>Sends again what the server could not do.</summary>
    public void Tick()
    {
        lock (_gate)
        {
            foreach (var (user, id) in _askedAgainAtTick)
            {
                if (user.PendingId != id)
                    continue;
                user.PendingId = null;
                user.IsTold = !user.IsTold;
                Retell(user);
            }

            _askedAgainAtTick.Clear();
        }
    }

    /// <summary>The server's store is away, or back.</summary>
    public void Stale(bool isStale)
    {
        lock (_gate)
        {
            _isStale = isStale;
            foreach (var user in _users.Values)
            {
                user.IsSaidWhileStale = false;
                user.MarkChanged();
            }
        }
    }

    /// <summary>The connection is lost: nothing is known for sure, and the next connection knows nothing.</summary>
    public void Lost()
    {
        lock (_gate)
        {
            _isStale = false;
            _askedAgainAtTick.Clear();
            foreach (var user in _users.Values.ToArray())
            {
                user.IsCurrent = false;
                user.IsTold = false;
                user.PendingId = null;
                user.MarkChanged();
                Retell(user);
            }
        }
    }

    /// <summary>Ends all watches, without an error or with this one.</summary>
    public void End(AglowException? refusal)
    {
        lock (_gate)
        {
            foreach (var watch in _watches)
                watch.End(refusal);
        }
    }

    /// <summary>Composes the next message, as long as it may be; false if the server knows everything.</summary>
    public bool TryCompose(ArrayBufferWriter<byte> frame, long id)
    {
        frame.ResetWrittenCount();
        lock (_gate)
        {
            // unwatches first: they make room under the server's limit
            if ((_untold.FirstOrDefault(static u => !u.IsWanted) ?? _untold.FirstOrDefault()) is not { } first)
                return false;
            using var writer = new Utf8JsonWriter(frame, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
            writer.WriteStartObject();
            writer.WriteString("type"u8, first.IsWanted ? "watch"u8 : "unwatch"u8);
            writer.WriteNumber("id"u8, id);
            if (first.Definition is { } definition)
                writer.WriteString("definition"u8, definition);
            writer.WriteStartArray("users"u8);
            foreach (var user in _untold)
            {
                if (user.IsWanted != first.IsWanted || user.Definition != first.Definition)
                    continue;
                if (writer.BytesCommitted + writer.BytesPending > FrameBytes)
                    break;
                if (user.Id.Key is { } key)
                    writer.WriteStringValue(key);
                else
                    writer.WriteNumberValue(user.Id.Number);
                user.IsTold = user.IsWanted;
                user.PendingId = id;
                // a new watch of them asks again
                if (!user.IsTold)
                    (user.Last, user.IsCurrent) = (null, false);
                // removes them from the set, which an enumeration allows
                Retell(user);
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
            return true;
        }
    }

    /// <summary>The next record of a watch that its caller does not know yet; false if there is none.</summary>
    internal bool TryTake(Watch watch, out PresenceRecord record)
    {
        lock (_gate)
        {
            while (watch.TryUnmark(out var user))
            {
                if (user.Last is not { } last)
                    continue;
                record = user.IsCurrent
                    && (!_isStale || user.IsSaidWhileStale) ? last : new PresenceRecord(last.User, PresenceStatus.Unknown, last.LastSeen);
                // last seen alone is no news of somebody who is online
                if (watch.Told[user] is { } told && (record.IsOnline ? told with { LastSeen = record.LastSeen } : told) == record)
                    continue;
                watch.Told[user] = record;
                return true;
            }

            record = default;
            return watch.Failure is { } failure ? throw failure : false;
        }
    }

    private void Retell(WatchedUser user)
    {
        if (user.IsTold != user.IsWanted)
        {
            _untold.Add(user);
            Work.Set();
            return;
        }

        _untold.Remove(user);
        if (!user.IsWanted && user.PendingId is null)
            _users.Remove((user.Id, user.Definition));
    }

    private WatchedUser[] Pending(long id) => [.. _users.Values.Where(user => user.PendingId == id)];

    private bool Settle(long id)
    {
        var users = Pending(id);
        foreach (var user in users)
        {
            user.PendingId = null;
            Retell(user);
        }

        return users.Length > 0;
    }
}

/// <summary>One user under one definition: its watches, and what is known. Guarded by the table's lock.</summary>
internal sealed class WatchedUser(UserId id, string? definition)
{
    public UserId Id => id;

    public string? Definition => definition;

    public List<Watch> Watches { get; } = new(1);

    /// <summary>The server's last record, from any connection.</summary>
    public PresenceRecord? Last { get; set; }

    /// <summary>Whether <see cref="Last"/> is from this connection.</summary>
    public bool IsCurrent { get; set; }

    /// <summary>Whether <see cref="Last"/> came after <c>stale</c>, and so is known.</summary>
    public bool IsSaidWhileStale { get; set; }

    /// <summary>Whether this connection asked the server to watch the user.</summary>
    public bool IsTold { get; set; }

    /// <summary>The id of the newest message that named them, while it has no answer.</summary>
    public long? PendingId { get; set; }

    public bool IsWanted => Watches.Count > 0;

    public void MarkChanged()
    {
        foreach (var watch in Watches)
            watch.Mark(this);
    }
}

/// <summary>
/// One caller's watch: what its caller knows of each user, and who changed since, each once. Guarded by the table's lock.
/// </summary>
internal sealed class Watch(WatchTable table)
{
    private readonly Queue<WatchedUser> _changed = new();
    private readonly HashSet<WatchedUser> _isChanged = [];
    private readonly Signal _signal = new();

    /// <summary>The users of this watch, and what its caller knows of each.</summary>
    public Dictionary<WatchedUser, PresenceRecord?> Told { get; } = [];

    /// <summary>The error that ended it; null without one.</summary>
    public AglowException? Failure { get; private set; }

    /// <summary>Whether nothing more comes.</summary>
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

    /// <summary>The next record, or false: there is none now. Any thread.</summary>
    public bool TryTake(out PresenceRecord record) => table.TryTake(this, out record);

    /// <summary>Waits until there may be a next record, or the end.</summary>
    public ValueTask WaitAsync(CancellationToken cancellationToken) => _signal.WaitAsync(cancellationToken);
}
