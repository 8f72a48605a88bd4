namespace Aglow.Benchmarks;

/// <summary>
/// The median of samples and its 95 % interval, by bootstrap: the medians of 10,000 resamples, without the outermost 2.5 % on each side.
/// </summary>
internal readonly record struct Spread(double Median, double Low, double High)
{
    private const int Resamples = 10_000;

    /// <summary>The spread of these samples; their range if there are fewer than three.</summary>
    public static Spread Of(IReadOnlyList<double> samples)
    {
        var sorted = samples.Order().ToArray();
        if (sorted.Length < 3)
            return new Spread(MedianOf(sorted), sorted[0], sorted[^1]);
        // a fixed seed: the same samples always have the same spread
        var random = new Random(1);
        var drawn = new double[sorted.Length];
        var medians = new double[Resamples];
        for (var i = 0; i < Resamples; i++)
        {
            for (var j = 0; j < drawn.Length; j++)
                drawn[j] = sorted[random.Next(sorted.Length)];
            Array.Sort(drawn);
            medians[i] = MedianOf(drawn);
        }

        Array.Sort(medians);
        return new Spread(MedianOf(sorted), medians[Resamples / 40], medians[Resamples - (Resamples / 40) - 1]);
    }

    /// <summary>The sample that this share of all samples does not exceed.</summary>
    public static double Quantile(IEnumerable<double> samples, double share)
    {
        var sorted = samples.Order().ToArray();
        return sorted[(int)(sorted.Length * share)];
    }

    private static double MedianOf(double[] sorted) =>
        sorted.Length % 2 == 1 ? sorted[sorted.Length / 2] : (sorted[(sorted.Length / 2) - 1] + sorted[sorted.Length / 2]) / 2;
}
