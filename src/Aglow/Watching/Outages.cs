using System.Text;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Watching;

/// <summary>
/// Knows which words cannot be read now, and who watches them. Each such connection gets <c>stale</c> once, and <c>fresh</c> when
/// everything it watches can be read again.
/// </summary>
/// <remarks>
/// The store says which pages it has lost (<see cref="IPlaneStore.Outages"/>) as soon as it knows. The loop reads that every beat, and goes
/// through the topics only after a change. If one shard of many is away, only watchers of its users are told, and their other watches go
/// on. If all of it is away, everybody is told. Reads that fail although no page is known to be away count as all. Topics of lost pages are
/// read when the pages are back. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class Outages(
    Topics topics, Slots<WatchConnection> connections, TopicChecks checks, PresenceService presence, Action<WatchConnection, bool> sent)
{
    // the first failure may come before the store knows what it has lost
    private const int FailuresOfAll = 2;

    private long _seen;
    private int _failures;
    private int _staleCount;

    /// <summary>Connections that got <c>stale</c> and not yet <c>fresh</c>. From any thread.</summary>
    public int StaleConnections => Volatile.Read(ref _staleCount);

    /// <summary>Whether the last read failed, so that its result is unknown.</summary>
    public bool IsReadFailing => _failures > 0;

    /// <summary>Checks whether the store lost pages or has them back; returns whether that changed.</summary>
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
        // what the store finds out meanwhile explains it, and the next beat reads it
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
