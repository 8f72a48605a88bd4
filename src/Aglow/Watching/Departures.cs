using System.Text;

namespace Aglow.Watching;

/// <summary>
/// Before a planned stop: tells every connection when to connect again, each at a time of its own, and serves it until then. It tells some of
/// them the same when this node hands their users over (<see cref="Handover"/>).
/// </summary>
/// <remarks>
/// <code>
///   reconnect, after_ms 310   …served on…   close 1001 after 310 ms   ─► connects again, to another node
///   reconnect, after_ms 7940  …served on…             …               close 1001 after 7,940 ms
/// </code>
/// The times are spread evenly and at random, so that other nodes are not stormed. A connection that comes meanwhile, because the balancer
/// has not noticed yet, leaves last. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class Departures(Slots<WatchConnection> connections, Action<WatchConnection, bool> sent)
{
    private readonly Queue<(WatchConnection Connection, long Beat)> _staying = new();
    private TaskCompletionSource? _gone;
    private long _lastBeat;

    /// <summary>Tells everybody. <paramref name="gone"/> is completed when nobody is left, or time is up.</summary>
    public void Begin(long beat, TimeSpan over, TaskCompletionSource gone)
    {
        _gone = gone;
        _lastBeat = beat + Beats(over);
        var all = connections.All.ToArray();
        Random.Shared.Shuffle(all);
        for (var i = 0; i < all.Length; i++)
            Tell(all[i], over * ((i + Random.Shared.NextDouble()) / all.Length), beat);
    }

    /// <summary>Tells these, who are to go to another node while this one goes on.</summary>
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

    /// <summary>A connection has come.</summary>
    public void Opened(WatchConnection connection, long beat)
    {
        if (_gone is not null)
            Tell(connection, (_lastBeat - beat) * WatchHub.BeatInterval, beat);
    }

    /// <summary>A beat of the loop: closes the connections whose time has come.</summary>
    public void Beat(long beat)
    {
        while (_staying.TryPeek(out var next) && next.Beat <= beat)
        {
            // it may have closed by itself
            if (_staying.Dequeue().Connection is { Id: >= 0 } connection)
                connection.End(1001);
        }

        if (_gone is not null && (connections.Count == 0 || beat >= _lastBeat))
            _gone.TrySetResult();
    }

    /// <summary>The stop itself: tells each remaining connection a time within <paramref name="over"/> to connect again, and closes it now.</summary>
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
