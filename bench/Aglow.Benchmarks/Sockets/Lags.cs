namespace Aglow.Benchmarks.Sockets;

/// <summary>Lags in tenths of milliseconds, up to 30 s; missing deliveries count as infinite.</summary>
internal sealed class Lags
{
    private const double BucketsPerSecond = 10_000;
    private readonly int[] _counts = new int[30 * (int)BucketsPerSecond];
    private long _count;
    private double _longest;

    public void Add(double seconds)
    {
        _counts[(int)Math.Clamp(seconds * BucketsPerSecond, 0, _counts.Length - 1)]++;
        _count++;
        _longest = Math.Max(_longest, seconds);
    }

    public void Clear()
    {
        Array.Clear(_counts);
        _count = 0;
        _longest = 0;
    }

    /// <summary>
    /// The milliseconds that this share of all lags did not exceed, with the <paramref name="missing"/> ones as infinite.
    /// </summary>
    public double Quantile(double share, long missing)
    {
        if (_count + missing == 0)
            return 0;
        var rank = (long)Math.Ceiling(share * (_count + missing));
        if (rank > _count)
            return double.PositiveInfinity;
        long seen = 0;
        for (var i = 0; i < _counts.Length; i++)
        {
            seen += _counts[i];
            if (seen >= rank)
                return (i + 1) * 1000 / BucketsPerSecond;
        }

        return double.PositiveInfinity;
    }

    /// <summary>The longest lag in milliseconds.</summary>
    public double Longest(long missing) => missing > 0 ? double.PositiveInfinity : _longest * 1000;
}
