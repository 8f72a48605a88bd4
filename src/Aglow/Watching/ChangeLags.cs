namespace Aglow.Watching;

/// <summary>
/// Measures the time from when this node learns of a change until it is sent to all watchers that read. Also counts changes without a hint.
/// </summary>
/// <remarks>
/// It notes a change when it is found, with the number of the last turn (<see cref="SendTurns{T}"/>) that sends it. The
/// <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class ChangeLags
{
    private readonly TimeProvider _time;
    private readonly MetricHistogram[] _byKind;
    // changes with a hint that wait for turns, in the order of their last turns
    private readonly Queue<(long HintedAt, ChangeKind Kind, long LastTurn)> _changes = new();
    private long _withoutHint;

    public ChangeLags(AglowMetrics metrics, TimeProvider time)
    {
        _time = time;
        metrics.Count(
            "aglow.changes.unheard",
            "Changes found only by periodic reads, without a hint: users who became away, and lost hints.",
            () => Volatile.Read(ref _withoutHint));
        _byKind = [.. Enum.GetValues<ChangeKind>().Select(kind => metrics.Seconds(
            "aglow.notification.lag.seconds",
            "Time from when this node learned of a change until all watchers that read got it; a leave is confirmed for a second.",
            ("kind", kind.ToString().ToLowerInvariant())))];
    }

    /// <summary>
    /// Notes a changed topic. <paramref name="before"/>: what its watchers had. <paramref name="lastTurn"/>: the turn that is the last to
    /// send it.
    /// </summary>
    public void Changed(Topic topic, Presence before, long lastTurn)
    {
        if (topic.HintedAt == 0)
            Volatile.Write(ref _withoutHint, _withoutHint + 1);
        else
            _changes.Enqueue((
                topic.HintedAt,
                topic.LastSent.IsOnline == before.IsOnline ? ChangeKind.Status
                    : topic.LastSent.IsOnline ? ChangeKind.Online
                    : ChangeKind.Offline,
                lastTurn));
    }

    /// <summary>Records the lags of the changes whose last turn was at most this one.</summary>
    public void Sent(long turn)
    {
        var now = _time.GetTimestamp();
        while (_changes.TryPeek(out var change) && change.LastTurn <= turn)
            _byKind[(int)_changes.Dequeue().Kind].Record(_time.GetElapsedTime(change.HintedAt, now).TotalSeconds);
    }

    // the kind of a change, as watchers see it
    private enum ChangeKind
    {
        Online,
        Offline,
        Status,
    }
}
