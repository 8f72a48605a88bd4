using System.Diagnostics;
using System.Reflection;

namespace Aglow.Client.Tests;

/// <summary><c>samples/ChatApp</c> as people run it: a process on a free port, on a folder of its own, ended at the end.</summary>
internal sealed class ChatAppProcess : IAsyncDisposable
{
    private const string Ready = "Now listening on: ";

    // long, because a machine that builds at the same time is slow
    private static readonly TimeSpan StartsWithin = TimeSpan.FromMinutes(1);

    private readonly string _folder;
    private readonly Process _process;

    private ChatAppProcess(string folder, Process process)
    {
        _folder = folder;
        _process = process;
    }

    public Uri Address { get; private set; } = null!;

    public static async Task<ChatAppProcess> StartAsync()
    {
        var program = typeof(ChatAppProcess).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .Single(static a => a.Key == "ChatApp").Value!;
        var folder = Directory.CreateTempSubdirectory("aglow-chat-").FullName;
        string[] arguments =
        [
            program,
            "--urls",
            "http://127.0.0.1:0",
            $"--Aglow:DataDirectory={folder}",
            "--Aglow:LeaseSeconds=6",
            "--Aglow:HeartbeatSeconds=2"
        ];
        // bin/Release/net10.0 is in the folder of the sample, where its page is
        var project = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(program)!, "..", "..", ".."));
        var app = new ChatAppProcess(folder, Process.Start(new ProcessStartInfo("dotnet", arguments)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            WorkingDirectory = project,
        })!);
        await app.ReadyAsync();
        return app;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            _process.Kill();
        await _process.WaitForExitAsync();
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task ReadyAsync()
    {
        using var limit = new CancellationTokenSource(StartsWithin);
        while (await _process.StandardOutput.ReadLineAsync(limit.Token) is { } line)
        {
            if (line.IndexOf(Ready, StringComparison.Ordinal) is var at and >= 0)
            {
                Address = new Uri(line[(at + Ready.Length)..]);
                // what else it says is read away
                _ = _process.StandardOutput.BaseStream.CopyToAsync(Stream.Null);
                return;
            }
        }

        throw new InvalidOperationException("The sample did not start.");
    }
}
