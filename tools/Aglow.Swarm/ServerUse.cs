
namespace Aglow.Swarm;

/// <summary>
/// What the servers use, by their <c>/metrics</c>: CPU seconds of their processes (user and system), and resident memory. Unknown if one of
/// them does not say.
/// </summary>
/// <remarks>Threading: one thread asks; any thread reads.</remarks>
internal sealed class ServerUse(SwarmRun swarm)
{
    private const string Cpu = "process_cpu_seconds_total";
    private const string Memory = "process_resident_memory_bytes";
    private const string Start = "process_start_time_seconds";

    private double _started;
    private (double At, double Cpu)? _steady;
    private (double At, double Cpu)? _last;

    /// <summary>Share of one core, all servers together, since the previous question.</summary>
    public double? CpuPercent { get; private set; }

    /// <summary>Share of one core, all servers together, since the run is steady.</summary>
    public double? SteadyCpuPercent { get; private set; }

    /// <summary>Over how many seconds that was.</summary>
    public double SteadySeconds { get; private set; }

    /// <summary>All servers together.</summary>
    public double? Megabytes { get; private set; }

    public async Task AskAsync(CancellationToken stop)
    {
        try
        {
            double cpu = 0, memory = 0, started = 0;
            foreach (var node in swarm.Nodes)
            {
                var said = await node.MetricsAsync(stop);
                if (!said.TryGetValue(Cpu, out var seconds)
                    || !said.TryGetValue(Memory, out var bytes)
                    || !said.TryGetValue(Start, out var start))
                    return;
                cpu += seconds;
                memory += bytes;
                started += start;
            }

            var now = swarm.Clock.Now;
            Megabytes = Math.Round(memory / 1e6, 1);
            // a server was restarted, or a balancer answered for another
            if (started != _started)
                (_started, _last, _steady, CpuPercent, SteadyCpuPercent) = (started, null, null, null, null);
            if (_last is { } before)
                CpuPercent = Percent(before, now, cpu);
            if (now >= swarm.SteadyFrom)
                _steady ??= (now, cpu);
            if (_steady is { } steady && now > steady.At)
                (SteadyCpuPercent, SteadySeconds) = (Percent(steady, now, cpu), now - steady.At);
            _last = (now, cpu);
        }
        catch (Exception lost) when (SwarmRun.IsLoss(lost, stop))
        {
            swarm.Measures.CountError(lost);
        }
    }

    private static double Percent((double At, double Cpu) from, double now, double cpu) =>
        Math.Round(100 * (cpu - from.Cpu) / (now - from.At), 2);
}
