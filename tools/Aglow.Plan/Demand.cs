namespace Aglow.Plan;

/// <summary>How heartbeats arrive.</summary>
internal enum Arrival
{
    /// <summary>Everybody holds a WebSocket; answering its ping is the heartbeat.</summary>
    Sockets,

    /// <summary>A request each.</summary>
    Http,

    /// <summary>A gateway gathers them: 1,000 numbers a request.</summary>
    Packed,
}

/// <summary>What is planned for.</summary>
internal sealed record Demand
{
    /// <summary>Users active at any moment.</summary>
    public double Active { get; init; } = 5e6;

    /// <summary>Users ever seen.</summary>
    public double Registered { get; init; } = 10e6;

    /// <summary>Seconds from heartbeat to heartbeat.</summary>
    public double HeartbeatSeconds { get; init; } = 10;

    /// <summary>Seconds that somebody stays online.</summary>
    public double SessionSeconds { get; init; } = 1200;

    /// <summary>Users that a connection watches.</summary>
    public double Watch { get; init; } = 100;

    /// <summary>Connections on which a user is watched; null: by <see cref="Watch"/>, spread evenly over all who are registered.</summary>
    public double? Watchers { get; init; }

    /// <summary>How heartbeats arrive.</summary>
    public Arrival Arrival { get; init; } = Arrival.Sockets;

    /// <summary>Open connections; null: all who are active where heartbeats arrive by sockets, else none.</summary>
    public double? SocketCount { get; init; }

    /// <summary>Cores of a node.</summary>
    public double NodeCores { get; init; } = 2;

    /// <summary>Memory of a node, in bytes.</summary>
    public double NodeBytes { get; init; } = 8e9;

    /// <summary>Connections that one node is given at most: what has to reconnect when it dies.</summary>
    public double NodeSockets { get; init; } = 100_000;

    /// <summary>Memory of a Redis server, in bytes.</summary>
    public double RedisBytes { get; init; } = 16e9;

    /// <summary>How busy a core, a memory or a link may be: the rest is for peaks and for when another has died.</summary>
    public double Busy { get; init; } = 0.5;

    /// <summary>Bits a second of a machine's link.</summary>
    public double LinkBits { get; init; } = 1e9;

    /// <summary>Open connections in numbers.</summary>
    public double Sockets => SocketCount ?? (Arrival == Arrival.Sockets ? Active : 0);

    /// <summary>The same with so many times as many people.</summary>
    public Demand Times(double factor) => this with { Active = Active * factor, Registered = Registered * factor, SocketCount = SocketCount * factor };
}
