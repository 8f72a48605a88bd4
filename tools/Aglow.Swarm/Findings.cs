using System.Collections.Concurrent;
using System.Text.Json;

namespace Aglow.Swarm;

/// <summary>A broken promise with both histories: the acts of the person, and the records that were received.</summary>
internal sealed record Violation(ViolationKind Kind, uint User, double At, string Where, string Why, string[] Did, string[] Told)
{
    public override string ToString()
    {
        string[] lines =
        [
            $"VIOLATION {Name(Kind)}: user {User} at {At:0.000} s, {Where}: {Why}",
            "  what the person did", .. Did.Select(static line => $"    {line}"),
            "  what was told", .. Told.Select(static line => $"    {line}"),
        ];
        return string.Join('\n', lines);
    }

    public static string Name(ViolationKind kind) => JsonNamingPolicy.SnakeCaseLower.ConvertName($"{kind}").Replace('_', ' ');
}

/// <summary>Counts checks and violations. Threading: any thread.</summary>
internal sealed class Findings
{
    // All violations are counted, but only the first of each kind are kept: with a completely wrong server they would fill the memory.
    private const int Kept = 50;

    private readonly ConcurrentQueue<Violation> _violations = new();
    private readonly long[] _byKind = new long[Enum.GetValues<ViolationKind>().Length];

    /// <summary>Statuses that were read and checked.</summary>
    public Counter Read { get; } = new();

    /// <summary>How many of these had only one right answer.</summary>
    public Counter ReadDecisive { get; } = new();

    /// <summary>Records that watchers received and that were checked.</summary>
    public Counter Received { get; } = new();

    /// <summary>How many of these had only one right answer.</summary>
    public Counter ReceivedDecisive { get; } = new();

    /// <summary>Changes that a watcher received in time.</summary>
    public Counter ChangesInTime { get; } = new();

    /// <summary>Violations of each kind.</summary>
    public IReadOnlyDictionary<string, long> ByKind =>
        Enum.GetValues<ViolationKind>().ToDictionary(Violation.Name, k => Volatile.Read(ref _byKind[(int)k]));

    /// <summary>All violations.</summary>
    public Counter Count { get; } = new();

    /// <summary>The first violations.</summary>
    public IReadOnlyCollection<Violation> Violations => _violations;

    /// <summary>What was never checked, so that the run proves nothing. Null: everything was checked.</summary>
    public string? NothingChecked =>
        ReadDecisive == 0 ? "no status was read whose truth was sure"
        : ReceivedDecisive == 0 ? "no watcher was told anything whose truth was sure"
        : null;

    /// <summary>Whether everything was checked, and nothing was wrong.</summary>
    public bool Passed => Count == 0 && NothingChecked is null;

    /// <summary>The outcome in one sentence.</summary>
    public string Outcome => (long)Count switch
    {
        0 => NothingChecked is { } nothing ? $"nothing proven: {nothing}" : "0 violations",
        1 => "1 violation",
        var count => $"{count} violations",
    };

    public void CountRead(bool wasDecisive)
    {
        Read.Add();
        ReadDecisive.Add(wasDecisive ? 1 : 0);
    }

    public void CountReceived(bool wasDecisive)
    {
        Received.Add();
        ReceivedDecisive.Add(wasDecisive ? 1 : 0);
    }

    public void Add(Violation violation)
    {
        Count.Add();
        if (Interlocked.Increment(ref _byKind[(int)violation.Kind]) <= Kept)
            _violations.Enqueue(violation);
    }
}
