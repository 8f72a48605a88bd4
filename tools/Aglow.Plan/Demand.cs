namespace Aglow.Plan;

/// <summary>How heartbeats arrive.</summary>
internal enum Arrival
{
    /// <summary>Each user has a WebSocket; the answer to its ping is the heartbeat.</summary>
    Sockets,

    /// <summary>One HTTP request per heartbeat.</summary>
    Http,

    /// <summary>A gateway collects them: 1,000 users per request.</summary>
    Packed,
}

/// <summary>The load to plan for.</summary>
internal sealed record Demand
{
    /// <summary>Users active at any moment.</summary>
    public double Active { get; init; } = 5e6;

    /// <summary>Users ever seen.</summary>
    public double Registered { get; init; } = 10e6;

    /// <summary>Seconds between heartbeats.</summary>
    public double HeartbeatSeconds { get; init; } = 10;

    /// <summary>Seconds that a user stays online.</summary>
    public double SessionSeconds { get; init; } = 1200;

    /// <summary>Users that a connection watches.</summary>
    public double Watch { get; init; } = 100;

    /// <summary>Connections that watch a user; null: derived from <see cref="Watch"/>, evenly over all registered users.</summary>
    public double? Watchers { get; init; }

    /// <summary>How heartbeats arrive.</summary>
    public Arrival Arrival { get; init; } = Arrival.Sockets;

    /// <summary>Open connections; null: all active users if heartbeats arrive by sockets, else none.</summary>
    public double? SocketCount { get; init; }

    /// <summary>Cores of a node.</summary>
    public double NodeCores { get; init; } = 2;

    /// <summary>Memory of a node in bytes.</summary>
    public double NodeBytes { get; init; } = 8e9;

    /// <summary>The most connections of one node, because all of them reconnect when it dies.</summary>
    public double NodeSockets { get; init; } = 100_000;

    /// <summary>Memory of a Redis server in bytes.</summary>
    public double RedisBytes { get; init; } = 16e9;

    /// <summary>The allowed load of a core, a memory or a link. The rest is for peaks, and for the load of a dead node.</summary>
    public double Busy { get; init; } = 0.5;

    /// <summary>Bits a second of a machine's link.</summary>
    public double LinkBits { get; init; } = 1e9;

    /// <summary>The number of open connections.</summary>
    public double Sockets => SocketCount ?? (Arrival == Arrival.Sockets ? Active : 0);

    /// <summary>The same demand with this many times as many people.</summary>
    public Demand Times(double factor) =>
        this with { Active = Active * factor, Registered = Registered * factor, SocketCount = SocketCount * factor };
}
