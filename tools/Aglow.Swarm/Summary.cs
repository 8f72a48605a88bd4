using System.Runtime.InteropServices;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Swarm;

/// <summary>All counts of a run, for the JSON file.</summary>
internal static class Summary
{
    private static readonly JsonSerializerOptions Options = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        Converters = { new JsonStringEnumConverter(JsonNamingPolicy.SnakeCaseLower) },
    };

    public static string Machine { get; } =
        $"{Environment.ProcessorCount} cores, {RuntimeInformation.OSDescription}, {RuntimeInformation.FrameworkDescription}";

    public static string Json(SwarmRun swarm)
    {
        var (findings, measures, servers) = (swarm.Findings, swarm.Measures, swarm.Servers);
        var summary = new
        {
            StartedAt = swarm.Clock.BeganAt,
            Machine,
            Urls = swarm.Options.Urls.Select(static u => u.ToString()),
            swarm.Who,
            swarm.LookedAt,
            swarm.Options.Seed,
            swarm.Seconds,
            LeaseSeconds = swarm.Promises.Lease,
            findings.Passed,
            findings.Outcome,
            StatusesRead = (long)findings.Read,
            StatusesDecisive = (long)findings.ReadDecisive,
            RecordsTold = (long)findings.Received,
            RecordsDecisive = (long)findings.ReceivedDecisive,
            ChangesInTime = (long)findings.ChangesInTime,
            Violations = findings.ByKind,
            Transitions = (long)measures.Transitions,
            Deliveries = (long)measures.Deliveries,
            Heartbeats = (long)measures.Heartbeats,
            Connects = (long)measures.Connects,
            AccountChanges = (long)measures.AccountChanges,
            Claims = (long)measures.Claims,
            // the changes that each backend heard, those that came again, and how often it heard that changes were lost
            ChangesHeard = swarm.Ledgers.ToDictionary(static l => l.Name, static l => (long)l.Count),
            ChangesRepeated = swarm.Ledgers.ToDictionary(static l => l.Name, static l => (long)l.Repeated),
            Gaps = swarm.Ledgers.ToDictionary(static l => l.Name, static l => (long)l.Gaps),
            Errors = (long)measures.Errors,
            measures.LastError,
            ServersCpuPercent = servers.SteadyCpuPercent,
            ServersCpuSeconds = servers.SteadySeconds,
            ServersMegabytes = servers.Megabytes,
            Latencies = LatencyLine.Of(swarm),
            ViolationDetails = findings.Violations,
            swarm.Samples,
        };
        return JsonSerializer.Serialize(summary, Options);
    }
}

/// <summary>A latency, in milliseconds.</summary>
internal sealed record LatencyLine(string What, long Count, double? P50Ms, double? P99Ms, double? MaxMs)
{
    /// <summary>All latencies of a run.</summary>
    public static LatencyLine[] Of(SwarmRun swarm) =>
    [
        Of("came online, told to a watcher", swarm.Measures.NoticeLatency),
        Of(swarm.HeartbeatWhat, swarm.Measures.HeartbeatLatency),
        Of($"the same, after the first {swarm.SteadyFrom - swarm.BeganAt:0} s", swarm.Measures.SteadyHeartbeatLatency),
        Of("batch of statuses", swarm.Measures.ReadLatency),
    ];

    private static LatencyLine Of(string what, Latencies of) =>
        of.Count == 0 ? new(what, 0, null, null, null) : new(what, of.Count, Ms(of.Quantile(0.5)), Ms(of.Quantile(0.99)), Ms(of.Max));

    private static double Ms(double seconds) => Math.Round(seconds * 1000, 2);
}
