using Aglow.Diagnostics;
using Aglow.Model;

namespace Aglow.Watching;

/// <summary>
/// Measures the time from when this node learns of a change until it is sent to all watchers that read. Also counts changes without a hint.
/// </summary>
/// <remarks>
/// It notes a change when it is found, and records its lag with the flush that sends it. The <see cref="WatchHub"/>'s loop owns it.
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
            "Changes found only by periodic reads, without a hint: users who became away, and lost hints.",
            () => Volatile.Read(ref _unheard));
        _byKind = [.. Enum.GetValues<ChangeKind>().Select(kind => metrics.Seconds(
            "aglow.notification.lag.seconds",
            "Time from when this node learned of a change until all watchers that read got it; a leave is confirmed for a second.",
            ("kind", kind.ToString().ToLowerInvariant())))];
    }

    /// <summary>Notes a changed topic. <paramref name="before"/>: what its watchers had.</summary>
    public void Changed(Topic topic, Presence before)
    {
        if (topic.HeardAt == 0)
            Volatile.Write(ref _unheard, _unheard + 1);
        else
            _changes.Add((
                topic.HeardAt,
                topic.Told.IsOnline == before.IsOnline ? ChangeKind.Status : topic.Told.IsOnline ? ChangeKind.Online : ChangeKind.Offline));
    }

    /// <summary>Records the lags of the changes that were just sent.</summary>
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
