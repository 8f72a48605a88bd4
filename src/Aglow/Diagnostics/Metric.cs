using System.Diagnostics.Metrics;

namespace Aglow.Diagnostics;

/// <summary>What a <see cref="Metric"/> measures.</summary>
public enum MetricKind : byte
{
    /// <summary>A value that only grows; its rate matters.</summary>
    Counter,

    /// <summary>A current value.</summary>
    Gauge,

    /// <summary>Counts of recorded values, by size.</summary>
    Histogram,
}

/// <summary>
/// One metric: its name, its kind, and one series for each set of labels.
/// </summary>
/// <remarks>
/// Only <see cref="AglowMetrics"/> creates metrics. It publishes each to OpenTelemetry in the same step, so <c>/metrics</c> and an exporter
/// always agree. Counters and gauges are read on demand and cost nothing otherwise.
/// Threading: series are added while presence is opened, and read by any thread.
/// </remarks>
public sealed class Metric
{
    private MetricSeries[] _series = [];

    internal Metric(string name, MetricKind kind, string description)
    {
        Name = name;
        Kind = kind;
        Description = description;
    }

    /// <summary>The name in OpenTelemetry's form: words with dots, the unit last.</summary>
    public string Name { get; }

    /// <summary>The kind.</summary>
    public MetricKind Kind { get; }

    /// <summary>What it measures, in one sentence.</summary>
    public string Description { get; }

    /// <summary>The series, one for each set of labels.</summary>
    public IReadOnlyList<MetricSeries> Series => Volatile.Read(ref _series);

    internal void Add(MetricSeries series) => Volatile.Write(ref _series, [.. _series, series]);

    internal IEnumerable<Measurement<double>> Measure() =>
        Series.Select(static series => new Measurement<double>(series.Read(), series.Tags));
}

/// <summary>One series of a <see cref="Metric"/>.</summary>
public sealed class MetricSeries
{
    internal MetricSeries(ReadOnlySpan<(string Name, string Value)> labels, Func<double> read, MetricHistogram? histogram = null)
    {
        Labels = labels.ToArray();
        Tags = [.. Labels.Select(static label => KeyValuePair.Create(label.Name, (object?)label.Value))];
        Read = read;
        Histogram = histogram;
    }

    /// <summary>The labels that distinguish this series; empty if there is only one.</summary>
    public IReadOnlyList<(string Name, string Value)> Labels { get; }

    /// <summary>The value now.</summary>
    public Func<double> Read { get; }

    /// <summary>The buckets, if the metric is a histogram.</summary>
    public MetricHistogram? Histogram { get; }

    internal KeyValuePair<string, object?>[] Tags { get; }
}

/// <summary>
/// Counts values by size, for events that happen a few times a second. Never used on the heartbeat path.
/// </summary>
/// <remarks>
/// Keeps its own counts for <c>/metrics</c>, and passes values on to OpenTelemetry if it has a listener. Any thread, no lock.
/// </remarks>
public sealed class MetricHistogram
{
    private readonly Histogram<double> _instrument;
    private readonly KeyValuePair<string, object?>[] _tags;
    private readonly long[] _counts;
    private double _sum;

    internal MetricHistogram(Histogram<double> instrument, double[] bounds, KeyValuePair<string, object?>[] tags)
    {
        _instrument = instrument;
        _tags = tags;
        _counts = new long[bounds.Length + 1];
        Bounds = bounds;
    }

    /// <summary>The upper bound of each bucket except the last, which has none. Inclusive, ascending.</summary>
    public IReadOnlyList<double> Bounds { get; }

    /// <summary>How many values fell into a bucket.</summary>
    public long this[int bucket] => Volatile.Read(ref _counts[bucket]);

    /// <summary>The sum of all values.</summary>
    public double Sum => Volatile.Read(ref _sum);

    /// <summary>Counts a value.</summary>
    public void Record(double value)
    {
        var bucket = 0;
        while (bucket < Bounds.Count && value > Bounds[bucket])
            bucket++;
        Interlocked.Increment(ref _counts[bucket]);
        for (var sum = Sum; ;)
        {
            var seen = Interlocked.CompareExchange(ref _sum, sum + value, sum);
            if (BitConverter.DoubleToInt64Bits(seen) == BitConverter.DoubleToInt64Bits(sum))
                break;
            sum = seen;
        }

        if (_instrument.Enabled)
            _instrument.Record(value, _tags);
    }
}
