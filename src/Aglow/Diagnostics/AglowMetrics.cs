using System.Diagnostics;
using System.Diagnostics.Metrics;

namespace Aglow.Diagnostics;

/// <summary>
/// Owns all metric names and the counters behind them. Writers add once per batch; values are read on demand.
/// </summary>
/// <remarks>
/// <code>
///   Count, Gauge, Histogram ─► All            ─► /metrics, with Prometheus names: aglow.sweep.lapses is aglow_sweep_lapses_total
///                           └► a Meter "Aglow" ─► OpenTelemetry, if an exporter listens
/// </code>
/// Each name is defined once, for both. A name given again adds a series with other labels. Each part adds its own metrics when it is
/// created or opened. Threading: any thread reads and counts; metrics are added one after the other.
/// </remarks>
public sealed class AglowMetrics : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "Aglow";

    /// <summary>Failed writes and reads, with the store as a label. Each store adds its own series.</summary>
    public const string StoreErrors = "aglow.store.errors";

    private const string StoreErrorsDescription = "Failed calls of a store; some were retried.";

    private static readonly double[] SecondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
    private static readonly double[] SizeBounds = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

    private readonly Meter _meter = new(MeterName);
    private readonly Dictionary<string, Histogram<double>> _histograms = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private Metric[] _all = [];
    private long _renewals;
    private long _arrivals;
    private long _leaves;
    private long _refused;
    private long _statuses;

    /// <summary>Creates the counters.</summary>
    public AglowMetrics()
    {
        Count("aglow.heartbeats.renewals", "Heartbeats of users who were already online.", () => Volatile.Read(ref _renewals));
        Count("aglow.heartbeats.arrivals", "Heartbeats that brought a user online.", () => Volatile.Read(ref _arrivals));
        Count(
            "aglow.heartbeats.refused",
            "Heartbeats refused: the user has no index, or there is no memory for its page.",
            () => Volatile.Read(ref _refused));
        Count("aglow.goodbyes", "Users who left.", () => Volatile.Read(ref _leaves));
        Count("aglow.statuses.read", "Statuses answered.", () => Volatile.Read(ref _statuses));
        ObserveProcess();
    }

    /// <summary>All metrics.</summary>
    public IReadOnlyList<Metric> All => Volatile.Read(ref _all);

    /// <summary>Counts a written batch.</summary>
    public void Written(int renewals, int arrivals, int refused)
    {
        if (renewals != 0)
            Interlocked.Add(ref _renewals, renewals);
        if (arrivals != 0)
            Interlocked.Add(ref _arrivals, arrivals);
        if (refused != 0)
            Interlocked.Add(ref _refused, refused);
    }

    /// <summary>Counts users who left.</summary>
    public void Left(int users) => Interlocked.Add(ref _leaves, users);

    /// <summary>Counts statuses that were read.</summary>
    public void Read(int users) => Interlocked.Add(ref _statuses, users);

    /// <summary>Adds a store's counter of failed calls.</summary>
    public void CountErrors(string store, Func<long> read) => Count(StoreErrors, StoreErrorsDescription, read, ("store", store));

    /// <summary>
    /// Adds histograms for a writer of batches. The writer calls the result with the size and the duration of each batch.
    /// </summary>
    public Action<int, TimeSpan> Flushes(string flush)
    {
        var size = Histogram(
            "aglow.flush.size", "Size of a batch: words to a store, or frames of changes to watchers.", SizeBounds, ("flush", flush));
        var seconds = Histogram("aglow.flush.seconds", "Duration of writing a batch.", SecondsBounds, ("flush", flush));
        return (count, took) =>
        {
            size.Record(count);
            seconds.Record(took.TotalSeconds);
        };
    }

    /// <summary>Adds a histogram of times, in seconds.</summary>
    public MetricHistogram Seconds(string name, string description, params ReadOnlySpan<(string Name, string Value)> labels) =>
        Histogram(name, description, SecondsBounds, labels);

    /// <summary>Adds a counter that is read on demand.</summary>
    public void Count(string name, string description, Func<long> read, params ReadOnlySpan<(string Name, string Value)> labels) =>
        Add(name, MetricKind.Counter, description, new MetricSeries(labels, () => read()));

    /// <summary>Adds a gauge that is read on demand. Names end in their unit.</summary>
    public void Gauge(string name, string description, Func<double> read, params ReadOnlySpan<(string Name, string Value)> labels) =>
        Add(name, MetricKind.Gauge, description, new MetricSeries(labels, read));

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private MetricHistogram Histogram(
        string name, string description, double[] bounds, params ReadOnlySpan<(string Name, string Value)> labels)
    {
        lock (_gate)
        {
            if (!_histograms.TryGetValue(name, out var instrument))
            {
                // exporters that follow this advice use the same buckets
                var advice = new InstrumentAdvice<double> { HistogramBucketBoundaries = bounds };
                _histograms[name] = instrument = _meter.CreateHistogram(name, unit: null, description, tags: null, advice);
            }

            var tags = new MetricSeries(labels, static () => 0).Tags;
            var histogram = new MetricHistogram(instrument, bounds, tags);
            Add(name, MetricKind.Histogram, description, new MetricSeries(labels, () => histogram.Sum, histogram));
            return histogram;
        }
    }

    private void Add(string name, MetricKind kind, string description, MetricSeries series)
    {
        lock (_gate)
        {
            if (Array.Find(_all, metric => metric.Name == name) is { } known)
            {
                known.Add(series);
                return;
            }

            var metric = new Metric(name, kind, description);
            metric.Add(series);
            Volatile.Write(ref _all, [.. _all, metric]);
            if (kind == MetricKind.Counter)
                _meter.CreateObservableCounter(name, metric.Measure, unit: null, description);
            else if (kind == MetricKind.Gauge)
                _meter.CreateObservableGauge(name, metric.Measure, unit: null, description);
        }
    }

    private void ObserveProcess()
    {
        Gauge(
            "aglow.build.info",
            "1; the version is a label.",
            static () => 1,
            ("version", typeof(AglowMetrics).Assembly.GetName().Version?.ToString(3) ?? ""));
        Add(
            "process.cpu.seconds",
            MetricKind.Counter,
            "CPU time of this process, user and system.",
            new MetricSeries([], static () => Environment.CpuUsage.TotalTime.TotalSeconds));
        Gauge("process.resident.memory.bytes", "Memory of this process that is in RAM.", static () => Environment.WorkingSet);
        Gauge(
            "process.start.time.seconds",
            "When this process started, seconds since 1970-01-01 UTC.",
            static () => StartedAt.TotalSeconds);
        Gauge("process.threads", "Threads of this process.", static () => ThreadCount());
        Gauge(
            "dotnet.gc.heap.bytes",
            "Memory of managed objects; words are not part of it.",
            static () => GC.GetTotalMemory(forceFullCollection: false));
        Add(
            "dotnet.gc.pause.seconds",
            MetricKind.Counter,
            "Time that garbage collections paused this process.",
            new MetricSeries([], static () => GC.GetTotalPauseDuration().TotalSeconds));
    }

    private static TimeSpan StartedAt
    {
        get
        {
            using var process = Process.GetCurrentProcess();
            return process.StartTime.ToUniversalTime() - DateTime.UnixEpoch;
        }
    }

    private static int ThreadCount()
    {
        using var process = Process.GetCurrentProcess();
        return process.Threads.Count;
    }
}
