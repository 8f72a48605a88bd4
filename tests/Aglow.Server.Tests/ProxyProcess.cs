using System.Diagnostics;
using System.Net.Sockets;

namespace Aglow.Server.Tests;

/// <summary>A real proxy in front of one node, with its file under <c>deploy/</c> except for the addresses.</summary>
internal sealed class ProxyProcess : IAsyncDisposable
{
    private readonly Process _process;
    private readonly string _folder;
    private readonly System.Collections.Concurrent.ConcurrentQueue<string> _output = new();

    private ProxyProcess(Process process, string folder, int port)
    {
        _process = process;
        _folder = folder;
        Address = new Uri($"http://127.0.0.1:{port}");
    }

    public Uri Address { get; }

    /// <summary>What it wrote to its log.</summary>
    public string Output => string.Join('\n', _output);

    /// <summary>
    /// Starts haproxy, nginx or caddy. <paramref name="protocol"/> is the PROXY protocol that HAProxy sends before each connection.
    /// </summary>
    public static async Task<ProxyProcess> StartAsync(string program, int node, string? protocol = null)
    {
        for (var attempt = 0; ; attempt++)
        {
            var proxy = await RunAsync(program, node, protocol);
            try
            {
                using var probe = Client(proxy.Address, "127.0.0.4");
                await Eventually.TrueAsync(() => proxy.AnswersAsync(probe), 90, $"{program} answers");
                return proxy;
            }
            catch (InvalidOperationException) when (attempt < 3)
            {
                // it ended, as it does if somebody else took the port meanwhile
                await proxy.DisposeAsync();
            }
            catch
            {
                await proxy.DisposeAsync();
                throw;
            }
        }
    }

    private static async Task<ProxyProcess> RunAsync(string program, int node, string? protocol)
    {
        var (port, folder) = (Receiver.FreePort(), AglowProcess.NewFolder());
        var name = program switch { "haproxy" => "haproxy.cfg", "nginx" => "nginx.conf", _ => "Caddyfile" };
        var lines = (await File.ReadAllLinesAsync(Path.Combine(AglowProcess.Root, "deploy", name)))
            .Where(static line => !line.Contains("server ") || !(line.Contains("10.0.0.12") || line.Contains("10.0.0.13")))
            .Select(line => line.Replace("10.0.0.11:8080 10.0.0.12:8080 10.0.0.13:8080", "10.0.0.11:8080"))
            .Select(line => line.Contains("server node-1") && protocol is not null ? $"{line} {protocol} check-send-proxy" : line)
            .Select(line => line.Replace("10.0.0.11:8080", $"127.0.0.1:{node}"))
            .Select(line => line.Replace("bind :8080", $"bind 127.0.0.1:{port}").Replace("listen 8080", $"listen 127.0.0.1:{port}"))
            .Select(static line => line == "{" ? "{\n\tadmin off" : line.Replace("/var/log/nginx/error.log", "stderr"))
            .Select(line => line == ":8080 {" ? $"http://127.0.0.1:{port} {{" : line);
        var file = Path.Combine(folder, name);
        await File.WriteAllLinesAsync(file, lines);
        string[] arguments = program switch
        {
            "haproxy" => ["-db", "-q", "-f", file],
            "nginx" => ["-c", file, "-e", "stderr", "-g", $"daemon off; master_process off; pid {folder}/pid;"],
            _ => ["run", "--config", file, "--adapter", "caddyfile"],
        };
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false
        };
        start.Environment["HOME"] = folder;
        var proxy = new ProxyProcess(Process.Start(start)!, folder, port);
        var output = proxy._output;
        proxy._process.OutputDataReceived += (_, line) => output.Enqueue(line.Data ?? "");
        proxy._process.ErrorDataReceived += (_, line) => output.Enqueue(line.Data ?? "");
        proxy._process.BeginOutputReadLine();
        proxy._process.BeginErrorReadLine();
        return proxy;
    }

    /// <summary>A client with its own address: all of 127.0.0.0/8 is this machine.</summary>
    public static HttpClient Client(Uri address, string from) => new(new SocketsHttpHandler
    {
        ConnectCallback = async (context, cancel) =>
        {
            var socket = new Socket(AddressFamily.InterNetwork, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true };
            socket.Bind(new IPEndPoint(IPAddress.Parse(from), 0));
            await socket.ConnectAsync(context.DnsEndPoint, cancel);
            return new NetworkStream(socket, ownsSocket: true);
        },
    })
    {
        BaseAddress = address,
    };

    /// <summary>Stops it, and reads its log to the end.</summary>
    public Task StopAsync()
    {
        if (!_process.HasExited)
            _process.Kill(entireProcessTree: true);
        return _process.WaitForExitAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _process.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    private async Task<bool> AnswersAsync(HttpClient probe)
    {
        if (_process.HasExited)
            throw new InvalidOperationException($"The proxy ended with {_process.ExitCode}: {Output}");
        try
        {
            using var answer = await probe.GetAsync("/health/ready");
            return answer.IsSuccessStatusCode;
        }
        catch (HttpRequestException)
        {
            return false;
        }
    }
}
