namespace Aglow.Swarm;

/// <summary>Figures besides the truth: counts, latencies and failures. Threading: any thread.</summary>
internal sealed class Measures
{
    private long _deliveries, _transitions, _heartbeats, _errors, _connects, _accountChanges, _claims;
    private string _lastError = "";

    /// <summary>From sending the act that brings a user online until each watcher receives the change.</summary>
    public Latencies NoticeLatency { get; } = new();

    /// <summary>From sending a heartbeat over HTTP, or from the due time of packed ones, to its acknowledgement.</summary>
    public Latencies HeartbeatLatency { get; } = new();

    /// <summary>The same, but only since the figures are steady; see <see cref="SwarmRun.SteadyFrom"/>.</summary>
    public Latencies SteadyHeartbeatLatency { get; } = new();

    /// <summary>The latency of batch reads.</summary>
    public Latencies ReadLatency { get; } = new();

    public long Deliveries => Volatile.Read(ref _deliveries);

    public long Transitions => Volatile.Read(ref _transitions);

    public long Heartbeats => Volatile.Read(ref _heartbeats);

    public long Connects => Volatile.Read(ref _connects);

    /// <summary>Renames, revocations and deletions that were acknowledged.</summary>
    public long AccountChanges => Volatile.Read(ref _accountChanges);

    /// <summary>Claims that were set or removed, and acknowledged.</summary>
    public long Claims => Volatile.Read(ref _claims);

    /// <summary>
    /// Calls and connections that failed. These are not violations, because the outcome of an unacknowledged call is unknown.
    /// </summary>
    public long Errors => Volatile.Read(ref _errors);

    public string LastError => Volatile.Read(ref _lastError);

    public void CountDelivery() => Interlocked.Increment(ref _deliveries);

    public void CountTransition() => Interlocked.Increment(ref _transitions);

    public void CountHeartbeats(int count) => Interlocked.Add(ref _heartbeats, count);

    public void CountConnect() => Interlocked.Increment(ref _connects);

    public void CountAccountChange() => Interlocked.Increment(ref _accountChanges);

    public void CountClaim() => Interlocked.Increment(ref _claims);

    public void CountError(Exception error)
    {
        Interlocked.Increment(ref _errors);
        Volatile.Write(ref _lastError, error.Message.ReplaceLineEndings(" "));
    }
}

/// <summary>One second of a run, for the plots.</summary>
internal sealed record Sample
{
    public required double At { get; init; }

    public required int Online { get; init; }

    /// <summary>Per second, as are the next two.</summary>
    public required double Heartbeats { get; init; }

    public required double Transitions { get; init; }

    public required double Deliveries { get; init; }

    /// <summary>For the run so far, as are the next two.</summary>
    public required double NoticeP50Ms { get; init; }

    public required double NoticeP99Ms { get; init; }

    public required double HeartbeatP99Ms { get; init; }

    /// <summary>Of one core, for all servers together; null if a server does not report it.</summary>
    public required double? ServersCpuPercent { get; init; }

    public required double? ServersMegabytes { get; init; }

    /// <summary>For the run so far, as are the violations.</summary>
    public required long Errors { get; init; }

    public required long Violations { get; init; }
}
