using Aglow.Diagnostics;
using Aglow.Model;

namespace Aglow.Watching;

/// <summary>
/// How long changes take from when this node heard of them until they are handed to all who watch and read; and how many of them nothing was heard of.
/// </summary>
/// <remarks>A change is recorded when it is found, and its lag with the flush that tells it. Owned by the <see cref="WatchHub"/>'s loop.</remarks>
internal sealed class ChangeLags
{
    private readonly TimeProvider _time;
    private readonly MetricHistogram[] _byKind;
    // changes that are told by the next flush, of which something was heard
    private readonly List<(long HeardAt, ChangeKind Kind)> _changes = [];
    private long _unheard;

    /// <summary>Names its figures.</summary>
    public ChangeLags(AglowMetrics metrics, TimeProvider time)
    {
        _time = time;
        metrics.Count("aglow.changes.unheard", "Changes found by reading every watched user again, of which no hint was heard: the idle, and lost hints.", () => Volatile.Read(ref _unheard));
        _byKind = [.. Enum.GetValues<ChangeKind>().Select(kind => metrics.Seconds(
            "aglow.notification.lag.seconds",
            "From when this node heard of a change until it was handed to all who watch and read; a goodbye is confirmed for a second.",
            ("kind", kind.ToString().ToLowerInvariant())))];
    }

    /// <summary>Watchers of this topic knew <paramref name="before"/>, and are to be told what it is now.</summary>
    public void Changed(Topic topic, Presence before)
    {
        if (topic.HeardAt == 0)
            Volatile.Write(ref _unheard, _unheard + 1);
        else
            _changes.Add((topic.HeardAt, topic.Told.IsOnline == before.IsOnline ? ChangeKind.Status : topic.Told.IsOnline ? ChangeKind.Online : ChangeKind.Offline));
    }

    /// <summary>What had changed was told.</summary>
    public void Flushed()
    {
        var now = _time.GetTimestamp();
        foreach (var (heardAt, kind) in _changes)
            _byKind[(int)kind].Record(_time.GetElapsedTime(heardAt, now).TotalSeconds);
        _changes.Clear();
    }

    // What a change was to those who watch.
    private enum ChangeKind
    {
        Online,
        Offline,
        Status,
    }
}
