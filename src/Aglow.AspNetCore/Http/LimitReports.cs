using System.Collections.Concurrent;
using System.Net;
using Aglow.Diagnostics;

namespace Aglow.AspNetCore.Http;

/// <summary>
/// Counts refusals by kind of limit, and logs each kind at most once a minute. If the server takes a proxy for one client, the log shows
/// the operator why many clients are refused.
/// </summary>
/// <remarks>The set of kinds is small and fixed. Threading: any thread; it takes a lock only when it writes to the log.</remarks>
internal sealed class LimitReports(ILoggerFactory logs, TimeProvider time)
{
    /// <summary>The kind: too many connections of one address.</summary>
    public const string Connections = "connections-of-address";

    /// <summary>The kind: a connection of a trusted proxy without a PROXY header.</summary>
    public const string NoProxyHeader = "no-proxy-header";

    /// <summary>All kinds: these two, and the titles of the problems with status 429.</summary>
    public static IReadOnlyList<string> Kinds { get; } =
    [
        Connections, NoProxyHeader, "too-many-calls", "too-many-connections", "too-many-event-streams", "too-many-messages",
        "too-many-registrations", "too-much-held",
    ];

    private readonly ILogger _log = logs.CreateLogger(HttpLog.Category);
    private readonly ConcurrentDictionary<string, Kind> _kinds = new(
        Kinds.Select(static kind => KeyValuePair.Create(kind, new Kind())), StringComparer.Ordinal);

    public void AddTo(AglowMetrics metrics)
    {
        foreach (var (name, kind) in _kinds)
            metrics.Count("aglow.limits.refused", "What limits refused, by kind.", () => Volatile.Read(ref kind.Count), ("kind", name));
    }

    /// <summary>Counts that a limit refused a call or a connection.</summary>
    public void Report(ProblemException problem, IPAddress? address) =>
        Report(problem.Title.ToLowerInvariant().Replace(' ', '-'), address is null ? null : new IPEndPoint(address, 0), problem.Message);

    /// <summary>The same for a kind; ignores an unknown one.</summary>
    public void Report(string name, EndPoint? from, string detail)
    {
        if (!_kinds.TryGetValue(name, out var kind))
            return;
        var count = Interlocked.Increment(ref kind.Count);
        if (kind.LoggedAt is { } last && time.GetElapsedTime(last) < TimeSpan.FromMinutes(1))
            return;
        lock (kind)
        {
            if (kind.LoggedAt is { } logged && time.GetElapsedTime(logged) < TimeSpan.FromMinutes(1))
                return;
            HttpLog.LimitRefused(
                _log, name, count - kind.LoggedCount, (from as IPEndPoint)?.Address.ToString() ?? "an unknown address", detail);
            (kind.LoggedAt, kind.LoggedCount) = (time.GetTimestamp(), count);
        }
    }

    private sealed class Kind
    {
        public long Count;

        public long? LoggedAt { get; set; }

        public long LoggedCount { get; set; }
    }
}
