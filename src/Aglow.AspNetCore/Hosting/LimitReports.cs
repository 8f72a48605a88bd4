using System.Collections.Concurrent;
using System.Net;
using Aglow.AspNetCore.Http;
using Aglow.Diagnostics;
using Microsoft.Extensions.Logging;

namespace Aglow.AspNetCore.Hosting;

/// <summary>
/// Counts by kind how often a limit refuses something, and says so in the log once a minute for each kind: an operator whose proxy is taken
/// for one client sees why everybody is refused.
/// </summary>
/// <remarks>Kinds are a fixed few. Threading: any thread; a lock only for the line of a minute.</remarks>
internal sealed class LimitReports(ILoggerFactory logs, TimeProvider time)
{
    /// <summary>Connections of one address.</summary>
    public const string Connections = "connections-of-address";

    /// <summary>A trusted proxy's connection without a PROXY header.</summary>
    public const string NoProxyHeader = "no-proxy-header";

    /// <summary>All of them: these two, and the titles of the problems that are a 429.</summary>
    public static IReadOnlyList<string> Kinds { get; } =
    [
        Connections, NoProxyHeader, "too-many-calls", "too-many-connections", "too-many-event-streams", "too-many-messages",
        "too-many-registrations", "too-much-held",
    ];

    private readonly ILogger _log = logs.CreateLogger(HttpLog.Category);
    private readonly ConcurrentDictionary<string, Kind> _kinds = new(
        Kinds.Select(static kind => KeyValuePair.Create(kind, new Kind())), StringComparer.Ordinal);

    /// <summary>Registers the counters.</summary>
    public void AddTo(AglowMetrics metrics)
    {
        foreach (var (name, kind) in _kinds)
            metrics.Count("aglow.limits.refused", "What limits refused, by kind.", () => Volatile.Read(ref kind.Count), ("kind", name));
    }

    /// <summary>A limit refused a call or a connection.</summary>
    public void Bite(ProblemException problem, IPAddress? address) =>
        Bite(problem.Title.ToLowerInvariant().Replace(' ', '-'), address is null ? null : new IPEndPoint(address, 0), problem.Message);

    /// <summary>The same, of this kind.</summary>
    public void Bite(string name, EndPoint? from, string detail)
    {
        if (!_kinds.TryGetValue(name, out var kind))
            return;
        var count = Interlocked.Increment(ref kind.Count);
        if (kind.SaidAt is { } last && time.GetElapsedTime(last) < TimeSpan.FromMinutes(1))
            return;
        lock (kind)
        {
            if (kind.SaidAt is { } said && time.GetElapsedTime(said) < TimeSpan.FromMinutes(1))
                return;
            HttpLog.LimitBites(
                _log, name, count - kind.SaidCount, (from as IPEndPoint)?.Address.ToString() ?? "an unknown address", detail);
            (kind.SaidAt, kind.SaidCount) = (time.GetTimestamp(), count);
        }
    }

    private sealed class Kind
    {
        public long Count;

        public long? SaidAt { get; set; }

        public long SaidCount { get; set; }
    }
}
