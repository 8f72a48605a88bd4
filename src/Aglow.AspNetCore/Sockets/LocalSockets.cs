using System.Collections.Concurrent;
using Aglow.AspNetCore.Access;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

/// <summary>A connection that is itself a device of its user: a socket, or a connection to a SignalR hub.</summary>
internal interface IDeviceConnection
{
    Device Device { get; }

    /// <summary>Whether the device has left.</summary>
    bool IsLeaving { get; }

    /// <summary>Whether the device has not answered the last ping, so that it may be gone.</summary>
    bool IsSilent => false;

    /// <summary>
    /// From now on, nothing that arrives counts, because the person may no longer act on this connection. Without this, a tab could bring
    /// back a user who signed out, until its connection is closed. Any thread.
    /// </summary>
    void Ignore();
}

/// <summary>
/// Counts the open sockets of each user on this node. A leave message ends the user's presence only on the user's last socket.
/// </summary>
/// <remarks>
/// It also remembers users who left on all devices (<c>POST /offline</c>, a deletion) while sockets were open. Pongs of such a user do not
/// count as heartbeats until the person does something on a socket or connects again. Otherwise a tab that stays open would bring the user
/// back within one interval. It also remembers devices that left by a call while they had a connection here. Until the connection answers
/// again, such a device is not certainly alive. Threading: any thread.
/// </remarks>
internal sealed class LocalSockets
{
    private readonly Counts<uint> _counts = new();
    private readonly ConcurrentDictionary<uint, byte> _left = new();
    private readonly ConcurrentDictionary<(uint User, uint Tag), byte> _leftDevices = new();
    private readonly ConcurrentDictionary<uint, WatchConnection[]> _open = new();
    private readonly ConcurrentDictionary<WatchConnection, Caller?> _callers = new();
    private int _unknown;

    /// <summary>Counts a new socket of a user. False: the user already has <paramref name="most"/>.</summary>
    public bool TryEnter(uint user, int most)
    {
        if (!_counts.TryEnter(user, most))
            return false;
        Revive(user);
        return true;
    }

    /// <summary>Counts one socket less; returns whether it was the user's last on this node.</summary>
    public bool Exit(uint user)
    {
        var isLast = _counts.Exit(user);
        if (isLast)
            Revive(user);
        return isLast;
    }

    /// <summary>Adds an open connection: a socket or an event stream.</summary>
    public void Add(WatchConnection connection, Caller? caller)
    {
        _callers[connection] = caller;
        if (IsUnknown(connection, caller))
            Interlocked.Increment(ref _unknown);
        if (connection is IDeviceConnection { Device: var device })
            Revive(connection.User, device);
        if (connection.User != UserId.Nobody)
            _open.AddOrUpdate(connection.User, static (_, one) => [one], static (_, all, one) => [.. all, one], connection);
    }

    /// <summary>Replaces the caller of a connection, after the same person sent a newer token.</summary>
    public void Renew(WatchConnection connection, Caller caller) =>
        _callers.TryUpdate(connection, caller, _callers.GetValueOrDefault(connection));

    /// <summary>Removes a connection that has ended.</summary>
    public void Remove(WatchConnection connection)
    {
        if (_callers.TryRemove(connection, out var caller) && IsUnknown(connection, caller))
            Interlocked.Decrement(ref _unknown);
        while (_open.TryGetValue(connection.User, out var all))
        {
            WatchConnection[] others = [.. all.Where(one => one != connection)];
            if (others.Length > 0 ? _open.TryUpdate(connection.User, others, all) : _open.TryRemove(new(connection.User, all)))
                break;
        }

        if (connection is IDeviceConnection { Device: var device } && !Has(connection.User, device))
            Revive(connection.User, device);
    }

    /// <summary>Whether a connection belongs to a person whose ID had no index when the connection was opened.</summary>
    public static bool IsUnknown(WatchConnection connection, Caller? caller) =>
        connection.User == UserId.Nobody && caller?.User is not null;

    /// <summary>
    /// The connections of persons whose ID had no index, or of the one person with this key. Usually there are none.
    /// </summary>
    public IEnumerable<(WatchConnection Connection, Caller Caller)> Unknown(string? key = null) => Volatile.Read(ref _unknown) == 0
        ? []
        : _callers
            .Where(one => IsUnknown(one.Key, one.Value) && (key is null || one.Value!.User!.Value.Key == key))
            .Select(static one => (one.Key, one.Value!));

    /// <summary>The connections that a credential opened.</summary>
    public IEnumerable<WatchConnection> Of(Caller caller) =>
        _callers.Where(one => ReferenceEquals(one.Value, caller)).Select(static one => one.Key);

    public IReadOnlyList<WatchConnection> Of(uint user) => _open.TryGetValue(user, out var all) ? all : [];

    /// <summary>Notes that these users left on all devices.</summary>
    public void NoteLeave(ReadOnlySpan<uint> users)
    {
        if (_counts.IsEmpty)
            return;
        foreach (var user in users)
        {
            if (_counts.Has(user))
                _left[user] = 0;
        }
    }

    /// <summary>Notes that a device left by a call, which its connection on this node may not have noticed.</summary>
    public void NoteLeave(uint user, Device device)
    {
        if (!Has(user, device))
            return;
        _leftDevices[(user, device.Tag)] = 0;
        // its last connection may have ended meanwhile
        if (!Has(user, device))
            Revive(user, device);
    }

    /// <summary>
    /// The devices that are certainly alive, because they have a connection on this node and answer pings, except <paramref name="but"/>;
    /// none if the user left on all devices.
    /// </summary>
    public IReadOnlyList<Device> Present(uint user, Device but = default) =>
    [
        .. Connected(user)
            .Where(one => one.Device.Tag != but.Tag && !one.IsSilent && !HasLeft(user, one.Device))
            .Select(static one => one.Device),
    ];

    /// <summary>Whether the user has a connection of this device on this node, even if it is silent.</summary>
    public bool Has(uint user, Device device) => Connected(user).Any(one => one.Device.Tag == device.Tag);

    /// <summary>Whether another device of the user has a connection on this node, even if it is silent.</summary>
    public bool HasOther(uint user, Device but) => Connected(user).Any(one => one.Device.Tag != but.Tag);

    private IEnumerable<IDeviceConnection> Connected(uint user) => !_counts.Has(user) || HasLeft(user)
        ? []
        : Of(user).OfType<IDeviceConnection>().Where(static one => !one.IsLeaving);

    /// <summary>Whether this user left on all devices, so that only actions of the person count as heartbeats.</summary>
    public bool HasLeft(uint user) => _left.ContainsKey(user);

    /// <summary>Whether this device left by a call, and nothing has come from its connection since.</summary>
    public bool HasLeft(uint user, Device device) => _leftDevices.ContainsKey((user, device.Tag));

    /// <summary>Forgets that the user left on all devices, because the person did something.</summary>
    public void Revive(uint user) => _left.TryRemove(user, out _);

    /// <summary>Forgets that a device left by a call, because something came from its connection.</summary>
    public void Revive(uint user, Device device) => _leftDevices.TryRemove((user, device.Tag), out _);
}
