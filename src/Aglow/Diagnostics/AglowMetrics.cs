using System.Diagnostics;
using System.Diagnostics.Metrics;
using Aglow.Durable;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Sweeping;
using Aglow.Users;

namespace Aglow.Diagnostics;

/// <summary>
/// The one owner of metric names, and the counters behind them. Plain longs, added to once a batch; read when somebody asks.
/// </summary>
/// <remarks>
/// <code>
///   Count, Gauge, Histogram ─► All            ─► /metrics: aglow.sweep.lapses is aglow_sweep_lapses_total there, as everywhere that Prometheus reads OpenTelemetry
///                           └► a Meter "Aglow" ─► OpenTelemetry, where an exporter listens
/// </code>
/// Each name is defined once, for both. A name given again adds a series with other labels. What stores of other libraries can tell, they add
/// themselves, when they are opened. Threading: any thread reads and counts; what is opened adds one after the other.
/// </remarks>
public sealed class AglowMetrics : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "Aglow";

    /// <summary>Failed writes and reads, labelled with the store: what each store adds its own to.</summary>
    public const string StoreErrors = "aglow.store.errors";

    private const string StoreErrorsDescription = "Calls of a store that failed, some of which were tried again.";

    private static readonly double[] SecondsBounds = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
    private static readonly double[] SizeBounds = [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000];

    private readonly Meter _meter = new(MeterName);
    private readonly Dictionary<string, Histogram<double>> _histograms = new(StringComparer.Ordinal);
    private readonly Lock _gate = new();
    private Metric[] _all = [];
    private long _renewals;
    private long _arrivals;
    private long _goodbyes;
    private long _refused;
    private long _statuses;

    /// <summary>Names the counters.</summary>
    public AglowMetrics()
    {
        Count("aglow.heartbeats.renewals", "Heartbeats of users who were online already.", () => Volatile.Read(ref _renewals));
        Count("aglow.heartbeats.arrivals", "Heartbeats that made a user come online.", () => Volatile.Read(ref _arrivals));
        Count("aglow.heartbeats.refused", "Heartbeats refused: a number nobody was given, or over the user budget.", () => Volatile.Read(ref _refused));
        Count("aglow.goodbyes", "Users who said goodbye.", () => Volatile.Read(ref _goodbyes));
        Count("aglow.statuses.read", "Statuses answered.", () => Volatile.Read(ref _statuses));
        ObserveProcess();
    }

    /// <summary>Every instrument there is.</summary>
    public IReadOnlyList<Metric> All => Volatile.Read(ref _all);

    /// <summary>Heartbeats of users who were online already.</summary>
    public long Renewals => Volatile.Read(ref _renewals);

    /// <summary>Heartbeats that made a user come online.</summary>
    public long Arrivals => Volatile.Read(ref _arrivals);

    /// <summary>Adds a written batch.</summary>
    public void Written(int renewals, int arrivals, int refused)
    {
        if (renewals != 0)
            Interlocked.Add(ref _renewals, renewals);
        if (arrivals != 0)
            Interlocked.Add(ref _arrivals, arrivals);
        if (refused != 0)
            Interlocked.Add(ref _refused, refused);
    }

    /// <summary>Adds users who said goodbye.</summary>
    public void Left(int users) => Interlocked.Add(ref _goodbyes, users);

    /// <summary>Adds statuses answered.</summary>
    public void Read(int users) => Interlocked.Add(ref _statuses, users);

    /// <summary>Adds what a service can tell.</summary>
    public void Observe(PresenceService presence)
    {
        var (beliefs, clock) = (presence.Beliefs, presence.Clock);
        Gauge("aglow.users.online", "Users believed online under the default definition.", () => beliefs.Default.Online);
        Gauge("aglow.users.hidden", "Users who appear offline by a claim, or are disabled.", () => presence.Claims.Hidden(clock.Now).LongCount());
        const string Transitions = "aglow.transitions";
        const string TransitionsDescription = "Changes of who is online under the default definition, as this node came to believe them; status: a claim, an idle person back, a deletion.";
        Count(Transitions, TransitionsDescription, () => beliefs.Flips(TransitionKind.Arrived), ("kind", "online"), ("reason", "heartbeat"));
        Count(Transitions, TransitionsDescription, () => beliefs.Found, ("kind", "online"), ("reason", "sweep"));
        Count(Transitions, TransitionsDescription, () => beliefs.Flips(TransitionKind.Left), ("kind", "offline"), ("reason", "goodbye"));
        Count(Transitions, TransitionsDescription, () => beliefs.Flips(TransitionKind.Lapsed), ("kind", "offline"), ("reason", "lapse"));
        Count(Transitions, TransitionsDescription, () => beliefs.Flips(TransitionKind.Changed), ("kind", "changed"), ("reason", "status"));
        Gauge("aglow.sweep.interval.seconds", "How long until every page has been read again: the bound on staleness.", () => presence.Sweep.Interval.TotalSeconds);
        Gauge("aglow.sweep.cost.seconds", "What the last complete sweep cost, in time of one core.", () => presence.Sweep.LastPassCost.TotalSeconds);
        Count("aglow.sweep.lapses", "Users whose lease a sweep found run out.", () => presence.Sweep.Lapses);
        Gauge("aglow.staleness.seconds", "Age of the oldest belief: how long ago the last complete sweep began.", () => Math.Max(0, (long)clock.Now - presence.Sweep.AsOf));
        Count("aglow.stalls", "Times heartbeats could not be written for a while, or the clock jumped, so that lapses were held back.", () => clock.Guard.Stalls);
        Gauge("aglow.stall.guard.in.force", "1 while lapses are held back, of all users or of some pages, since heartbeats could not be written.", () => clock.Guard.IsInForceAnywhere(clock.Moment) ? 1 : 0);
        Gauge("aglow.clock.error.seconds", "Seconds by which store time, in which words are written, is behind its reference: the wall clock, or that of Redis.", () => clock.ErrorSeconds);
        Count("aglow.clock.steps", "Times that store time jumped, since its reference was over 1 s off: a suspended machine, or a clock that was corrected.", () => clock.Steps);
        Gauge("aglow.clock.wall.ahead.seconds", "Seconds by which the wall clock is ahead of store time.", () => clock.WallAheadSeconds);
        Gauge("aglow.store.reachable", "1 while words can be read and written, as far as is known.", () => presence is { IsStoreReachable: true, IsStoreWritable: true } ? 1 : 0);
    }

    /// <summary>Adds what the embedded store can tell.</summary>
    public void Observe(MemoryPlaneStore store, Journal journal, SqliteUserDirectory directory)
    {
        Gauge("aglow.users.registered", "Users ever seen.", () => store.Registered);
        Gauge("aglow.pages", "Pages of words in memory, 255 KiB each.", () => store.Budget.Taken);
        Gauge("aglow.pages.budget", "Pages of words there may be.", () => store.Budget.Pages);
        Gauge("aglow.journal.bytes", "What the next start would replay.", () => journal.JournalBytes);
        Gauge("aglow.journal.queue", "Users whose words wait to be written.", () => journal.QueueLength);
        Gauge("aglow.journal.lag.seconds", "How long the oldest of the users whose words wait to be written has waited.", () => journal.Lag.TotalSeconds);
        Gauge("aglow.journal.failing", "1 while nothing can be written to disk.", () => journal.IsFailing ? 1 : 0);
        Gauge("aglow.journal.commit.seconds", "What the last commit took, fsync included.", () => journal.LastCommitTook.TotalSeconds);
        Count("aglow.journal.words", "Words committed.", () => journal.CommittedEntries);
        Count("aglow.journal.checkpoints", "Checkpoints that ended.", () => journal.Checkpoints);
        CountErrors("journal", () => journal.Failures);
        CountErrors("directory", () => directory.Failures);
        journal.Committed = Flushes("journal");
    }

    /// <summary>Adds what a store can tell of calls that failed.</summary>
    public void CountErrors(string store, Func<long> read) => Count(StoreErrors, StoreErrorsDescription, read, ("store", store));

    /// <summary>Whoever writes in batches says here how large each was and what it took.</summary>
    public Action<int, TimeSpan> Flushes(string flush)
    {
        var size = Histogram("aglow.flush.size", "What was written together: words to a store, or frames of changes to watchers.", SizeBounds, ("flush", flush));
        var seconds = Histogram("aglow.flush.seconds", "What writing it took.", SecondsBounds, ("flush", flush));
        return (count, took) =>
        {
            size.Record(count);
            seconds.Record(took.TotalSeconds);
        };
    }

    /// <summary>Adds a histogram of times, in seconds.</summary>
    public MetricHistogram Seconds(string name, string description, params ReadOnlySpan<(string Name, string Value)> labels) =>
        Histogram(name, description, SecondsBounds, labels);

    /// <summary>Adds a counter that is read when somebody asks.</summary>
    public void Count(string name, string description, Func<long> read, params ReadOnlySpan<(string Name, string Value)> labels) =>
        Add(name, MetricKind.Counter, description, new MetricSeries(labels, () => read()));

    /// <summary>Adds a gauge that is read when somebody asks. Names end in their unit.</summary>
    public void Gauge(string name, string description, Func<double> read, params ReadOnlySpan<(string Name, string Value)> labels) =>
        Add(name, MetricKind.Gauge, description, new MetricSeries(labels, read));

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();

    private MetricHistogram Histogram(string name, string description, double[] bounds, params ReadOnlySpan<(string Name, string Value)> labels)
    {
        lock (_gate)
        {
            if (!_histograms.TryGetValue(name, out var instrument))
            {
                // an exporter that heeds advice has the same buckets
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
        Gauge("aglow.build.info", "1; the version is a label.", static () => 1, ("version", typeof(AglowMetrics).Assembly.GetName().Version?.ToString(3) ?? ""));
        Add("process.cpu.seconds", MetricKind.Counter, "CPU time of this process, user and system.", new MetricSeries([], static () => Environment.CpuUsage.TotalTime.TotalSeconds));
        Gauge("process.resident.memory.bytes", "Memory of this process that is in RAM.", static () => Environment.WorkingSet);
        Gauge("process.start.time.seconds", "When this process started, seconds since 1970-01-01 UTC.", static () => StartedAt.TotalSeconds);
        Gauge("process.threads", "Threads of this process.", static () => ThreadCount());
        Gauge("dotnet.gc.heap.bytes", "Memory of objects; words are outside of it.", static () => GC.GetTotalMemory(forceFullCollection: false));
        Add("dotnet.gc.pause.seconds", MetricKind.Counter, "Time this process stood still for collections.", new MetricSeries([], static () => GC.GetTotalPauseDuration().TotalSeconds));
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
