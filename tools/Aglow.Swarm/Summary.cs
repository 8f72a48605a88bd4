using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Swarm;

/// <summary>All counts of a run, for the JSON file and the report.</summary>
internal sealed record Summary
{
    public static readonly JsonSerializerOptions Json = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public required DateTimeOffset StartedAt { get; init; }

    public required string Machine { get; init; }

    public required IReadOnlyList<string> Urls { get; init; }

    /// <summary>The participants, in words.</summary>
    public required string Who { get; init; }

    /// <summary>The users whose online state is counted, in words.</summary>
    public required string LookedAt { get; init; }

    public required int Seed { get; init; }

    public required double Seconds { get; init; }

    public required double LeaseSeconds { get; init; }

    public required bool Passed { get; init; }

    /// <summary>The outcome in one sentence.</summary>
    public required string Outcome { get; init; }

    public required long StatusesRead { get; init; }

    public required long StatusesDecisive { get; init; }

    public required long RecordsTold { get; init; }

    public required long RecordsDecisive { get; init; }

    public required long ChangesInTime { get; init; }

    public required IReadOnlyDictionary<string, long> Violations { get; init; }

    public required long Transitions { get; init; }

    public required long Deliveries { get; init; }

    public required long Heartbeats { get; init; }

    public required long Connects { get; init; }

    public required long AccountChanges { get; init; }

    public required long Claims { get; init; }

    /// <summary>The changes that each backend heard, by its name.</summary>
    public required IReadOnlyDictionary<string, long> ChangesHeard { get; init; }

    /// <summary>Those that came again, by the same names.</summary>
    public required IReadOnlyDictionary<string, long> ChangesRepeated { get; init; }

    /// <summary>How often each backend heard that changes were lost.</summary>
    public required IReadOnlyDictionary<string, long> Gaps { get; init; }

    public required long Errors { get; init; }

    public required string LastError { get; init; }

    /// <summary>CPU of all servers in the steady time, in percent of one core; null if they do not report it.</summary>
    public required double? ServersCpuPercent { get; init; }

    /// <summary>The length of that time in seconds.</summary>
    public required double ServersCpuSeconds { get; init; }

    /// <summary>Memory of all servers at the end.</summary>
    public required double? ServersMegabytes { get; init; }

    public required IReadOnlyList<LatencyLine> Latencies { get; init; }

    public required IReadOnlyCollection<Violation> ViolationDetails { get; init; }

    public required IReadOnlyCollection<Sample> Samples { get; init; }

    public static Summary Of(SwarmRun swarm)
    {
        var (findings, measures) = (swarm.Findings, swarm.Measures);
        var passed = findings.Count == 0 && findings.NothingChecked is null;
        return new Summary
        {
            StartedAt = swarm.Clock.BeganAt,
            Machine = $"{Environment.ProcessorCount} cores, {RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}",
            Urls = [.. swarm.Options.Urls.Select(static u => u.ToString())],
            Who = swarm.Who,
            LookedAt = swarm.LookedAt,
            Seed = swarm.Options.Seed,
            Seconds = Math.Round(swarm.Clock.Now - swarm.BeganAt, 1),
            LeaseSeconds = swarm.Promises.Lease,
            Passed = passed,
            Outcome = findings.Count > 0 ? $"{findings.Count} violation{(findings.Count == 1 ? "" : "s")}"
                : findings.NothingChecked is { } nothing ? $"nothing proven: {nothing}"
                : "0 violations",
            StatusesRead = findings.Read,
            StatusesDecisive = findings.ReadDecisive,
            RecordsTold = findings.Told,
            RecordsDecisive = findings.ToldDecisive,
            ChangesInTime = findings.ChangesInTime,
            Violations = findings.ByKind,
            Transitions = measures.Transitions,
            Deliveries = measures.Deliveries,
            Heartbeats = measures.Heartbeats,
            Connects = measures.Connects,
            AccountChanges = measures.AccountChanges,
            Claims = measures.Claims,
            ChangesHeard = swarm.Ledgers.ToDictionary(static l => l.Name, static l => l.Count),
            ChangesRepeated = swarm.Ledgers.ToDictionary(static l => l.Name, static l => l.Repeated),
            Gaps = swarm.Ledgers.ToDictionary(static l => l.Name, static l => l.Gaps),
            Errors = measures.Errors,
            LastError = measures.LastError,
            ServersCpuPercent = swarm.Servers.SteadyCpuPercent,
            ServersCpuSeconds = Math.Round(swarm.Servers.SteadySeconds, 1),
            ServersMegabytes = swarm.Servers.Megabytes,
            Latencies =
            [
                LatencyLine.Of("came online, told to a watcher", measures.NoticeLatency),
                LatencyLine.Of(swarm.HeartbeatWhat, measures.HeartbeatLatency),
                LatencyLine.Of($"the same, after the first {swarm.SteadyFrom - swarm.BeganAt:0} s", measures.SteadyHeartbeatLatency),
                LatencyLine.Of("batch of statuses", measures.ReadLatency),
            ],
            ViolationDetails = findings.Violations,
            Samples = swarm.Samples,
        };
    }
}

/// <summary>A latency, in milliseconds.</summary>
internal sealed record LatencyLine(string What, long Count, double? P50Ms, double? P99Ms, double? MaxMs)
{
    public static LatencyLine Of(string what, Latencies of) =>
        of.Count == 0 ? new(what, 0, null, null, null) : new(what, of.Count, Ms(of.Quantile(0.5)), Ms(of.Quantile(0.99)), Ms(of.Max));

    private static double Ms(double seconds) => Math.Round(seconds * 1000, 2);
}
