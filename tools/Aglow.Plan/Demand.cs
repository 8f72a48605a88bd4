namespace Aglow.Plan;

/// <summary>How heartbeats arrive.</summary>
internal enum Arrival
{
    /// <summary>Everybody holds a WebSocket; answering its ping is the heartbeat.</summary>
    Sockets,

    /// <summary>One HTTP request for each heartbeat.</summary>
    Http,

    /// <summary>A gateway gathers them: 1,000 users a request.</summary>
    Packed,
}

/// <summary>The load to plan for.</summary>
internal sealed record Demand
{
    /// <summary>Users active at any moment.</summary>
    public double Active { get; init; } = 5e6;

    /// <summary>Users ever seen.</summary>
    public double Registered { get; init; } = 10e6;

    /// <summary>Seconds from heartbeat to heartbeat.</summary>
    public double HeartbeatSeconds { get; init; } = 10;

    /// <summary>Seconds that a user stays online.</summary>
    public double SessionSeconds { get; init; } = 1200;

    /// <summary>Users that a connection watches.</summary>
    public double Watch { get; init; } = 100;

    /// <summary>Connections that watch a user; null: as <see cref="Watch"/> says, spread evenly over all registered users.</summary>
    public double? Watchers { get; init; }

    /// <summary>How heartbeats arrive.</summary>
    public Arrival Arrival { get; init; } = Arrival.Sockets;

    /// <summary>Open connections; null: all active users if heartbeats arrive by sockets, else none.</summary>
    public double? SocketCount { get; init; }

    /// <summary>Cores of a node.</summary>
    public double NodeCores { get; init; } = 2;

    /// <summary>Memory of a node, in bytes.</summary>
    public double NodeBytes { get; init; } = 8e9;

    /// <summary>The most connections of one node: all of them reconnect when it dies.</summary>
    public double NodeSockets { get; init; } = 100_000;

    /// <summary>Memory of a Redis server, in bytes.</summary>
    public double RedisBytes { get; init; } = 16e9;

    /// <summary>How busy a core, a memory or a link may be. The rest is for peaks, and for the load of a dead node.</summary>
    public double Busy { get; init; } = 0.5;

    /// <summary>Bits a second of a machine's link.</summary>
    public double LinkBits { get; init; } = 1e9;

    /// <summary>Open connections in numbers.</summary>
    public double Sockets => SocketCount ?? (Arrival == Arrival.Sockets ? Active : 0);

    /// <summary>The same with this many times as many people.</summary>
    public Demand Times(double factor) =>
        this with { Active = Active * factor, Registered = Registered * factor, SocketCount = SocketCount * factor };
}
