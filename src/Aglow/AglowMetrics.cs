using System.Diagnostics.Metrics;

namespace Aglow;

/// <summary>
/// The one owner of metric names, and the counters behind them. Plain longs, added to once a batch; read when somebody scrapes.
/// </summary>
/// <remarks>The meter is named <c>Aglow</c>, so OpenTelemetry and the Prometheus page read the same names. Any thread.</remarks>
public sealed class AglowMetrics : IDisposable
{
    /// <summary>The meter's name.</summary>
    public const string MeterName = "Aglow";

    private readonly Meter _meter = new(MeterName);
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
    }

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
        Gauge("aglow.users.online", "Users believed online under the default definition.", () => presence.Beliefs.Default.Online);
        Gauge("aglow.users.hidden", "Users who appear offline by choice.", () => presence.Manual.HiddenCount);
        Gauge("aglow.sweep.interval.seconds", "How long until every page has been read again: the bound on staleness.", () => presence.Sweep.Interval.TotalSeconds);
        Gauge("aglow.sweep.cost.seconds", "What the last complete sweep cost, in time of one core.", () => presence.Sweep.LastPassCost.TotalSeconds);
        Count("aglow.sweep.lapses", "Users whose lease a sweep found run out.", () => presence.Sweep.Lapses);
        Count("aglow.stalls", "Times heartbeats could not be written for a while, so that lapses were held back.", () => presence.Clock.Guard.Stalls);
        Gauge("aglow.clock.wall.ahead.seconds", "Seconds by which the wall clock is ahead of store time.", () => presence.Clock.WallAheadSeconds);
    }

    /// <summary>Adds what the embedded store can tell.</summary>
    public void Observe(MemoryPlaneStore store, Journal journal)
    {
        Gauge("aglow.users.registered", "Users ever seen.", () => store.Registered);
        Gauge("aglow.pages", "Pages of words in memory, 255 KiB each.", () => store.Budget.Taken);
        Gauge("aglow.pages.budget", "Pages of words there may be.", () => store.Budget.Pages);
        Gauge("aglow.journal.bytes", "What the next start would replay.", () => journal.JournalBytes);
        Gauge("aglow.journal.queue", "Users whose words wait to be written.", () => journal.QueueLength);
        Gauge("aglow.journal.failing", "1 while nothing can be written to disk.", () => journal.IsFailing ? 1 : 0);
        Gauge("aglow.journal.commit.seconds", "What the last commit took, fsync included.", () => journal.LastCommitTook.TotalSeconds);
        Count("aglow.journal.words", "Words committed.", () => journal.CommittedEntries);
        Count("aglow.journal.failures", "Writes that failed and were tried again.", () => journal.Failures);
        Count("aglow.journal.checkpoints", "Checkpoints that ended.", () => journal.Checkpoints);
    }

    /// <summary>Adds a counter that is read when scraped.</summary>
    public void Count(string name, string description, Func<long> read) => _meter.CreateObservableCounter(name, read, unit: null, description);

    /// <summary>Adds a gauge that is read when scraped. Names end in their unit.</summary>
    public void Gauge(string name, string description, Func<double> read) => _meter.CreateObservableGauge(name, read, unit: null, description);

    /// <inheritdoc/>
    public void Dispose() => _meter.Dispose();
}
