using System.Diagnostics;
using System.Runtime.InteropServices;

namespace Aglow.Benchmarks;

/// <summary>A process that a benchmark starts: this program with a hidden verb, or a peer. It is killed when disposed.</summary>
internal sealed partial class Child : IDisposable
{
    // numbers of signals
    private const int Interrupted = 2, Terminated = 15, Continued = 18, Stopped = 19;

    private Child(Process process) => Process = process;

    /// <summary>The process. Its output can be read; its errors go to the terminal.</summary>
    public Process Process { get; }

    /// <summary>The command that starts this program again: <c>dotnet Aglow.Benchmarks.dll</c>, or the program itself.</summary>
    public static string[] OwnCommand { get; } = Path.GetFileNameWithoutExtension(Environment.ProcessPath) == "dotnet"
        ? [Environment.ProcessPath!, Path.Combine(AppContext.BaseDirectory, "Aglow.Benchmarks.dll")]
        : [Environment.ProcessPath!];

    /// <summary>Starts this program again with a hidden verb (see Program.cs), on these cores (a mask; 0: any).</summary>
    public static Child Self(int cores, params IEnumerable<string> arguments) =>
        Start(OwnCommand[0], cores, [.. OwnCommand.Skip(1), .. arguments]);

    /// <summary>Starts a program whose idle threads sleep at once, as in aglow-server (its project file has the reason).</summary>
    public static Child Start(string program, int cores, params IEnumerable<string> arguments)
    {
        var start = Info(cores, [program, .. arguments]);
        start.Environment["DOTNET_ThreadPool_UnfairSemaphoreSpinLimit"] = "0";
        return Start(start);
    }

    /// <summary>Starts a program.</summary>
    public static Child Start(ProcessStartInfo start)
    {
        try
        {
            return new Child(Process.Start(start)!);
        }
        catch (System.ComponentModel.Win32Exception failure)
        {
            throw new BenchmarkException($"{start.FileName} does not start: {failure.Message}");
        }
    }

    /// <summary>How to start a program whose input and output are ours.</summary>
    public static ProcessStartInfo Info(int cores, string[] command)
    {
        // pinned before it starts, so that its runtime counts only these cores
        string[] all = cores == 0 ? command : ["taskset", $"{cores:x}", .. command];
        return new(all[0], all[1..]) { RedirectStandardInput = true, RedirectStandardOutput = true, UseShellExecute = false };
    }

    /// <summary>Reads a line of its output.</summary>
    public async Task<string> ReadLineAsync() =>
        await Process.StandardOutput.ReadLineAsync()
            ?? throw new BenchmarkException($"{Process.StartInfo.FileName} ended before it was ready.");

    /// <summary>Reads all further output, so that the process never blocks on a full pipe.</summary>
    public void DiscardOutput()
    {
        Process.OutputDataReceived += static (_, _) => { };
        Process.BeginOutputReadLine();
    }

    /// <summary>Sends an interrupt like Ctrl-C, for a server that does not end with its input.</summary>
    public void Interrupt() => _ = kill(Process.Id, Interrupted);

    /// <summary>Asks a process to stop.</summary>
    public void Terminate() => _ = kill(Process.Id, Terminated);

    /// <summary>Pauses a process, or resumes it.</summary>
    public static void Pause(int process, bool pause) => _ = kill(process, pause ? Stopped : Continued);

    public void Dispose()
    {
        try
        {
            // our programs end with their input, even if this program is killed
            Process.StandardInput.Close();
        }
        catch (IOException)
        {
            // the process has already ended, and printed the reason
        }

        if (!Process.WaitForExit(TimeSpan.FromSeconds(1)))
            Process.Kill(entireProcessTree: true);
        Process.WaitForExit();
        Process.Dispose();
    }

    [LibraryImport("libc")]
    private static partial int kill(int process, int signal);
}
