using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text.Json;
using System.Text.Json.Nodes;
using Aglow.AspNetCore.Endpoints;

namespace Aglow.Benchmarks.Page;

/// <summary>
/// Runs Debian's Chromium without a window; it ends when disposed. It uses the DevTools protocol directly, because only four commands are
/// needed. A library for it would be a hundred megabytes.
/// </summary>
internal sealed class Chromium : IAsyncDisposable
{
    private static readonly TimeSpan StartsWithin = TimeSpan.FromSeconds(60);

    private readonly Process _process;
    private readonly string _profile;
    private readonly HttpClient _http;

    private Chromium(Process process, string profile, HttpClient http)
    {
        _process = process;
        _profile = profile;
        _http = http;
    }

    public static async Task<Chromium> StartAsync()
    {
        var profile = Directory.CreateTempSubdirectory("aglow-bench-chromium-").FullName;
        string[] arguments =
        [
            "--headless=new", "--no-sandbox", "--no-first-run", "--disable-extensions", "--disable-component-update",
            "--disable-background-networking",
            "--remote-debugging-port=0", $"--user-data-dir={profile}", "about:blank",
        ];
        Process process;
        try
        {
            process = Process.Start(new ProcessStartInfo("chromium", arguments)
            {
                UseShellExecute = false,
                RedirectStandardError = true,
                RedirectStandardOutput = true,
            })!;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            throw new BenchmarkException("chromium is not installed: apt install chromium.");
        }

        process.BeginErrorReadLine();
        process.BeginOutputReadLine();
        // the browser writes the port that it chose into a file
        var file = Path.Combine(profile, "DevToolsActivePort");
        var began = Stopwatch.GetTimestamp();
        string[] lines = [];
        while (lines.Length < 2)
        {
            if (process.HasExited || Stopwatch.GetElapsedTime(began) > StartsWithin)
                throw new BenchmarkException("chromium did not start: run \"chromium --headless=new about:blank\" to see why.");
            await Task.Delay(TimeSpan.FromMilliseconds(50), TimeProvider.System);
            lines = File.Exists(file) ? await File.ReadAllLinesAsync(file) : [];
        }

        return new Chromium(process, profile, new HttpClient { BaseAddress = new Uri($"http://127.0.0.1:{lines[0]}") });
    }

    /// <summary>Opens a tab of this size, with an empty cache.</summary>
    public async Task<ChromiumTab> OpenAsync(int width, int height)
    {
        using var answer = await _http.PutAsync(new Uri("/json/new?about:blank", UriKind.Relative), null);
        var target = await answer.Content.ReadFromJsonAsync<JsonObject>();
        var tab = await ChromiumTab.ConnectAsync(new Uri(target!["webSocketDebuggerUrl"]!.GetValue<string>()));
        await tab.SendAsync("Network.setCacheDisabled", new JsonObject { ["cacheDisabled"] = true });
        await tab.SendAsync(
            "Emulation.setDeviceMetricsOverride",
            new JsonObject { ["width"] = width, ["height"] = height, ["deviceScaleFactor"] = 1, ["mobile"] = false });
        return tab;
    }

    public async ValueTask DisposeAsync()
    {
        _http.Dispose();
        _process.Kill(entireProcessTree: true);
        await _process.WaitForExitAsync();
        _process.Dispose();
        // helper processes may still be writing
        for (var attempt = 0; Directory.Exists(_profile) && attempt < 20; attempt++)
        {
            try
            {
                Directory.Delete(_profile, recursive: true);
            }
            catch (IOException)
            {
                await Task.Delay(TimeSpan.FromMilliseconds(100), TimeProvider.System);
            }
        }
    }
}

/// <summary>A tab. Commands may be sent on any thread; each completes with its own answer.</summary>
internal sealed class ChromiumTab : IAsyncDisposable
{
    private readonly ClientWebSocket _socket = new();
    private readonly ConcurrentDictionary<int, TaskCompletionSource<JsonObject>> _waiting = new();
    private Task _reading = Task.CompletedTask;
    private int _last;

    public static async Task<ChromiumTab> ConnectAsync(Uri address)
    {
        var tab = new ChromiumTab();
        await tab._socket.ConnectAsync(address, CancellationToken.None);
        tab._reading = Task.Run(tab.ReadAsync);
        return tab;
    }

    /// <summary>Sends a command; returns its result.</summary>
    public async Task<JsonObject> SendAsync(string method, JsonObject parameters)
    {
        var id = Interlocked.Increment(ref _last);
        var answered = _waiting[id] = new TaskCompletionSource<JsonObject>(TaskCreationOptions.RunContinuationsAsynchronously);
        var command = new JsonObject { ["id"] = id, ["method"] = method, ["params"] = parameters };
        await _socket.SendAsync(JsonSerializer.SerializeToUtf8Bytes(command), WebSocketMessageType.Text, true, CancellationToken.None);
        var answer = await answered.Task;
        return answer["result"] as JsonObject ?? throw new BenchmarkException($"chromium refused {method}: {answer["error"]}");
    }

    /// <summary>Runs JavaScript in the page and returns its result, or the result of its promise.</summary>
    public async Task<JsonNode?> EvaluateAsync(string script)
    {
        var result = await SendAsync(
            "Runtime.evaluate", new JsonObject { ["expression"] = script, ["awaitPromise"] = true, ["returnByValue"] = true });
        if (result["exceptionDetails"] is { } wrong)
            throw new BenchmarkException($"the page threw: {wrong["exception"]?["description"] ?? wrong["text"]}");
        return result["result"]!["value"];
    }

    /// <summary>Runs the script repeatedly until its result is true.</summary>
    public async Task<JsonNode> UntilAsync(string script, string what)
    {
        var began = Stopwatch.GetTimestamp();
        while (true)
        {
            if (await EvaluateAsync(script) is { } value && (value.GetValueKind() is not (JsonValueKind.False or JsonValueKind.Null)))
                return value;
            if (Stopwatch.GetElapsedTime(began) > TimeSpan.FromSeconds(60))
                throw new BenchmarkException($"{what} did not happen within a minute.");
            await Task.Delay(TimeSpan.FromMilliseconds(20), TimeProvider.System);
        }
    }

    public Task GoAsync(string url) => SendAsync("Page.navigate", new JsonObject { ["url"] = url });

    public async ValueTask DisposeAsync()
    {
        await SendAsync("Page.close", []);
        await _reading;
        _socket.Dispose();
    }

    private async Task ReadAsync()
    {
        var buffer = new byte[64 * 1024];
        using var message = new MemoryStream();
        try
        {
            while (true)
            {
                var read = await _socket.ReceiveAsync(buffer, CancellationToken.None);
                if (read.MessageType == WebSocketMessageType.Close)
                    break;
                message.Write(buffer, 0, read.Count);
                if (!read.EndOfMessage)
                    continue;
                var heard = JsonNode.Parse(message.ToArray())!.AsObject();
                message.SetLength(0);
                if (heard["id"] is { } id && _waiting.TryRemove(id.GetValue<int>(), out var answered))
                    answered.SetResult(heard);
            }
        }
        catch (WebSocketException)
        {
            // the tab was closed
        }

        foreach (var (_, waiting) in _waiting)
            waiting.TrySetException(new BenchmarkException("chromium closed the tab."));
    }
}
