using System.Text;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Watching;

/// <summary>
/// Whose words cannot be read now, and who watches them: each such connection is told <c>stale</c> once, and <c>fresh</c> when all it watches can be read again.
/// </summary>
/// <remarks>
/// The store says which pages it has lost (<see cref="IPlaneStore.Outages"/>) as soon as it knows; that is looked at every beat, and every topic only when it has changed. Where one shard of
/// many is away only those who watch somebody on it are told, and what they watch on the others goes on being told; where all is away everybody is told. Reads that fail though
/// no page is known to be away count as all. Topics of lost pages are not read, and are when their pages are back.
/// Owned by the <see cref="WatchHub"/>'s loop.
/// </remarks>
internal sealed class Outages(Topics topics, Slots<WatchConnection> connections, TopicChecks checks, PresenceService presence, Action<WatchConnection, bool> sent)
{
    // the first may be of a moment before the store knew what it had lost
    private const int FailuresOfAll = 2;

    private long _seen;
    private int _failures;
    private int _staleCount;

    /// <summary>Connections that were told <c>stale</c>, and not yet <c>fresh</c>. From any thread.</summary>
    public int StaleConnections => Volatile.Read(ref _staleCount);

    /// <summary>Whether the last read failed: what it was to bring is not known.</summary>
    public bool IsReadFailing => _failures > 0;

    /// <summary>Looks whether the store lost pages, or has them back; returns whether that has changed.</summary>
    public bool Beat()
    {
        if (presence.StoreOutages == _seen)
            return false;
        _seen = presence.StoreOutages;
        Look();
        return true;
    }

    /// <summary>A read has failed.</summary>
    public void Failed()
    {
        // what the store has found out meanwhile explains it, and is looked at in the next beat
        _failures = presence.StoreOutages == _seen ? _failures + 1 : 1;
        if (_failures == FailuresOfAll)
            Look();
    }

    /// <summary>A read was answered.</summary>
    public void Answered()
    {
        var wereToldAll = _failures >= FailuresOfAll;
        _failures = 0;
        if (wereToldAll)
            Look();
    }

    /// <summary>A connection watches a topic from now on.</summary>
    public void Added(WatchConnection connection, int topic)
    {
        topics[topic]!.IsAway = presence.IsAway(topics[topic]!.User);
        if (topics[topic]!.IsAway)
            Tell(connection, stale: true);
    }

    /// <summary>A connection has come.</summary>
    public void Opened(WatchConnection connection) => Tell(connection, IsAllAway());

    /// <summary>A connection is gone.</summary>
    public void Closed(WatchConnection connection)
    {
        if (connection.IsStale)
            Volatile.Write(ref _staleCount, _staleCount - 1);
    }

    private bool IsAllAway() => _failures >= FailuresOfAll || !presence.IsStoreReachable;

    private void Look()
    {
        var all = IsAllAway();
        foreach (var connection in connections.All)
            connection.WatchesAway = all;
        for (var id = 0; id < topics.Capacity; id++)
        {
            if (topics[id] is not { } topic)
                continue;
            var wasAway = topic.IsAway;
            topic.IsAway = presence.IsAway(topic.User);
            if (!topic.IsAway && wasAway)
                checks.Ask(id, gentle: true);
            if (!topic.IsAway || all)
                continue;
            foreach (var watcher in topic.Watchers)
                connections[Topic.ConnectionOf(watcher)]!.WatchesAway = true;
        }

        foreach (var connection in connections.All)
            Tell(connection, connection.WatchesAway);
    }

    private void Tell(WatchConnection connection, bool stale)
    {
        if (connection.IsStale == stale)
            return;
        connection.IsStale = stale;
        Volatile.Write(ref _staleCount, _staleCount + (stale ? 1 : -1));
        var hasRoom = connection.Send(stale
            ? Encoding.UTF8.GetBytes($"{{\"type\":\"stale\",\"as_of\":{Pulse.EpochUnixSeconds + (long)presence.Clock.Now}}}")
            : "{\"type\":\"fresh\"}"u8);
        sent(connection, hasRoom && !connection.IsBusy);
    }
}
