using System.Collections.Concurrent;

namespace Aglow.Swarm.Changes;

/// <summary>What one backend knows of every person. It applies each change that it receives, by the feed or by a webhook.</summary>
/// <remarks>
/// It behaves as the documentation asks: it skips IDs that it has handled, and the newest change of a user is the truth. The changes
/// of a person are kept whole, because the end of the run compares them with what happened. Threading: one writer; any thread reads.
/// </remarks>
internal sealed class Ledger(SwarmRun swarm, string name)
{
    private const int IdsKept = 1 << 20;

    private readonly ConcurrentDictionary<uint, List<(double Heard, Change Change)>> _changes = new();
    private readonly HashSet<string> _handled = [];
    private readonly Queue<string> _handledInTurn = new();
    private long _count, _repeated, _gaps;

    /// <summary>How this backend receives changes.</summary>
    public string Name => name;

    /// <summary>The changes that it received, each counted once.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>The changes that it received again.</summary>
    public long Repeated => Volatile.Read(ref _repeated);

    /// <summary>How often it was told that changes were lost.</summary>
    public long Gaps => Volatile.Read(ref _gaps);

    /// <summary>Applies a change, and judges it.</summary>
    public void Hear(Change change)
    {
        if (!_handled.Add(change.Id))
        {
            Interlocked.Increment(ref _repeated);
            return;
        }

        _handledInTurn.Enqueue(change.Id);
        if (_handledInTurn.Count > IdsKept)
            _handled.Remove(_handledInTurn.Dequeue());
        Interlocked.Increment(ref _count);
        var now = swarm.Clock.Now;
        var changes = _changes.GetOrAdd(change.User, static _ => []);
        lock (changes)
            changes.Add((now, change));
        if (swarm.TruthOf(change.User) is { } truth && ChangeJudge.WhyNot(truth, swarm, change, now) is { } verdict)
            swarm.Report(verdict, change.User, now, $"recorded in {name}", HistoryOf(change.User));
    }

    /// <summary>Counts a report that changes were lost.</summary>
    public void HearGap() => Interlocked.Increment(ref _gaps);

    /// <summary>All changes of a person, in the order in which they came.</summary>
    public Change[] Of(uint user)
    {
        if (!_changes.TryGetValue(user, out var changes))
            return [];
        lock (changes)
            return [.. changes.Select(static c => c.Change)];
    }

    /// <summary>The changes of a person as lines of a history.</summary>
    public string[] HistoryOf(uint user)
    {
        if (!_changes.TryGetValue(user, out var changes))
            return [];
        lock (changes)
            return [.. changes.TakeLast(20).Select(static c => $"{c.Heard,9:0.000} s  {c.Change}")];
    }
}
