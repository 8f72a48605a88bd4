using System.Diagnostics;
using System.Net;
using System.Reflection;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.RegularExpressions;

namespace Aglow.Server.Tests;

/// <summary><c>./aglow serve</c> as in production: a process on a free port, with its own folder, which stops at the end.</summary>
/// <remarks>The kernel chooses the port; the line "Ready on" names it.</remarks>
internal sealed partial class AglowProcess : IAsyncDisposable
{
    public static readonly string Root =
        typeof(AglowProcess).Assembly.GetCustomAttributes<AssemblyMetadataAttribute>().Single(static a => a.Key == "RepositoryRoot").Value!;

    private static readonly string Aglow = Path.Combine(Root, "aglow");
    private static readonly string? Native =
        Environment.GetEnvironmentVariable("TEST_SERVER") is { Length: > 0 } native ? native : null;

    // generous, because the machine may be building at the same time; this is not a measured figure
    private static readonly TimeSpan StartsWithin = TimeSpan.FromMinutes(3);

    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly StringBuilder _errors = new();
    private readonly TaskCompletionSource<Uri> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly bool _ownsFolder;

    private AglowProcess(Process process, string folder, bool ownsFolder)
    {
        _process = process;
        Folder = folder;
        _ownsFolder = ownsFolder;
    }

    /// <summary>The data folder.</summary>
    public string Folder { get; }

    /// <summary>The address on which it listens.</summary>
    public Uri Address => _ready.Task.Result;

    public int Id => _process.Id;

    /// <summary>A client of the server; each has its own connections.</summary>
    public HttpClient Http { get; private set; } = null!;

    public string Output => Text(_output);

    public string Errors => Text(_errors);

    /// <summary>Starts a server and waits until it reports that it is ready.</summary>
    public static async Task<AglowProcess> StartAsync(string? folder = null, params string[] flags)
    {
        var server = Run(folder, flags);
        await server.ReadyAsync();
        return server;
    }

    /// <summary>Waits until it reports that it is ready.</summary>
    public async Task ReadyAsync()
    {
        if (await Task.WhenAny(_ready.Task, _process.WaitForExitAsync(), Task.Delay(StartsWithin)) != _ready.Task)
            throw new InvalidOperationException($"The server did not start: {Output} {Errors}");
        Http = Client();
    }

    /// <summary>Starts a server that is not expected to become ready.</summary>
    /// <param name="folder">The data folder; null: a new one.</param>
    /// <param name="flags">The flags after <c>serve</c>.</param>
    /// <param name="environment">Additional environment variables.</param>
    /// <param name="workingFolder">The working folder.</param>
    /// <param name="urls">The addresses on which it listens; null: other settings name them.</param>
    /// <param name="descriptors">The most file descriptors that it may open.</param>
    /// <param name="through">A program that starts it, with its arguments.</param>
    public static AglowProcess Run(
        string? folder, string[] flags, Dictionary<string, string>? environment = null, string? workingFolder = null,
        string? urls = "http://127.0.0.1:0", int? descriptors = null, string[]? through = null)
    {
        var own = folder is null;
        folder ??= NewFolder();
        string[] arguments = ["serve", .. urls is null ? Array.Empty<string>() : ["--urls", urls], "--data", folder, .. flags];
        var program = ProgramOf(arguments);
        if (descriptors is { } most)
            through = ["prlimit", $"--nofile={most}"];
        var process = through is null
            ? Launch(program, arguments, environment, workingFolder)
            : Launch(through[0], [.. through[1..], program, .. arguments], environment, workingFolder);
        return new AglowProcess(process, folder, own).Listen();
    }

    /// <summary>Runs <c>./aglow</c> with these arguments to its end.</summary>
    public static async Task<(int Code, string Output, string Errors)> RunToEndAsync(
        string[] arguments, Dictionary<string, string>? environment = null, string? workingFolder = null, string? program = null)
    {
        await using var run = new AglowProcess(
            Launch(program ?? ProgramOf(arguments), arguments, environment, workingFolder), "", ownsFolder: false).Listen();
        var code = await run.ExitAsync();
        return (code, run.Output, run.Errors);
    }

    /// <summary>Starts <c>./aglow</c> with these arguments. It is stopped at the end.</summary>
    public static AglowProcess Start(params string[] arguments) =>
        new AglowProcess(Launch(ProgramOf(arguments), arguments, null, null), "", ownsFolder: false).Listen();

    public static string NewFolder() => Directory.CreateTempSubdirectory("aglow-server-tests-").FullName;

    public HttpClient Client() =>
        new(new SocketsHttpHandler { UseCookies = false, AllowAutoRedirect = false, AutomaticDecompression = DecompressionMethods.None })
        {
            BaseAddress = Address,
            Timeout = TimeSpan.FromMinutes(1),
        };

    /// <summary>Sends a signal.</summary>
    public void Signal(int signal) => _ = kill(_process.Id, signal);

    /// <summary>Kills it, like a crash.</summary>
    public async Task KillAsync()
    {
        Signal(9);
        await ExitAsync();
    }

    /// <summary>Asks it to stop; returns the exit code.</summary>
    public async Task<int> StopAsync()
    {
        Signal(15);
        return await ExitAsync();
    }

    /// <summary>Waits until it has ended; returns the exit code.</summary>
    public async Task<int> ExitAsync()
    {
        using var limit = new CancellationTokenSource(StartsWithin);
        await _process.WaitForExitAsync(limit.Token);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        Http?.Dispose();
        if (!_process.HasExited)
            await KillAsync();
        _process.Dispose();
        if (_ownsFolder)
            Directory.Delete(Folder, recursive: true);
    }

    // The program under test: ./aglow, or the native file that ./test names in TEST_SERVER. That file is only the server.
    public static string ProgramOf(string[] arguments) => arguments is ["swarm", ..] ? Aglow : Native ?? Aglow;

    private static Process Launch(string program, string[] arguments, Dictionary<string, string>? environment, string? workingFolder)
    {
        // a background job runs with SIGINT ignored, and its child processes would inherit that
        var start = new ProcessStartInfo("env", ["--default-signal=INT", program, .. arguments])
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = workingFolder ?? Path.GetTempPath(),
        };
        foreach (var name in start.Environment.Keys.Where(static n => n.StartsWith("AGLOW_", StringComparison.Ordinal)).ToArray())
            start.Environment.Remove(name);
        foreach (var (name, value) in environment ?? [])
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    private AglowProcess Listen()
    {
        _process.OutputDataReceived += (_, line) =>
        {
            Add(_output, line.Data);
            if (ReadyLine().Match(line.Data ?? "") is { Success: true } ready)
                _ready.TrySetResult(new Uri(ready.Groups["url"].Value));
        };
        _process.ErrorDataReceived += (_, line) => Add(_errors, line.Data);
        _process.BeginOutputReadLine();
        _process.BeginErrorReadLine();
        return this;
    }

    private static void Add(StringBuilder text, string? line)
    {
        lock (text)
        {
            if (line is not null)
                text.Append(line).Append('\n');
        }
    }

    private static string Text(StringBuilder text)
    {
        lock (text)
            return text.ToString();
    }

    [GeneratedRegex(@"Ready on (?<url>https?://[^ ,]+?)(,|: data)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex ReadyLine();

    [LibraryImport("libc")]
    private static partial int kill(int pid, int signal);
}
