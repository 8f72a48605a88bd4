using System.Collections.Concurrent;

namespace Aglow.Swarm.Changes;

/// <summary>What one backend knows of every person. It applies each change that it receives, by the feed or by a webhook.</summary>
/// <remarks>
/// It behaves as the documentation asks: it skips IDs that it has handled, and the newest change of a user is the truth. The changes
/// of a person are kept whole, because the end of the run compares them with what happened. Threading: one writer; any thread reads.
/// </remarks>
internal sealed class Ledger(SwarmRun swarm, string name)
{
    private readonly ConcurrentDictionary<uint, List<(double ReceivedAt, Change Change)>> _changes = new();
    private readonly HashSet<string> _handled = [];

    /// <summary>How this backend receives changes.</summary>
    public string Name => name;

    /// <summary>The changes that it received, each counted once.</summary>
    public Counter Count { get; } = new();

    /// <summary>The changes that it received again.</summary>
    public Counter Repeated { get; } = new();

    /// <summary>How often it was told that changes were lost.</summary>
    public Counter Gaps { get; } = new();

    /// <summary>Applies a change, and judges it.</summary>
    public void Receive(Change change)
    {
        if (!_handled.Add(change.Id))
        {
            Repeated.Add();
            return;
        }

        Count.Add();
        var now = swarm.Clock.Now;
        var changes = _changes.GetOrAdd(change.User, static _ => []);
        lock (changes)
            changes.Add((now, change));
        if (swarm.TruthOf(change.User) is { } truth && ChangeJudge.WhyNot(truth, swarm, change, now) is { } verdict)
            swarm.Report(verdict, change.User, now, $"recorded in {name}", HistoryOf(change.User));
    }

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
            return [.. changes.TakeLast(20).Select(static c => $"{c.ReceivedAt,9:0.000} s  {c.Change}")];
    }
}
