using System.Collections.ObjectModel;
using System.Reflection;
using Aglow.Packages.Tests;

namespace Aglow.Client.Tests;

/// <summary><c>samples/ChatApp</c> as people run it: a process on a free port, on a folder of its own, ended at the end.</summary>
internal sealed class ChatAppProcess : IAsyncDisposable
{
    private readonly string _folder;
    private readonly Listening _app;

    private ChatAppProcess(string folder, Listening app) => (_folder, _app) = (folder, app);

    public Uri Address => _app.Address;

    public static async Task<ChatAppProcess> StartAsync(int leaseSeconds)
    {
        var program = typeof(ChatAppProcess).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>()
            .Single(static a => a.Key == "ChatApp").Value!;
        var folder = Directory.CreateTempSubdirectory("aglow-chat-").FullName;
        // bin/Release/net10.0 is in the folder of the sample, where its page is
        var project = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(program)!, "..", "..", ".."));
        return new ChatAppProcess(folder, await Listening.StartAsync(
            project, ReadOnlyDictionary<string, string>.Empty, "Now listening on: ", "dotnet", program, "--urls", "http://127.0.0.1:0",
            $"--Aglow:DataDirectory={folder}", $"--Aglow:LeaseSeconds={leaseSeconds}", "--Aglow:HeartbeatSeconds=2"));
    }

    public async ValueTask DisposeAsync()
    {
        await _app.DisposeAsync();
        Directory.Delete(_folder, recursive: true);
    }
}
