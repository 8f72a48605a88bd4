namespace Aglow.Benchmarks.Sockets;

/// <summary>The phase of a connection.</summary>
internal enum Phase : byte
{
    Connecting,
    Upgrading,
    Opening,
    Watching,
    Ready,
    Lost,
}

/// <summary>One TCP connection of the load generator, with partly received and partly sent data.</summary>
internal sealed class Connection(int tag, int descriptor)
{
    /// <summary>The ID in epoll.</summary>
    public int Tag { get; } = tag;

    public int Descriptor { get; } = descriptor;

    public Phase Phase { get; set; }

    /// <summary>The plan whose socket <see cref="Socket"/> this is; null for a connection that makes changes.</summary>
    public WatchPlan? Plan { get; set; }

    public int Socket { get; set; }

    /// <summary>Records of the snapshot that have not arrived.</summary>
    public int Awaited { get; set; }

    /// <summary>Whether it uses HTTP; then <see cref="IsRequested"/> says whether an answer is due.</summary>
    public bool IsHttp { get; set; }

    public bool IsRequested { get; set; }

    /// <summary>The beginning of a frame or an answer whose end has not arrived.</summary>
    public byte[]? Rest { get; set; }

    /// <summary>Bytes that the kernel has not accepted yet.</summary>
    public byte[]? Unsent { get; set; }
}
