using Aglow.Diagnostics;
using Aglow.Model;

namespace Aglow.Watching;

/// <summary>
/// Measures how long changes take from when this node learns of them until all watchers who read have them. It also counts changes without
/// a hint.
/// </summary>
/// <remarks>
/// It records a change when it is found, and its lag with the flush that sends it. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class ChangeLags
{
    private readonly TimeProvider _time;
    private readonly MetricHistogram[] _byKind;
    // changes with a hint that the next flush will send
    private readonly List<(long HeardAt, ChangeKind Kind)> _changes = [];
    private long _unheard;

    /// <summary>Registers its metrics.</summary>
    public ChangeLags(AglowMetrics metrics, TimeProvider time)
    {
        _time = time;
        metrics.Count(
            "aglow.changes.unheard",
            "Changes found by reading every watched user again, of which no hint was heard: the idle, and lost hints.",
            () => Volatile.Read(ref _unheard));
        _byKind = [.. Enum.GetValues<ChangeKind>().Select(kind => metrics.Seconds(
            "aglow.notification.lag.seconds",
            "From when this node heard of a change until it was handed to all who watch and read; a goodbye is confirmed for a second.",
            ("kind", kind.ToString().ToLowerInvariant())))];
    }

    /// <summary>A topic changed. Its watchers knew <paramref name="before"/>.</summary>
    public void Changed(Topic topic, Presence before)
    {
        if (topic.HeardAt == 0)
            Volatile.Write(ref _unheard, _unheard + 1);
        else
            _changes.Add((topic.HeardAt, topic.Told.IsOnline == before.IsOnline ? ChangeKind.Status : topic.Told.IsOnline ? ChangeKind.Online : ChangeKind.Offline));
    }

    /// <summary>The changes were sent.</summary>
    public void Flushed()
    {
        var now = _time.GetTimestamp();
        foreach (var (heardAt, kind) in _changes)
            _byKind[(int)kind].Record(_time.GetElapsedTime(heardAt, now).TotalSeconds);
        _changes.Clear();
    }

    // the kind of a change, as watchers see it
    private enum ChangeKind
    {
        Online,
        Offline,
        Status,
    }
}
