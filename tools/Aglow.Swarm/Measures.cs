namespace Aglow.Swarm;

/// <summary>What is measured besides the truth: how much happened, how fast, and what went wrong. Threading: any thread.</summary>
internal sealed class Measures
{
    private long _deliveries, _transitions, _heartbeats, _errors, _connects;
    private string _lastError = "";

    /// <summary>From the sending of the act that brings somebody online to each watcher's notice of it.</summary>
    public Latencies NoticeLatency { get; } = new();

    /// <summary>From the sending of a heartbeat over HTTP to its acknowledgement.</summary>
    public Latencies HeartbeatLatency { get; } = new();

    /// <summary>Batch reads.</summary>
    public Latencies ReadLatency { get; } = new();

    public long Deliveries => Volatile.Read(ref _deliveries);

    public long Transitions => Volatile.Read(ref _transitions);

    public long Heartbeats => Volatile.Read(ref _heartbeats);

    public long Connects => Volatile.Read(ref _connects);

    /// <summary>Calls and connections that failed. No violation: what was not acknowledged is maybe.</summary>
    public long Errors => Volatile.Read(ref _errors);

    public string LastError => Volatile.Read(ref _lastError);

    public void CountDelivery() => Interlocked.Increment(ref _deliveries);

    public void CountTransition() => Interlocked.Increment(ref _transitions);

    public void CountHeartbeat() => Interlocked.Increment(ref _heartbeats);

    public void CountConnect() => Interlocked.Increment(ref _connects);

    public void CountError(Exception error)
    {
        Interlocked.Increment(ref _errors);
        Volatile.Write(ref _lastError, error.Message.ReplaceLineEndings(" "));
    }
}

/// <summary>One second of a run, for the plots.</summary>
internal sealed record Sample(double At, int Online, double Transitions, double Deliveries, double NoticeP50Ms, double NoticeP99Ms, double HeartbeatP99Ms, long Errors, long Violations);
