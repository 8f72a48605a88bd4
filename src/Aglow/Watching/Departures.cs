using System.Text;

namespace Aglow.Watching;

/// <summary>
/// Before a planned stop: tells every connection when to reconnect, each at a time of its own, and serves it until then.
/// <see cref="Handover"/> uses it to move some connections to other nodes.
/// </summary>
/// <remarks>
/// <code>
///   reconnect, after_ms 310   …served on…   close 1001 after 310 ms   ─► connects again, to another node
///   reconnect, after_ms 7940  …served on…             …               close 1001 after 7,940 ms
/// </code>
/// The times are random and evenly spread, so that clients do not all reconnect at once. A connection that opens meanwhile, because the
/// load balancer has not noticed the stop yet, closes last. A million connections are notified over some seconds, because notifying all at
/// once would delay every change. Those that close first are notified first. Times are read from the clock: beats are late on a busy
/// node, and no connection may close before its time. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class Departures(Slots<WatchConnection> connections, Action<WatchConnection, bool> sent, Func<TimeSpan> now)
{
    // how many connections are notified in a beat, about 10 ms of work; more if the time for all is short
    private const int NotifiedABeat = 2000;

    // by the time at which they close
    private readonly PriorityQueue<WatchConnection, TimeSpan> _staying = new();
    // who waits for the end of the drain
    private readonly List<TaskCompletionSource> _waiting = [];
    private bool _isDraining;
    private WatchConnection[] _toNotify = [];
    private int _notified;
    private TimeSpan _beganAt;
    private TimeSpan _endsAt;

    /// <summary>Whether connections were notified when to reconnect, and have not all closed.</summary>
    public bool IsWaiting => _isDraining || _staying.Count > 0;

    /// <summary>
    /// Notifies all connections. Completes <paramref name="gone"/> when none is left or the time is over. During a drain, it only waits
    /// for the end of that one, because the connections were notified when they close.
    /// </summary>
    public void Begin(TimeSpan over, TaskCompletionSource gone)
    {
        _waiting.Add(gone);
        if (_isDraining)
            return;
        _isDraining = true;
        _beganAt = now();
        _endsAt = _beganAt + over;
        _toNotify = [.. connections.All];
        Random.Shared.Shuffle(_toNotify);
    }

    /// <summary>Moves these connections to another node, while this node continues.</summary>
    public void Move(List<WatchConnection> some, TimeSpan over)
    {
        if (_isDraining)
            return;
        for (var i = 0; i < some.Count; i++)
        {
            some[i].IsLeaving = true;
            Notify(some[i], over * ((i + Random.Shared.NextDouble()) / some.Count));
        }
    }

    /// <summary>Notifies a new connection, if the node is about to stop.</summary>
    public void Opened(WatchConnection connection)
    {
        if (_isDraining)
            Notify(connection, _endsAt - now());
    }

    /// <summary>A beat of the loop: notifies some connections when to reconnect, and closes those whose time has come.</summary>
    public void Beat()
    {
        if (!IsWaiting)
            return;
        var time = _endsAt - _beganAt;
        // connections are notified twice as fast as they close
        var left = Math.Max(NotifiedABeat, 2 * _toNotify.Length / Math.Max(1, (int)(time / WatchHub.BeatInterval)));
        for (; left > 0 && _notified < _toNotify.Length; left--, _notified++)
        {
            if (_toNotify[_notified].Id >= 0)
                Notify(_toNotify[_notified], _beganAt + (time * ((_notified + Random.Shared.NextDouble()) / _toNotify.Length)) - now());
        }

        var at = now();
        while (_staying.TryPeek(out var next, out var closesAt) && closesAt <= at)
        {
            _staying.Dequeue();
            // it may have closed by itself
            if (next.Id >= 0)
                next.End(1001);
        }

        if (!_isDraining || (connections.Count > 0 && at < _endsAt))
            return;
        foreach (var gone in _waiting)
            gone.SetResult();
        _waiting.Clear();
    }

    /// <summary>
    /// At the stop: tells each remaining connection to reconnect at a time within <paramref name="over"/>, and closes it now.
    /// </summary>
    public void EndAll(TimeSpan over)
    {
        foreach (var connection in connections.All)
        {
            if (!connection.IsBusy)
                connection.Send(Reconnect(over * Random.Shared.NextDouble()));
            connection.End(1001);
        }
    }

    private static byte[] Reconnect(TimeSpan after) =>
        Encoding.UTF8.GetBytes($"{{\"type\":\"reconnect\",\"after_ms\":{Math.Max(0, (long)after.TotalMilliseconds)}}}");

    private void Notify(WatchConnection connection, TimeSpan after)
    {
        if (!connection.IsBusy)
            sent(connection, connection.Send(Reconnect(after)));
        _staying.Enqueue(connection, now() + after);
    }
}
