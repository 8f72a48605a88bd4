namespace Aglow.Swarm;

/// <summary>
/// Latencies of one kind, in a histogram with steps of 5 %, so that millions of values take no more memory than a few. Threading: any
/// thread.
/// </summary>
internal sealed class Latencies
{
    private const double Step = 1.05;
    private const double Least = 0.00001;
    private readonly long[] _counts = new long[400];
    private long _count;
    private double _max;

    public long Count => Volatile.Read(ref _count);

    public double Max => Volatile.Read(ref _max);

    public void Add(double seconds)
    {
        var at = seconds <= Least ? 0 : (int)Math.Min(_counts.Length - 1, Math.Log(seconds / Least) / Math.Log(Step) + 1);
        Interlocked.Increment(ref _counts[at]);
        Interlocked.Increment(ref _count);
        double seen;
        while (seconds > (seen = Volatile.Read(ref _max)) && Interlocked.CompareExchange(ref _max, seconds, seen) != seen)
        {
        }
    }

    /// <summary>The latency that this share of all values did not exceed, in seconds; NaN if there are none.</summary>
    public double Quantile(double share)
    {
        var wanted = (long)Math.Ceiling(Count * share);
        if (wanted == 0)
            return double.NaN;
        var seen = 0L;
        for (var at = 0; at < _counts.Length; at++)
        {
            seen += Volatile.Read(ref _counts[at]);
            if (seen >= wanted)
                return Math.Min(Least * Math.Pow(Step, at), Max);
        }

        return Max;
    }
}
