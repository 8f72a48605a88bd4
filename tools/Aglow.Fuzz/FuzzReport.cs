using System.Runtime.InteropServices;
using System.Text;

namespace Aglow.Fuzz;

/// <summary>The memory after this many inputs, while no worker feeds.</summary>
internal readonly record struct MemorySample(long Inputs, long HeapBytes, long ResidentBytes)
{
    public static MemorySample Take(long inputs)
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        return new(inputs, GC.GetTotalMemory(forceFullCollection: true), Environment.WorkingSet);
    }

    public override string ToString() => $"heap {HeapBytes / 1e6,6:0.0} MB  resident {ResidentBytes / 1e6,6:0} MB";
}

/// <summary>The inputs of a target.</summary>
/// <param name="Target">The target.</param>
/// <param name="Inputs">The number of inputs.</param>
/// <param name="Took">The time, summed over all workers.</param>
/// <param name="Behaviours">The number of inputs that caused new behaviour.</param>
internal sealed record FuzzedTarget(Target Target, long Inputs, TimeSpan Took, int Behaviours);

/// <summary>The findings of a run, and its report.</summary>
internal sealed record FuzzReport(
    IReadOnlyList<FuzzedTarget> Targets, IReadOnlyList<(Target Target, byte[] Input, string Message)> Findings,
    IReadOnlyList<MemorySample> Samples, double Seconds)
{
    // Allows for code that is compiled late, and for pools and caches that fill. A leak of one byte per input exceeds it after a few
    // minutes.
    private const long HeapNoise = 24_000_000;
    private const double HeapBytesAnInput = 1;

    public long Inputs => Targets.Sum(static target => target.Inputs);

    /// <summary>Whether nothing crashed, hung or leaked, and no answer was wrong.</summary>
    public bool IsClean => Findings.Count == 0 && Leak is null && Inputs > 0;

    /// <summary>What has grown; null if nothing has. Compares the median of the last third with that of the second third.</summary>
    public string? Leak
    {
        get
        {
            var third = Samples.Count / 3;
            if (third < 2)
                return null;
            var (before, after) = (Median(Samples.Skip(third).Take(third)), Median(Samples.TakeLast(third)));
            var grown = after.HeapBytes - before.HeapBytes;
            return grown > HeapNoise + (HeapBytesAnInput * (after.Inputs - before.Inputs))
                ? $"the heap grew by {grown / 1e6:0.0} MB over {after.Inputs - before.Inputs:#,0} inputs"
                : null;
        }
    }

    public override string ToString()
    {
        var text = new StringBuilder();
        text.AppendLine().AppendLine($"{"target",-10}{"inputs",15}{"a second",12}{"behaviours",12}  feeds");
        foreach (var one in Targets)
            text.AppendLine(
                $"{one.Target.Name,-10}{one.Inputs,15:#,0}{one.Inputs / Math.Max(0.001, one.Took.TotalSeconds),12:#,0}"
                    + $"{one.Behaviours,12:#,0}  {one.Target.Feeds}");
        foreach (var (target, input, message) in Findings)
            text.AppendLine().AppendLine($"FOUND in {target.Name}: {message}").AppendLine(
                $"  by {Corpus.Escape(input.AsSpan(0, Math.Min(input.Length, 2000)))}");
        if (Leak is { } leak)
            text.AppendLine().AppendLine($"LEAK: {leak}");
        var memory = Samples.Count == 0 ? "not weighed" : $"first {Samples[0]}, last {Samples[^1]}";
        text.AppendLine().AppendLine($"memory: {memory}");
        text.Append(
            $"{Inputs:#,0} inputs in {Seconds:0} s on {Environment.ProcessorCount} cores, {RuntimeInformation.FrameworkDescription}: "
                + $"{(IsClean ? "no crash, hang, leak or 5xx" : $"{Findings.Count} findings{(Leak is null ? "" : ", a leak")}")}");
        return text.ToString();
    }

    private static MemorySample Median(IEnumerable<MemorySample> samples) =>
        samples.OrderBy(static sample => sample.HeapBytes).ToArray() is { Length: > 0 } sorted ? sorted[sorted.Length / 2] : default;
}
