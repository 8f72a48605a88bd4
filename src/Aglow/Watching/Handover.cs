using Aglow.Heartbeats;

namespace Aglow.Watching;

/// <summary>
/// Moves connections to other nodes if this node cannot write their users' words. Otherwise other nodes would soon show these users
/// offline.
/// </summary>
/// <remarks>
/// <code>
///   words of a page cannot be written ── (lease - 2 intervals) / 2 ──► reconnect to the page's users ── some seconds ──► close 1001
/// </code>
/// A connection that opens meanwhile may come from a node that cannot write either, so it stays for a third of a lease. Nothing is sent
/// while no other node is known. Rejected: refusing connections. If a shard is away for all nodes, its users could watch nobody.
/// The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class Handover(
    Slots<WatchConnection> connections, Departures departures, HeartbeatWriter heartbeats, Definitions definitions)
{
    // half a second; a lease is at least two seconds
    private const long EveryBeats = 25;

    // spread, so that the other nodes are not overloaded, but short enough that users send heartbeats there within the lease
    private readonly TimeSpan _over = TimeSpan.FromSeconds(Math.Min(5, definitions.Default.PulseSeconds / 6.0));
    private readonly long _stayBeats =
        (long)(TimeSpan.FromSeconds(definitions.Default.PulseSeconds / 3.0) / WatchHub.BeatInterval);
    private readonly List<WatchConnection> _some = [];
    private long _began;

    public void Beat(long beat)
    {
        if (beat % EveryBeats != 0)
            return;
        if (!heartbeats.IsHandingOver)
        {
            _began = 0;
            return;
        }

        _some.Clear();
        foreach (var connection in connections.All)
        {
            var isNew = _began != 0 && connection.OpenedBeat > _began && beat - connection.OpenedBeat < _stayBeats;
            if (!connection.IsLeaving && !isNew && connection.User != UserId.Nobody && heartbeats.IsHandedOver(connection.User))
                _some.Add(connection);
        }

        if (_some.Count == 0)
            return;
        if (_began == 0)
            _began = beat;
        departures.Move(_some, _over);
    }
}
