using System.Buffers;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Aglow.Client;

/// <summary>
/// The watched users: which watches have them, what is known of them, and what must still be sent to the server.
/// </summary>
/// <remarks>
/// <code>
///   WatchAsync ─► Add, Remove ─► users to send ─► TryCompose ─► socket
///   socket ─► Received, Stale, Lost ─► known records ─► changed users of each watch ─► WatchAsync
/// </code>
/// The table sends the difference between the wanted users and the users that the server knows, not a queue of requests. A thousand watches
/// that begin and end in a row cost one frame or none. After a reconnect the difference is simply all users. Each watch has a set of
/// changed users too, so a slow reader costs no memory and gets the latest records.
/// While the connection or the store is lost, a user's last record is kept, and shown as unknown. After <c>fresh</c> the server sends only
/// changes since <c>stale</c>.
/// Threading: any thread; one lock, under which nothing waits and no caller's code runs.
/// </remarks>
internal sealed class WatchTable
{
    /// <summary>The most users that one connection may watch: the server's limit.</summary>
    public const int MaxWatches = 10_000;

    // The server accepts messages of 64 KiB. The last user of a message has at most 128 bytes, and escaping makes each six bytes at worst.
    private const int FrameBytes = 60 * 1024;

    private readonly Lock _gate = new();
    private readonly Dictionary<(UserId User, string? Definition), WatchedUser> _users = [];
    private readonly HashSet<WatchedUser> _dirty = [];
    private readonly HashSet<Watch> _watches = [];
    private readonly Dictionary<WatchedUser, long> _resentAtTick = [];
    private bool _isStale;
    private int _wanted;

    /// <summary>Set when there is something to send.</summary>
    public Signal Work { get; } = new();

    public int Count
    {
        get
        {
            lock (_gate)
                return _users.Count;
        }
    }

    /// <summary>Begins a watch. Its snapshot is what is already known from other watches.</summary>
    /// <exception cref="AglowException">The limit is exceeded; no user of the list is watched.</exception>
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
                watch.LastReceived.Add(user, null);
                watch.Mark(user);
                UpdateDirty(user);
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
            foreach (var user in watch.LastReceived.Keys)
            {
                user.Watches.Remove(watch);
                if (user.IsWanted)
                    continue;
                _wanted--;
                UpdateDirty(user);
            }
        }
    }

    /// <summary>Handles records of the server: changes, or (with an ID) the answer to one watch message.</summary>
    public void Received(long? id, string? definition, IReadOnlyList<WireRecord> records)
    {
        lock (_gate)
        {
            foreach (var record in records)
            {
                // The answer may include followed users, whom the server watches by itself. While the newest watch of a user has no answer,
                // changes of that user do not count.
                if (!_users.TryGetValue((record.UserId, definition), out var user) || !user.IsRequested || user.PendingId != id)
                    continue;
                user.Last = record.ToRecord();
                user.IsCurrent = true;
                user.IsReceivedWhileStale = _isStale;
                user.MarkChanged();
            }

            if (id is { } answered)
                Settle(answered);
        }
    }

    /// <summary>The server has executed this message; false if the message named no user.</summary>
    public bool Done(long id)
    {
        lock (_gate)
            return Settle(id);
    }

    /// <summary>
    /// The server has rejected this message. It is sent again after the next tick. If the rejection is final, the watches of its users end.
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
                    _resentAtTick[user] = id;
                    continue;
                }

                user.PendingId = null;
                user.IsRequested = false;
                foreach (var watch in user.Watches)
                    watch.End(failure);
                _dirty.Remove(user);
                if (!user.IsWanted)
                    _users.Remove((user.Id, user.Definition));
            }

            return users.Length > 0;
        }
    }

    /// <summary>The server dropped an unknown message: all messages without an answer are sent again after the next tick.</summary>
    public void Dropped()
    {
        lock (_gate)
        {
            foreach (var user in _users.Values)
            {
                if (user.PendingId is { } id)
                    _resentAtTick[user] = id;
            }
        }
    }

    /// <summary>Marks rejected messages, to be sent again.</summary>
    public void Tick()
    {
        lock (_gate)
        {
            foreach (var (user, id) in _resentAtTick)
            {
                if (user.PendingId != id)
                    continue;
                user.PendingId = null;
                user.IsRequested = !user.IsRequested;
                UpdateDirty(user);
            }

            _resentAtTick.Clear();
        }
    }

    /// <summary>The server's store has become unreadable, or readable again.</summary>
    public void Stale(bool isStale)
    {
        lock (_gate)
        {
            _isStale = isStale;
            foreach (var user in _users.Values)
            {
                user.IsReceivedWhileStale = false;
                user.MarkChanged();
            }
        }
    }

    /// <summary>The connection is lost: no record is certain, and the next connection has no watches yet.</summary>
    public void Lost()
    {
        lock (_gate)
        {
            _isStale = false;
            _resentAtTick.Clear();
            foreach (var user in _users.Values.ToArray())
            {
                user.IsCurrent = false;
                user.IsRequested = false;
                user.PendingId = null;
                user.MarkChanged();
                UpdateDirty(user);
            }
        }
    }

    /// <summary>Ends all watches, with this error or without one.</summary>
    public void End(AglowException? refusal)
    {
        lock (_gate)
        {
            foreach (var watch in _watches)
                watch.End(refusal);
        }
    }

    /// <summary>Composes the next message, up to the longest allowed; false if the server is up to date.</summary>
    public bool TryCompose(ArrayBufferWriter<byte> frame, long id)
    {
        frame.ResetWrittenCount();
        lock (_gate)
        {
            // unwatches first: they make room below the server's limit
            if ((_dirty.FirstOrDefault(static u => !u.IsWanted) ?? _dirty.FirstOrDefault()) is not { } first)
                return false;
            using var writer = new Utf8JsonWriter(frame, new JsonWriterOptions { Encoder = JavaScriptEncoder.UnsafeRelaxedJsonEscaping });
            writer.WriteStartObject();
            writer.WriteString("type"u8, first.IsWanted ? "watch"u8 : "unwatch"u8);
            writer.WriteNumber("id"u8, id);
            if (first.Definition is { } definition)
                writer.WriteString("definition"u8, definition);
            writer.WriteStartArray("users"u8);
            foreach (var user in _dirty)
            {
                if (user.IsWanted != first.IsWanted || user.Definition != first.Definition)
                    continue;
                if (writer.BytesCommitted + writer.BytesPending > FrameBytes)
                    break;
                if (user.Id.Key is { } key)
                    writer.WriteStringValue(key);
                else
                    writer.WriteNumberValue(user.Id.Number);
                user.IsRequested = user.IsWanted;
                user.PendingId = id;
                // a new watch of these users asks again
                if (!user.IsRequested)
                    (user.Last, user.IsCurrent) = (null, false);
                // removes the user from the set, which is allowed during an enumeration
                UpdateDirty(user);
            }

            writer.WriteEndArray();
            writer.WriteEndObject();
            return true;
        }
    }

    /// <summary>Takes the next record of a watch that its caller has not received; false if there is none.</summary>
    internal bool TryTake(Watch watch, out PresenceRecord record)
    {
        lock (_gate)
        {
            while (watch.TryUnmark(out var user))
            {
                if (user.Last is not { } last)
                    continue;
                record = user.IsCurrent && (!_isStale || user.IsReceivedWhileStale)
                    ? last
                    : new PresenceRecord(last.User, PresenceStatus.Unknown, last.LastSeen);
                // a new last seen alone is not worth a record while the user is online
                if (watch.LastReceived[user] is { } received
                    && (record.IsOnline ? received with { LastSeen = record.LastSeen } : received) == record)
                    continue;
                watch.LastReceived[user] = record;
                return true;
            }

            record = default;
            return watch.Failure is { } failure ? throw failure : false;
        }
    }

    private void UpdateDirty(WatchedUser user)
    {
        if (user.IsRequested != user.IsWanted)
        {
            _dirty.Add(user);
            Work.Set();
            return;
        }

        _dirty.Remove(user);
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
            UpdateDirty(user);
        }

        return users.Length > 0;
    }
}
