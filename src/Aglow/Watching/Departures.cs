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
/// load balancer has not noticed the stop yet, closes last. A million connections are told over some seconds, those that close first at
/// first: at once they would delay all changes. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class Departures(Slots<WatchConnection> connections, Action<WatchConnection, bool> sent)
{
    // so many are told in a beat, about 10 ms of work; more if the time for all is short
    private const int ToldABeat = 2000;

    private readonly Queue<(WatchConnection Connection, long Beat)> _staying = new();
    private TaskCompletionSource? _gone;
    private WatchConnection[] _untold = [];
    private int _told;
    private long _firstBeat;
    private long _lastBeat;

    /// <summary>Tells all connections. Completes <paramref name="gone"/> when none is left or the time is over.</summary>
    public void Begin(long beat, TimeSpan over, TaskCompletionSource gone)
    {
        _gone = gone;
        (_firstBeat, _lastBeat) = (beat, beat + Beats(over));
        _untold = [.. connections.All];
        Random.Shared.Shuffle(_untold);
    }

    /// <summary>Moves these connections to another node, while this node continues.</summary>
    public void Move(List<WatchConnection> some, long beat, TimeSpan over)
    {
        if (_gone is not null)
            return;
        for (var i = 0; i < some.Count; i++)
        {
            some[i].IsLeaving = true;
            Tell(some[i], over * ((i + Random.Shared.NextDouble()) / some.Count), beat);
        }
    }

    /// <summary>Tells a new connection, if the node is about to stop.</summary>
    public void Opened(WatchConnection connection, long beat)
    {
        if (_gone is not null)
            Tell(connection, (_lastBeat - beat) * WatchHub.BeatInterval, beat);
    }

    /// <summary>A beat of the loop: tells some connections when to reconnect, and closes those whose time has come.</summary>
    public void Beat(long beat)
    {
        var time = _lastBeat - _firstBeat;
        // twice as fast as they close
        for (var left = Math.Max(ToldABeat, 2 * _untold.Length / Math.Max(1, time)); left > 0 && _told < _untold.Length; left--, _told++)
        {
            var closes = _firstBeat + (time * (_told + Random.Shared.NextDouble()) / _untold.Length);
            if (_untold[_told].Id >= 0)
                Tell(_untold[_told], Math.Max(0, closes - beat) * WatchHub.BeatInterval, beat);
        }

        while (_staying.TryPeek(out var next) && next.Beat <= beat)
        {
            // it may have closed by itself
            if (_staying.Dequeue().Connection is { Id: >= 0 } connection)
                connection.End(1001);
        }

        if (_gone is not null && (connections.Count == 0 || beat >= _lastBeat))
            _gone.TrySetResult();
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

    private static long Beats(TimeSpan time) => (long)(time / WatchHub.BeatInterval);

    private void Tell(WatchConnection connection, TimeSpan after, long beat)
    {
        if (!connection.IsBusy)
            sent(connection, connection.Send(Reconnect(after)));
        _staying.Enqueue((connection, beat + Beats(after)));
    }
}
