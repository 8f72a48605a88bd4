using System.Collections.Concurrent;
using Aglow.Model;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

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

    /// <summary>A connection of a user is open: a socket, or an event stream.</summary>
    public void Add(WatchConnection connection)
    {
        if (connection.User != UserId.Nobody)
            _open.AddOrUpdate(connection.User, static (_, one) => [one], static (_, all, one) => [.. all, one], connection);
    }

    /// <summary>A connection has ended.</summary>
    public void Remove(WatchConnection connection)
    {
        while (_open.TryGetValue(connection.User, out var all))
        {
            WatchConnection[] others = [.. all.Where(one => one != connection)];
            if (others.Length > 0 ? _open.TryUpdate(connection.User, others, all) : _open.TryRemove(new(connection.User, all)))
                return;
        }
    }

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
        : [.. Of(user).OfType<PresenceSocket>().Where(socket => !socket.IsLeaving && socket.Device.Tag != but.Tag).Select(static socket => socket.Device)];

    /// <summary>Whether this user left on all devices since, so that only what they do themselves counts.</summary>
    public bool HasLeft(uint user) => !_left.IsEmpty && _left.ContainsKey(user);

    /// <summary>The person did something: they are back.</summary>
    public void Revive(uint user)
    {
        if (!_left.IsEmpty)
            _left.TryRemove(user, out _);
    }
}
