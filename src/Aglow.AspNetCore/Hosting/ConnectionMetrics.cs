using Aglow.AspNetCore.Http;
using Aglow.Diagnostics;

namespace Aglow.AspNetCore.Hosting;

/// <summary>What the metrics tell of connections before they are served, and of the memory that serving them takes.</summary>
internal sealed class ConnectionMetrics(ConnectionLimit limit, HeadTimeouts heads, BodyTimeouts bodies)
{
    /// <summary>Adds them.</summary>
    public void AddTo(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.tcp.connections", "Connections of every kind, HTTP's among them.", () => limit.Total);
        metrics.Gauge("aglow.tcp.connections.held", "Connections that have not sent the whole head of a request yet.", () => limit.Held);
        metrics.Gauge("aglow.tcp.connections.room", "How many connections there are descriptors for.", () => limit.MostInAll);
        metrics.Gauge("aglow.calls.bytes", "Memory of bodies and answers of large calls that are under way, and of socket messages that are not whole.", static () => CallMemory.Shared.Taken);
        metrics.Gauge("aglow.calls.bytes.budget", "How much of it there may be; beyond it large calls are answered 503, and such sockets are closed.", static () => CallMemory.Shared.Most);
        Closed("address", () => limit.Closed(ClosedFor.Address));
        Closed("room", () => limit.Closed(ClosedFor.Room));
        Closed("silence", () => limit.Closed(ClosedFor.Silence));
        Closed("head", () => limit.Closed(ClosedFor.Slowness) + heads.GivenUp);
        Closed("body", () => bodies.GivenUp);

        void Closed(string reason, Func<long> read) =>
            metrics.Count("aglow.tcp.connections.closed", "Connections closed without having been served: too many of an address, no descriptors, silence, a head or a body too slow.", read, ("reason", reason));
    }
}
