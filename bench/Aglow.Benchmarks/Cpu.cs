using System.Diagnostics;
using System.Globalization;

namespace Aglow.Benchmarks;

/// <summary>CPU seconds: user and system, all threads. Steadier than throughput on a machine with other users.</summary>
internal static class Cpu
{
    // Linux counts in hundredths of a second here, on every architecture that .NET supports (USER_HZ)
    private const double TicksPerSecond = 100;

    /// <summary>CPU seconds of this process, in the kernel's nanoseconds, so that short legs can be compared.</summary>
    public static double OfThisProcess() => Environment.CpuUsage.TotalTime.TotalSeconds;

    /// <summary>
    /// CPU seconds of any process, from <c>/proc/PID/stat</c>, in hundredths; with those of its ended children on request. Legs should cost
    /// a second or more.
    /// </summary>
    public static double Of(int process, bool withChildren = false)
    {
        var stat = File.ReadAllText($"/proc/{process}/stat");
        // the name, in brackets, may contain any character; the state (field 3) follows it
        var fields = stat[(stat.LastIndexOf(')') + 2)..].Split(' ');
        var ticks = Field(14) + Field(15) + (withChildren ? Field(16) + Field(17) : 0);
        return ticks / TicksPerSecond;

        long Field(int number) => long.Parse(fields[number - 3]);
    }

    /// <summary>
    /// CPU seconds of a server with one process per connection: of the server itself, and of its live and ended processes.
    /// </summary>
    public static double OfTree(int process)
    {
        var all = Of(process, withChildren: true);
        foreach (var child in ChildrenOf(process))
        {
            try
            {
                all += Of(child);
            }
            catch (IOException)
            {
                // the process ended in the meantime
            }
        }

        return all;
    }

    /// <summary>The processes that a process with one thread started, and that are alive.</summary>
    public static IEnumerable<int> ChildrenOf(int process) =>
        File.ReadAllText($"/proc/{process}/task/{process}/children").Split(' ', StringSplitOptions.RemoveEmptyEntries).Select(int.Parse);

    /// <summary>Resident bytes of a process, from <c>/proc/PID/status</c>.</summary>
    public static long ResidentBytes(int process) => Bytes($"/proc/{process}/status", "VmRSS:");

    /// <summary>Bytes of kernel objects that cannot be freed, sockets among them, of the whole machine.</summary>
    public static long KernelBytes() => Bytes("/proc/meminfo", "SUnreclaim:");

    /// <summary>Runs a full collection in this process; returns the remaining bytes of heap.</summary>
    public static long Collect()
    {
        for (var i = 0; i < 2; i++)
        {
            GC.Collect(2, GCCollectionMode.Aggressive, blocking: true, compacting: true);
            GC.WaitForPendingFinalizers();
        }

        return GC.GetTotalMemory(forceFullCollection: true);
    }

    private static long Bytes(string file, string key)
    {
        foreach (var line in File.ReadLines(file))
        {
            if (line.StartsWith(key, StringComparison.Ordinal))
            {
                var kilobytes = line.AsSpan(key.Length, line.Length - key.Length - " kB".Length);
                return long.Parse(
                    kilobytes, NumberStyles.AllowLeadingWhite | NumberStyles.AllowTrailingWhite, CultureInfo.InvariantCulture) * 1024;
            }
        }

        throw new BenchmarkException($"{file} does not say {key}");
    }
}

/// <summary>The cores of pinned processes, as masks; 0: any.</summary>
internal static class Cores
{
    /// <summary>The first core, for the measured server.</summary>
    public const int Server = 1;

    /// <summary>The second core, for this process or another load.</summary>
    public const int Load = 2;

    /// <summary>Pins this process to the core of the load, where there are two.</summary>
    public static void PinThisProcess()
    {
        if (OperatingSystem.IsLinux() && Environment.ProcessorCount > 1)
            Process.GetCurrentProcess().ProcessorAffinity = Load;
    }
}
