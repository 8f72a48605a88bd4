using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Aglow.Benchmarks;

/// <summary>The machine and the commit of the figures, without the names of machines or people.</summary>
internal sealed record Machine(
    string Processor, int Cores, double MemoryGib, string Kernel, string HugePages, string Runtime, string Commit)
{
    /// <summary>This machine and commit.</summary>
    public static Machine This() => new(
        FirstLine("/proc/cpuinfo", "model name"),
        Environment.ProcessorCount,
        Math.Round(Kilobytes(FirstLine("/proc/meminfo", "MemTotal")) / 1024.0 / 1024.0, 1),
        "Linux " + ReadOr("/proc/sys/kernel/osrelease", "unknown"),
        ReadOr("/sys/kernel/mm/transparent_hugepage/enabled", "unknown"),
        RuntimeInformation.FrameworkDescription,
        CommitOr("unknown"));

    /// <summary>The folder of the repository, or the current folder.</summary>
    public static string Root()
    {
        for (var at = new DirectoryInfo(AppContext.BaseDirectory); at is not null; at = at.Parent)
        {
            if (File.Exists(Path.Combine(at.FullName, "Aglow.slnx")))
                return at.FullName;
        }

        return Environment.CurrentDirectory;
    }

    public override string ToString() =>
        $"{Processor}, {Cores} cores, {MemoryGib} GiB; {Kernel}; huge pages {HugePages}; {Runtime}; "
            + $"commit {Commit}";

    private static string FirstLine(string file, string key)
    {
        if (!File.Exists(file))
            return "unknown";
        var line = File.ReadLines(file).FirstOrDefault(l => l.StartsWith(key, StringComparison.Ordinal));
        return line is null ? "unknown" : line[(line.IndexOf(':') + 1)..].Trim();
    }

    private static string ReadOr(string file, string otherwise) => File.Exists(file) ? File.ReadAllText(file).Trim() : otherwise;

    private static long Kilobytes(string text) =>
        long.TryParse(text.Split(' ')[0], out var number) ? number : 0;

    private static string CommitOr(string otherwise)
    {
        try
        {
            var commit = Git("rev-parse --short=12 HEAD");
            if (commit is null)
                return otherwise;
            return Git("status --porcelain") is { Length: > 0 } ? commit + " and changes" : commit;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return otherwise;
        }
    }

    private static string? Git(string arguments)
    {
        using var git = Process.Start(new ProcessStartInfo("git", arguments)
        {
            WorkingDirectory = Root(),
            RedirectStandardOutput = true,
            UseShellExecute = false,
            RedirectStandardError = true,
        })!;
        var answer = git.StandardOutput.ReadToEnd().Trim();
        git.WaitForExit();
        return git.ExitCode == 0 ? answer : null;
    }
}
