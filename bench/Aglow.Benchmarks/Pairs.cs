using System.Diagnostics;

namespace Aglow.Benchmarks;

/// <summary>The work and the cost of one leg.</summary>
/// <param name="Operations">The number of operations.</param>
/// <param name="Seconds">The wall-clock time.</param>
/// <param name="CpuSeconds">CPU seconds of the measured process, all threads.</param>
internal readonly record struct Sample(double Operations, double Seconds, double CpuSeconds)
{
    /// <summary>Operations a second.</summary>
    public double Rate => Operations / Seconds;

    /// <summary>CPU nanoseconds per operation.</summary>
    public double CpuNanoseconds => CpuSeconds * 1e9 / Operations;

    /// <summary>Wall-clock nanoseconds per operation.</summary>
    public double Nanoseconds => Seconds * 1e9 / Operations;

    /// <summary>The number of cores that were busy.</summary>
    public double CoresBusy => CpuSeconds / Seconds;

    /// <summary>Measures work in this process.</summary>
    public static Sample Of(double operations, Action work)
    {
        var cpu = Cpu.OfThisProcess();
        var began = Stopwatch.GetTimestamp();
        work();
        var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        return new Sample(operations, seconds, Cpu.OfThisProcess() - cpu);
    }

    /// <summary>Measures work by the CPU seconds that <paramref name="cpu"/> reads.</summary>
    public static async Task<Sample> OfAsync(Func<double> cpu, Func<Task> work, double operations = 1)
    {
        var before = cpu();
        var began = Stopwatch.GetTimestamp();
        await work();
        var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        return new Sample(operations, seconds, cpu() - before);
    }
}

/// <summary>One of the two compared things: runs once, and returns its work and cost.</summary>
internal sealed record Leg(string Name, Func<Task<Sample>> RunAsync)
{
    /// <summary>A leg that does not wait.</summary>
    public Leg(string name, Func<Sample> run)
        : this(name, () => Task.FromResult(run()))
    {
    }
}

/// <summary>
/// Runs two legs in turn, A B B A A B …, so that a machine that is slow for a minute is slow for both. Ratios are computed pair by pair.
/// </summary>
internal sealed class Pairs(Leg a, Leg b)
{
    public Leg A => a;

    public Leg B => b;

    public List<Sample> SamplesA { get; } = [];

    public List<Sample> SamplesB { get; } = [];

    /// <summary>Runs both legs until <paramref name="warmUp"/> has passed, each at least once, and then in pairs.</summary>
    public static async Task<Pairs> RunAsync(Leg a, Leg b, long pairs, TimeSpan warmUp)
    {
        var began = Stopwatch.GetTimestamp();
        do
        {
            await a.RunAsync();
            await b.RunAsync();
        }
        while (Stopwatch.GetElapsedTime(began) < warmUp);

        var result = new Pairs(a, b);
        for (var i = 0; i < pairs; i++)
        {
            if (i % 2 == 0)
                result.SamplesA.Add(await a.RunAsync());
            result.SamplesB.Add(await b.RunAsync());
            if (i % 2 == 1)
                result.SamplesA.Add(await a.RunAsync());
        }

        return result;
    }

    /// <summary>A's cost divided by B's, pair by pair: 0.1 means that A costs a tenth.</summary>
    public double[] Ratios(Func<Sample, double> cost) => [.. SamplesA.Zip(SamplesB, (a, b) => cost(a) / cost(b))];
}
