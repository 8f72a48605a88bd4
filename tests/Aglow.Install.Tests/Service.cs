using System.Diagnostics;
using System.Globalization;
using System.Net.Http.Json;
using System.Text;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Aglow.Install.Tests;

/// <summary>A program that runs as root, or that root starts as another user, until the test ends it.</summary>
internal sealed partial class Service : IAsyncDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(2);

    private readonly Process _process;
    private readonly StringBuilder _output = new();
    private readonly TaskCompletionSource<int> _id = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<Uri> _ready = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private Service(Process process) => _process = process;

    /// <summary>The process. Every program before it on the command line must replace itself with the next one (exec).</summary>
    public int Id => _id.Task.Result;

    public string Output
    {
        get
        {
            lock (_output)
                return _output.ToString();
        }
    }

    /// <summary>Starts it. The line <paramref name="ready"/> says that it is ready, and names its address as "url" if it has one.</summary>
    public static async Task<Service> StartAsync(string[] command, Regex? ready = null)
    {
        // sudo would stand between, so the program says its own number
        string[] all = [.. Tool.AsRoot, "sh", "-c", "echo process $$; exec \"$@\"", "sh", .. command];
        var process = Process.Start(new ProcessStartInfo(all[0], all[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        var service = new Service(process);
        process.OutputDataReceived += (_, line) => service.Receive(line.Data, ready ?? ReadyLine());
        process.ErrorDataReceived += (_, line) => service.Receive(line.Data, ready ?? ReadyLine());
        process.BeginOutputReadLine();
        process.BeginErrorReadLine();
        using var limit = new CancellationTokenSource(Limit);
        if (await Task.WhenAny(service._ready.Task, process.WaitForExitAsync(limit.Token)) != service._ready.Task)
            throw new InvalidOperationException($"It did not start: {service.Output}");
        return service;
    }

    /// <summary>Sends a heartbeat and reads the status; both must succeed.</summary>
    public async Task AnswersAsync(string? token = null)
    {
        using var http = new HttpClient { BaseAddress = await _ready.Task };
        if (token is not null)
            http.DefaultRequestHeaders.Authorization = new("Bearer", token);
        (await http.PostAsJsonAsync("/heartbeat", new { user_id = "ann" })).EnsureSuccessStatusCode();
        JsonNode.Parse(await http.GetStringAsync("/status/ann"))!["status"]!.GetValue<string>().ShouldBe("online");
    }

    /// <summary>A file of the process under <c>/proc</c>.</summary>
    public Task<string> ProcAsync(string name) =>
        Tool.RunAsync([.. Tool.AsRoot, "cat", string.Create(CultureInfo.InvariantCulture, $"/proc/{Id}/{name}")]);

    /// <summary>Stops it; returns the exit code.</summary>
    public async Task<int> StopAsync(string signal = "TERM")
    {
        await Tool.RunAsync([.. Tool.AsRoot, "kill", "-s", signal, Id.ToString(CultureInfo.InvariantCulture)]);
        using var limit = new CancellationTokenSource(Limit);
        await _process.WaitForExitAsync(limit.Token);
        return _process.ExitCode;
    }

    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
            await StopAsync("KILL");
        _process.Dispose();
    }

    private void Receive(string? line, Regex ready)
    {
        lock (_output)
            _output.Append(line).Append('\n');
        if (line?.Split(' ') is ["process", var number])
            _id.TrySetResult(int.Parse(number, CultureInfo.InvariantCulture));
        if (ready.Match(line ?? "") is { Success: true } match)
            _ready.TrySetResult(new Uri(match.Groups["url"] is { Success: true } url ? url.Value : "http://127.0.0.1/"));
    }

    [GeneratedRegex(@"Ready on (?<url>https?://[^ ,]+?)(,|: data)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex ReadyLine();
}
