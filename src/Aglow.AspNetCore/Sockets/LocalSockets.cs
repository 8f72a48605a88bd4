using System.Collections.Concurrent;
using Aglow.AspNetCore.Access;
using Aglow.Model;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

/// <summary>A connection that is itself a device of its user: a socket, or a connection to a SignalR hub.</summary>
internal interface IDeviceConnection
{
    /// <summary>The device.</summary>
    Device Device { get; }

    /// <summary>Whether it has left.</summary>
    bool IsLeaving { get; }
}

/// <summary>
/// How many sockets each user has on this node, so that a goodbye on one of them ends presence only if it was the last.
/// </summary>
/// <remarks>
/// And who left on all devices (<c>POST /offline</c>, a deletion) while sockets were open: their pings' answers are no evidence of life any more, until
/// the person does something on one of them or connects anew; otherwise a tab left open would bring them back within an interval. Any thread.
/// </remarks>
internal sealed class LocalSockets
{
    private readonly ConcurrentDictionary<uint, int> _counts = new();
    private readonly ConcurrentDictionary<uint, byte> _left = new();
    private readonly ConcurrentDictionary<uint, WatchConnection[]> _open = new();
    private readonly ConcurrentDictionary<WatchConnection, Caller?> _callers = new();
    private int _unknown;

    /// <summary>Users with a socket here.</summary>
    public int Users => _counts.Count;

    /// <summary>A socket more; false where the user has <paramref name="most"/> already.</summary>
    public bool TryEnter(uint user, int most)
    {
        while (true)
        {
            var count = _counts.GetValueOrDefault(user);
            if (count >= most)
                return false;
            if (count == 0 ? _counts.TryAdd(user, 1) : _counts.TryUpdate(user, count + 1, count))
                break;
        }

        Revive(user);
        return true;
    }

    /// <summary>A socket less; returns whether it was the user's last here.</summary>
    public bool Exit(uint user)
    {
        while (_counts.TryGetValue(user, out var count))
        {
            if (count > 1 ? _counts.TryUpdate(user, count - 1, count) : _counts.TryRemove(new(user, count)))
            {
                if (count == 1)
                    Revive(user);
                return count == 1;
            }
        }

        return true;
    }

    /// <summary>A connection is open: a socket, or an event stream.</summary>
    public void Add(WatchConnection connection, Caller? caller)
    {
        _callers[connection] = caller;
        if (IsUnknown(connection, caller))
            Interlocked.Increment(ref _unknown);
        if (connection.User != UserId.Nobody)
            _open.AddOrUpdate(connection.User, static (_, one) => [one], static (_, all, one) => [.. all, one], connection);
    }

    /// <summary>The same person has shown a newer token.</summary>
    public void Renew(WatchConnection connection, Caller caller) => _callers.TryUpdate(connection, caller, _callers.GetValueOrDefault(connection));

    /// <summary>A connection has ended.</summary>
    public void Remove(WatchConnection connection)
    {
        if (_callers.TryRemove(connection, out var caller) && IsUnknown(connection, caller))
            Interlocked.Decrement(ref _unknown);
        while (_open.TryGetValue(connection.User, out var all))
        {
            WatchConnection[] others = [.. all.Where(one => one != connection)];
            if (others.Length > 0 ? _open.TryUpdate(connection.User, others, all) : _open.TryRemove(new(connection.User, all)))
                return;
        }
    }

    /// <summary>Whether a connection is of a person whose ID had no index when it was opened.</summary>
    public static bool IsUnknown(WatchConnection connection, Caller? caller) => connection.User == UserId.Nobody && caller?.User is not null;

    /// <summary>The connections of persons whose ID had no index; of one of them, where a key is given. Nearly always there are none.</summary>
    public IEnumerable<(WatchConnection Connection, Caller Caller)> Unknown(string? key = null) => Volatile.Read(ref _unknown) == 0
        ? []
        : _callers.Where(one => IsUnknown(one.Key, one.Value) && (key is null || one.Value!.User!.Value.Key == key)).Select(static one => (one.Key, one.Value!));

    /// <summary>The connections that a credential opened.</summary>
    public IEnumerable<WatchConnection> Of(Caller caller) => _callers.Where(one => ReferenceEquals(one.Value, caller)).Select(static one => one.Key);

    /// <summary>The open connections of a user.</summary>
    public IReadOnlyList<WatchConnection> Of(uint user) => _open.TryGetValue(user, out var all) ? all : [];

    /// <summary>Hears that these users left on all devices.</summary>
    public void HearLeft(ReadOnlySpan<uint> users)
    {
        if (_counts.IsEmpty)
            return;
        foreach (var user in users)
        {
            if (_counts.ContainsKey(user))
                _left[user] = 0;
        }
    }

    /// <summary>The devices but this one from which the user has a socket here; none where they left on all devices since.</summary>
    public IReadOnlyList<Device> Present(uint user, Device but = default) => !_counts.ContainsKey(user) || HasLeft(user)
        ? []
        : [.. Of(user).OfType<IDeviceConnection>().Where(one => !one.IsLeaving && one.Device.Tag != but.Tag).Select(static one => one.Device)];

    /// <summary>Whether this user left on all devices since, so that only what they do themselves counts.</summary>
    public bool HasLeft(uint user) => !_left.IsEmpty && _left.ContainsKey(user);

    /// <summary>The person did something: they are back.</summary>
    public void Revive(uint user)
    {
        if (!_left.IsEmpty)
            _left.TryRemove(user, out _);
    }
}
