namespace Aglow.Swarm;

/// <summary>A count. Threading: any thread.</summary>
internal sealed class Counter
{
    private long _value;

    public static implicit operator long(Counter counter) => Volatile.Read(ref counter._value);

    public void Add(int count = 1) => Interlocked.Add(ref _value, count);
}

/// <summary>Figures besides the truth: counts, latencies and failures. Threading: any thread.</summary>
internal sealed class Measures
{
    private string _lastError = "";

    /// <summary>From sending the act that brings a user online until each watcher receives the change.</summary>
    public Latencies NoticeLatency { get; } = new();

    /// <summary>From sending a heartbeat over HTTP, or from the due time of packed ones, to its acknowledgement.</summary>
    public Latencies HeartbeatLatency { get; } = new();

    /// <summary>The same, but only since the figures are steady; see <see cref="SwarmRun.SteadyFrom"/>.</summary>
    public Latencies SteadyHeartbeatLatency { get; } = new();

    /// <summary>The latency of batch reads.</summary>
    public Latencies ReadLatency { get; } = new();

    public Counter Deliveries { get; } = new();

    public Counter Transitions { get; } = new();

    public Counter Heartbeats { get; } = new();

    public Counter Connects { get; } = new();

    /// <summary>Renames, revocations and deletions that were acknowledged.</summary>
    public Counter AccountChanges { get; } = new();

    /// <summary>Claims that were set or removed, and acknowledged.</summary>
    public Counter Claims { get; } = new();

    /// <summary>
    /// Calls and connections that failed. These are not violations, because the outcome of an unacknowledged call is unknown.
    /// </summary>
    public Counter Errors { get; } = new();

    public string LastError => Volatile.Read(ref _lastError);

    public void CountError(Exception error)
    {
        Errors.Add();
        Volatile.Write(ref _lastError, error.Message.ReplaceLineEndings(" "));
    }
}

/// <summary>
/// One second of a run, for the plots. Heartbeats, transitions and deliveries are per second; latencies, errors and violations are of the
/// run so far. CPU is of one core and memory of all servers together; null if a server does not report them.
/// </summary>
internal sealed record Sample(
    double At,
    int Online,
    double Heartbeats,
    double Transitions,
    double Deliveries,
    double NoticeP50Ms,
    double NoticeP99Ms,
    double HeartbeatP99Ms,
    double? ServersCpuPercent,
    double? ServersMegabytes,
    long Errors,
    long Violations);
