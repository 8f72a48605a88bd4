using Aglow.Diagnostics;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.Options;

namespace Aglow.AspNetCore.Hosting;

/// <summary>Metrics of connections, and of the memory that large calls take.</summary>
internal sealed class ConnectionMetrics(ConnectionLimit limit, LimitReports limits, IOptions<KestrelServerOptions> kestrel)
{
    /// <summary>Registers the metrics.</summary>
    public void AddTo(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.tcp.connections", "Connections of every kind, HTTP's among them.", () => limit.Total);
        if (kestrel.Value.Limits.MaxConcurrentConnections is { } most)
            metrics.Gauge("aglow.tcp.connections.limit", "How many connections there may be; Kestrel closes more at once.", () => most);
        metrics.Count("aglow.tcp.connections.refused", "Connections closed because their address had too many.", () => limit.Refused);
        limits.AddTo(metrics);
        metrics.Gauge(
            "aglow.calls.bytes",
            "Memory of bodies and answers of large calls that are under way, and of socket messages that are not whole.",
            static () => CallMemory.Shared.Taken);
        metrics.Gauge(
            "aglow.calls.bytes.budget",
            "How much of it there may be; beyond it large calls are answered 503, and such sockets are closed.",
            static () => CallMemory.Shared.Most);
    }
}
