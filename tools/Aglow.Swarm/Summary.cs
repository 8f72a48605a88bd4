using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Swarm;

/// <summary>All counts of a run, for the JSON file and the report.</summary>
internal sealed class Summary(SwarmRun swarm)
{
    public static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public DateTimeOffset StartedAt { get; } = swarm.Clock.BeganAt;

    public string Machine { get; } =
        $"{Environment.ProcessorCount} cores, {RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}";

    public IReadOnlyList<string> Urls { get; } = [.. swarm.Options.Urls.Select(static u => u.ToString())];

    /// <summary>The participants, in words.</summary>
    public string Who { get; } = swarm.Who;

    /// <summary>The users whose online state is counted, in words.</summary>
    public string LookedAt { get; } = swarm.LookedAt;

    public int Seed { get; } = swarm.Options.Seed;

    public double Seconds { get; } = Math.Round(swarm.Clock.Now - swarm.BeganAt, 1);

    public double LeaseSeconds { get; } = swarm.Promises.Lease;

    public bool Passed { get; } = swarm.Findings.Passed;

    /// <summary>The outcome in one sentence.</summary>
    public string Outcome { get; } = swarm.Findings.Outcome;

    public long StatusesRead { get; } = swarm.Findings.Read;

    public long StatusesDecisive { get; } = swarm.Findings.ReadDecisive;

    public long RecordsTold { get; } = swarm.Findings.Told;

    public long RecordsDecisive { get; } = swarm.Findings.ToldDecisive;

    public long ChangesInTime { get; } = swarm.Findings.ChangesInTime;

    public IReadOnlyDictionary<string, long> Violations { get; } = swarm.Findings.ByKind;

    public long Transitions { get; } = swarm.Measures.Transitions;

    public long Deliveries { get; } = swarm.Measures.Deliveries;

    public long Heartbeats { get; } = swarm.Measures.Heartbeats;

    public long Connects { get; } = swarm.Measures.Connects;

    public long AccountChanges { get; } = swarm.Measures.AccountChanges;

    public long Claims { get; } = swarm.Measures.Claims;

    /// <summary>The changes that each backend heard, by its name.</summary>
    public IReadOnlyDictionary<string, long> ChangesHeard { get; } =
        swarm.Ledgers.ToDictionary(static l => l.Name, static l => (long)l.Count);

    /// <summary>Those that came again, by the same names.</summary>
    public IReadOnlyDictionary<string, long> ChangesRepeated { get; } =
        swarm.Ledgers.ToDictionary(static l => l.Name, static l => (long)l.Repeated);

    /// <summary>How often each backend heard that changes were lost.</summary>
    public IReadOnlyDictionary<string, long> Gaps { get; } = swarm.Ledgers.ToDictionary(static l => l.Name, static l => (long)l.Gaps);

    public long Errors { get; } = swarm.Measures.Errors;

    public string LastError { get; } = swarm.Measures.LastError;

    /// <summary>CPU of all servers in the steady time, in percent of one core; null if they do not report it.</summary>
    public double? ServersCpuPercent { get; } = swarm.Servers.SteadyCpuPercent;

    /// <summary>The length of that time in seconds.</summary>
    public double ServersCpuSeconds { get; } = Math.Round(swarm.Servers.SteadySeconds, 1);

    /// <summary>Memory of all servers at the end.</summary>
    public double? ServersMegabytes { get; } = swarm.Servers.Megabytes;

    public IReadOnlyList<LatencyLine> Latencies { get; } =
    [
        LatencyLine.Of("came online, told to a watcher", swarm.Measures.NoticeLatency),
        LatencyLine.Of(swarm.HeartbeatWhat, swarm.Measures.HeartbeatLatency),
        LatencyLine.Of($"the same, after the first {swarm.SteadyFrom - swarm.BeganAt:0} s", swarm.Measures.SteadyHeartbeatLatency),
        LatencyLine.Of("batch of statuses", swarm.Measures.ReadLatency),
    ];

    public IReadOnlyCollection<Violation> ViolationDetails { get; } = swarm.Findings.Violations;

    public IReadOnlyCollection<Sample> Samples { get; } = swarm.Samples;
}

/// <summary>A latency, in milliseconds.</summary>
internal sealed record LatencyLine(string What, long Count, double? P50Ms, double? P99Ms, double? MaxMs)
{
    public static LatencyLine Of(string what, Latencies of) =>
        of.Count == 0 ? new(what, 0, null, null, null) : new(what, of.Count, Ms(of.Quantile(0.5)), Ms(of.Quantile(0.99)), Ms(of.Max));

    private static double Ms(double seconds) => Math.Round(seconds * 1000, 2);
}
