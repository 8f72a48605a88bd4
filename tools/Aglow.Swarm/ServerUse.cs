namespace Aglow.Swarm;

/// <summary>
/// The resources that the servers use, by their <c>/metrics</c>: CPU seconds (user and system), and resident memory. Unknown if a server
/// does not report them.
/// </summary>
/// <remarks>Threading: one thread updates; any thread reads.</remarks>
internal sealed class ServerUse(SwarmRun swarm)
{
    private const string Cpu = "process_cpu_seconds_total";
    private const string Memory = "process_resident_memory_bytes";
    private const string Start = "process_start_time_seconds";

    private double _started;
    private (double At, double Cpu)? _steady;
    private (double At, double Cpu)? _last;

    /// <summary>Percent of one core, all servers together, since the previous reading.</summary>
    public double? CpuPercent { get; private set; }

    /// <summary>Percent of one core, all servers together, since the run is steady.</summary>
    public double? SteadyCpuPercent { get; private set; }

    /// <summary>The number of seconds of <see cref="SteadyCpuPercent"/>.</summary>
    public double SteadySeconds { get; private set; }

    /// <summary>The memory of all servers together.</summary>
    public double? Megabytes { get; private set; }

    public async Task ReadAsync(CancellationToken stop)
    {
        double cpu = 0, memory = 0, started = 0;
        foreach (var node in swarm.Nodes)
        {
            var metrics = await node.MetricsAsync(stop);
            if (!metrics.TryGetValue(Cpu, out var seconds)
                || !metrics.TryGetValue(Memory, out var bytes)
                || !metrics.TryGetValue(Start, out var start))
                return;
            cpu += seconds;
            memory += bytes;
            started += start;
        }

        var now = swarm.Clock.Now;
        Megabytes = Math.Round(memory / 1e6, 1);
        // a server was restarted, or a balancer sent the call to another server
        if (started != _started)
            (_started, _last, _steady, CpuPercent, SteadyCpuPercent) = (started, null, null, null, null);
        if (_last is { } before)
            CpuPercent = Percent(before, now, cpu);
        if (now >= swarm.SteadyFrom)
            _steady ??= (now, cpu);
        if (_steady is { } steady && now > steady.At)
            (SteadyCpuPercent, SteadySeconds) = (Percent(steady, now, cpu), Math.Round(now - steady.At, 1));
        _last = (now, cpu);
    }

    private static double Percent((double At, double Cpu) from, double now, double cpu) =>
        Math.Round(100 * (cpu - from.Cpu) / (now - from.At), 2);
}
