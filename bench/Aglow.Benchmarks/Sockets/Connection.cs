namespace Aglow.Benchmarks.Sockets;

/// <summary>How far a connection has come.</summary>
internal enum Phase : byte
{
    Connecting,
    Upgrading,
    Opening,
    Watching,
    Ready,
    Closing,
    Lost,
}

/// <summary>One TCP connection of the load generator, with what is half received or half sent.</summary>
internal sealed class Connection(int tag, int descriptor)
{
    /// <summary>Its id in epoll.</summary>
    public int Tag { get; } = tag;

    public int Descriptor { get; } = descriptor;

    public Phase Phase { get; set; }

    /// <summary>What it watches: socket <see cref="Socket"/> of this plan; null for one that makes changes.</summary>
    public WatchPlan? Plan { get; set; }

    public int Socket { get; set; }

    /// <summary>Records of the snapshot that have not come.</summary>
    public int Awaited { get; set; }

    /// <summary>Whether it speaks HTTP, and whether an answer is due.</summary>
    public bool IsHttp { get; set; }

    public bool IsAsked { get; set; }

    /// <summary>The beginning of a frame or an answer whose end has not come.</summary>
    public byte[]? Rest { get; set; }

    /// <summary>Bytes that the kernel has not accepted yet.</summary>
    public byte[]? Unsent { get; set; }
}
