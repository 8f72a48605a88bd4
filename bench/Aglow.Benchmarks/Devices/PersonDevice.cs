using System.Diagnostics;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;

namespace Aglow.Benchmarks.Devices;

/// <summary>The result of one read of a person.</summary>
/// <param name="IsOnline">Whether they are online.</param>
/// <param name="LastSeen">When they were last seen; 0 if never.</param>
/// <param name="BeganAt">The second at which the read began.</param>
internal readonly record struct DeviceRead(bool IsOnline, long LastSeen, long BeganAt);

/// <summary>A node, and the calls of devices to it.</summary>
internal sealed class DeviceNode(Uri address)
{
    private readonly HttpClient _http = new() { BaseAddress = address };

    public Uri Address => address;

    public async Task PostAsync(string path, object body) => (await _http.PostAsJsonAsync(path, body)).EnsureSuccessStatusCode().Dispose();

    public async Task<DeviceRead> ReadAsync(uint user)
    {
        var began = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var record = await _http.GetFromJsonAsync<JsonElement>($"/status/{user}");
        var lastSeen = record.GetProperty("last_seen");
        var second = lastSeen.ValueKind == JsonValueKind.Null ? 0 : lastSeen.GetInt64();
        return new DeviceRead(record.GetProperty("is_online").GetBoolean(), second, began);
    }
}

/// <summary>One device of a person: alive until it leaves.</summary>
internal sealed class PersonDevice : IAsyncDisposable
{
    private readonly DeviceNode _node;
    private readonly uint _user;
    private readonly object? _device;
    private readonly ClientWebSocket? _socket;
    private readonly CancellationTokenSource _stop = new();
    private Task _alive = Task.CompletedTask;
    private long _receivedAt = Stopwatch.GetTimestamp();

    private PersonDevice(DeviceNode node, uint user, Transport transport, string id)
    {
        (_node, _user) = (node, user);
        _socket = transport == Transport.Socket ? new ClientWebSocket() : null;
        _device = transport == Transport.Heartbeats ? new { id, kind = "desktop" } : null;
    }

    /// <summary>The longest time between two signs of life.</summary>
    public TimeSpan LongestGap { get; private set; }

    public static async Task<PersonDevice> StartAsync(
        DeviceNode node, uint user, Transport transport, string id, TimeSpan interval, TimeSpan phase)
    {
        var device = new PersonDevice(node, user, transport, id);
        await Task.Delay(phase);
        if (device._socket is { } socket)
        {
            var hello = $"user_id={user}&device_id={id}&device_kind=mobile";
            await socket.ConnectAsync(new Uri($"ws://{node.Address.Authority}/ws?{hello}"), CancellationToken.None);
            device._receivedAt = Stopwatch.GetTimestamp();
            device._alive = device.ReadAsync();
        }
        else
        {
            await device.BeatAsync();
            device._alive = device.BeatEveryAsync(interval);
        }

        return device;
    }

    public async Task LeaveAsync()
    {
        await _stop.CancelAsync();
        if (_socket is null)
        {
            await _alive;
            await _node.PostAsync("/offline", _device is null ? new { user_id = _user } : new { user_id = _user, device = _device });
            return;
        }

        var leave = Encoding.UTF8.GetBytes("{\"type\":\"leave\",\"id\":1}");
        await _socket.SendAsync(leave, WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);
        // waits for the server to answer and close
        await _alive;
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        _socket?.Abort();
        await _alive;
        _socket?.Dispose();
        _stop.Dispose();
    }

    private async Task BeatEveryAsync(TimeSpan interval)
    {
        using var timer = new PeriodicTimer(interval);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
                await BeatAsync();
        }
        catch (OperationCanceledException)
        {
            // the device leaves
        }
    }

    private async Task BeatAsync()
    {
        await _node.PostAsync("/heartbeat", _device is null ? new { user_id = _user } : new { user_id = _user, device = _device });
        NoteReceived();
    }

    // ticks come with pings, which the framework answers
    private async Task ReadAsync()
    {
        var buffer = new byte[4096];
        try
        {
            while ((await _socket!.ReceiveAsync(buffer, CancellationToken.None)).MessageType != WebSocketMessageType.Close)
                NoteReceived();
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or ObjectDisposedException)
        {
            // the connection is closed
        }
    }

    private void NoteReceived()
    {
        var gap = Stopwatch.GetElapsedTime(_receivedAt);
        if (gap > LongestGap)
            LongestGap = gap;
        _receivedAt = Stopwatch.GetTimestamp();
    }
}

/// <summary>A socket that watches people on one node, and stores the records of each.</summary>
internal sealed class DeviceWatcher : IAsyncDisposable
{
    private readonly ClientWebSocket _socket = new();
    private readonly Dictionary<uint, List<string>> _received = [];
    private Task _reading = Task.CompletedTask;

    public static async Task<DeviceWatcher> ConnectAsync(Uri node, uint user, uint[] watched)
    {
        var watcher = new DeviceWatcher();
        foreach (var one in watched)
            watcher._received[one] = [];
        await watcher._socket.ConnectAsync(new Uri($"ws://{node.Authority}/ws?user_id={user}"), CancellationToken.None);
        var watch = Encoding.UTF8.GetBytes($"{{\"type\":\"watch\",\"users\":[{string.Join(',', watched)}]}}");
        await watcher._socket.SendAsync(watch, WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);
        watcher._reading = watcher.ReadAsync();
        return watcher;
    }

    /// <summary>What it was told about a user so far.</summary>
    public string[] Received(uint user)
    {
        lock (_received)
            return [.. _received[user]];
    }

    public async ValueTask DisposeAsync()
    {
        _socket.Abort();
        await _reading;
        _socket.Dispose();
    }

    private async Task ReadAsync()
    {
        var buffer = new byte[1024 * 1024];
        try
        {
            while (true)
            {
                var length = 0;
                WebSocketReceiveResult result;
                do
                {
                    var room = new ArraySegment<byte>(buffer, length, buffer.Length - length);
                    result = await _socket.ReceiveAsync(room, CancellationToken.None);
                    length += result.Count;
                }
                while (!result.EndOfMessage);

                if (result.MessageType == WebSocketMessageType.Close)
                    return;
                Receive(JsonDocument.Parse(buffer.AsMemory(0, length)).RootElement);
            }
        }
        catch (Exception e) when (e is WebSocketException or OperationCanceledException or ObjectDisposedException)
        {
            // the connection is closed
        }
    }

    private void Receive(JsonElement message)
    {
        if (!message.TryGetProperty("users", out var users))
            return;
        lock (_received)
        {
            foreach (var user in users.EnumerateArray())
            {
                var isOnline = user.GetProperty("is_online").GetBoolean();
                _received[user.GetProperty("user_id").GetUInt32()].Add(isOnline ? "online" : "offline");
            }
        }
    }
}
