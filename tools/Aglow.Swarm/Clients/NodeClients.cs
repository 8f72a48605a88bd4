using System.Collections.Concurrent;
using System.Diagnostics;
using System.Text.Json;

namespace Aglow.Swarm.Clients;

/// <summary>Many JavaScript clients in one process of Node, which takes commands and reports events as lines of JSON.</summary>
internal sealed class NodeClients : IDisposable
{
    private readonly Process _process;
    private readonly ConcurrentDictionary<int, NodeClient> _clients = new();
    private readonly Lock _gate = new();
    private int _next;
    private bool _isDisposed;

    /// <summary>Starts Node. The script is in this program's folder, and the client in the repository above it.</summary>
    public NodeClients()
    {
        var script = Path.Combine(AppContext.BaseDirectory, "Clients", "people.mjs");
        var start = new ProcessStartInfo("node", ["--experimental-websocket", "--no-warnings", script, Source()])
        {
            RedirectStandardInput = true,
            UseShellExecute = false,
            RedirectStandardOutput = true,
        };
        try
        {
            _process = Process.Start(start)!;
        }
        catch (System.ComponentModel.Win32Exception failure)
        {
            throw new UsageException($"--clients needs Node 20 or newer: {failure.Message}");
        }

        _ = Task.Run(ReadAsync);
    }

    /// <summary>A client that is not connected yet.</summary>
    public IRealClient Create()
    {
        var client = new NodeClient(this, Interlocked.Increment(ref _next));
        _clients[client.Id] = client;
        return client;
    }

    public void Dispose()
    {
        lock (_gate)
        {
            _isDisposed = true;
            _process.Kill();
            _process.Dispose();
        }
    }

    private static string Source()
    {
        for (var folder = new DirectoryInfo(AppContext.BaseDirectory); folder is not null; folder = folder.Parent)
        {
            var file = Path.Combine(folder.FullName, "clients", "js", "src", "index.js");
            if (File.Exists(file))
                return file;
        }

        throw new UsageException("--clients needs the JavaScript client: run it as ./aglow swarm in the repository.");
    }

    // False: Node was ended. At the end of a run, people may still leave or close.
    private bool Send(object command)
    {
        lock (_gate)
        {
            if (_isDisposed)
                return false;
            _process.StandardInput.WriteLine(JsonSerializer.Serialize(command));
            _process.StandardInput.Flush();
            return true;
        }
    }

    private async Task ReadAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is { } line)
        {
            using var message = JsonDocument.Parse(line);
            if (_clients.TryGetValue(message.RootElement.GetProperty("client").GetInt32(), out var client))
                client.Receive(message.RootElement);
        }

        // Node ended: end all waits for a leave
        foreach (var client in _clients.Values)
            client.End();
    }

    private sealed class NodeClient(NodeClients host, int id) : IRealClient
    {
        private readonly TaskCompletionSource<bool> _left = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private ClientSession? _session;

        public int Id => id;

        public void Connect(Uri node, uint user, uint[] watched, ClientSession session)
        {
            _session = session;
            host.Send(new { client = id, @do = "connect", url = node.ToString(), user, users = watched });
        }

        public Task<bool> LeaveAsync() => host.Send(new { client = id, @do = "leave" }) ? _left.Task : Task.FromResult(false);

        public ValueTask DisposeAsync()
        {
            host.Send(new { client = id, @do = "close" });
            host._clients.TryRemove(id, out _);
            return default;
        }

        public void Receive(JsonElement message)
        {
            if (message.TryGetProperty("state", out var state))
                _session!.Changed(state.GetString() == "open");
            else if (message.TryGetProperty("left", out var left))
                _left.TrySetResult(left.GetString() == "left");
            else if (message.TryGetProperty("record", out var record))
                _session!.Receive(
                    record.GetProperty("user_id").GetUInt32(),
                    record.GetProperty("status").GetString() == "unknown" ? null : PresenceMessage.Record(record));
        }

        public void End() => _left.TrySetResult(false);
    }
}
