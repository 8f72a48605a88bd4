using System.Text;

namespace Aglow.Watching;

/// <summary>
/// Tracks which words cannot be read, and the connections that watch them. Each such connection receives <c>stale</c> once. It receives
/// <c>fresh</c> when all its words have been read again, and after what changed meanwhile.
/// </summary>
/// <remarks>
/// The store reports which pages it has lost (<see cref="IPlaneStore.Outages"/>). The loop checks that every beat, and goes through the
/// topics only after a change. If one of several shards is away, only watchers of its users receive <c>stale</c>, and their other watches
/// continue. If the whole store is away, or reads fail although no page is known to be away, all connections receive it. Topics of lost
/// pages are read when the pages are back. <c>fresh</c> waits until all of them are read: before that, a client would show what was true
/// before the outage. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class Outages(
    Topics topics,
    Slots<WatchConnection> connections,
    TopicChecks checks,
    IPlaneStore store,
    Clock clock,
    Action<WatchConnection, bool> sent)
{
    // the first failure may come before the store knows which pages it has lost
    private const int FailuresOfAll = 2;

    // topics whose pages are back, until they have been read
    private readonly List<int> _returned = [];

    // connections that receive "fresh" when their changes are sent
    private readonly List<WatchConnection> _sending = [];

    private long _seen;
    private int _failures;
    private int _staleCount;

    /// <summary>Connections that received <c>stale</c> but not yet <c>fresh</c>. From any thread.</summary>
    public int StaleConnections => Volatile.Read(ref _staleCount);

    /// <summary>Whether the last read failed, so that its result is unknown.</summary>
    public bool IsReadFailing => _failures > 0;

    /// <summary>
    /// Checks whether the store lost pages or got some back; returns whether it did. Sends <c>fresh</c> to connections whose words have
    /// all been read.
    /// </summary>
    public bool Beat()
    {
        if (store.Outages != _seen)
        {
            _seen = store.Outages;
            CheckPages();
            return true;
        }

        if (_returned.Count > 0)
        {
            _returned.RemoveAll(id => topics[id] is not { IsReturning: true });
            if (_returned.Count == 0)
                CheckPages();
        }
        else if (_sending.Count > 0)
        {
            _sending.RemoveAll(NotifyIfSent);
        }

        return false;
    }

    public void Failed()
    {
        // the store may know the lost pages by now; then the next beat handles them
        _failures = store.Outages == _seen ? _failures + 1 : 1;
        if (_failures == FailuresOfAll)
            CheckPages();
    }

    public void Answered()
    {
        var wereAllNotified = _failures >= FailuresOfAll;
        _failures = 0;
        if (!wereAllNotified)
            return;
        for (var id = 0; id < topics.Capacity; id++)
        {
            if (topics[id] is { IsAway: false } topic)
                Return(id, topic);
        }

        CheckPages();
    }

    public void Added(WatchConnection connection, int topic)
    {
        topics[topic]!.IsAway = IsPageAway(topics[topic]!);
        if (topics[topic]!.IsAway)
            NotifyAway(connection);
    }

    /// <summary>The ID of this topic got its index, whose page may be one that the store has lost.</summary>
    public void Bound(int topic)
    {
        topics[topic]!.IsAway = IsPageAway(topics[topic]!);
        if (!topics[topic]!.IsAway)
            return;
        foreach (var watcher in topics[topic]!.Watchers)
            NotifyAway(connections[Topic.ConnectionOf(watcher)]!);
    }

    public void Opened(WatchConnection connection)
    {
        connection.WatchesAway = IsAllAway();
        Notify(connection, connection.WatchesAway);
    }

    public void Closed(WatchConnection connection)
    {
        if (connection.IsStale)
            Volatile.Write(ref _staleCount, _staleCount - 1);
    }

    // an ID without an index has no word on any page
    private bool IsPageAway(Topic topic) => topic.User != UserId.Nobody && store.IsPageAway(PageLayout.Page(topic.User));

    private void NotifyAway(WatchConnection connection)
    {
        connection.WatchesAway = true;
        Notify(connection, stale: true);
    }

    private bool IsAllAway() => _failures >= FailuresOfAll || !store.IsReachable;

    private void CheckPages()
    {
        var all = IsAllAway();
        foreach (var connection in connections.All)
            connection.WatchesAway = all;
        for (var id = 0; id < topics.Capacity; id++)
        {
            if (topics[id] is not { } topic)
                continue;
            var wasAway = topic.IsAway;
            topic.IsAway = IsPageAway(topic);
            if (topic.IsAway)
                topic.IsReturning = false;
            else if (wasAway)
                Return(id, topic);
            if (all || !(topic.IsAway || topic.IsReturning))
                continue;
            foreach (var watcher in topic.Watchers)
                connections[Topic.ConnectionOf(watcher)]!.WatchesAway = true;
        }

        NotifyAll();
    }

    private void Return(int id, Topic topic)
    {
        topic.IsReturning = true;
        _returned.Add(id);
        checks.Enqueue(id, gentle: true);
    }

    private void NotifyAll()
    {
        _sending.Clear();
        foreach (var connection in connections.All)
        {
            if (connection.WatchesAway)
                Notify(connection, stale: true);
            else if (!NotifyIfSent(connection))
                _sending.Add(connection);
        }
    }

    // What changed during the outage is sent before "fresh". False: it is not sent yet.
    private bool NotifyIfSent(WatchConnection connection)
    {
        if (connection.Id < 0 || !connection.IsStale || connection.WatchesAway)
            return true;
        if (connection.Outbox.IsDirty)
            return false;
        Notify(connection, stale: false);
        return true;
    }

    private void Notify(WatchConnection connection, bool stale)
    {
        if (connection.IsStale == stale)
            return;
        connection.IsStale = stale;
        Volatile.Write(ref _staleCount, _staleCount + (stale ? 1 : -1));
        var hasRoom = connection.Send(stale
            ? Encoding.UTF8.GetBytes($"{{\"type\":\"stale\",\"as_of\":{Pulse.EpochUnixSeconds + (long)clock.Now}}}")
            : "{\"type\":\"fresh\"}"u8);
        sent(connection, hasRoom && !connection.IsBusy);
    }
}
