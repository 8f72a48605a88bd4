using System.Net;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;
using Aglow.Server.Tests;

namespace Aglow.Stores.Tests;

/// <summary>A socket on a node. Its user is online because the socket is connected, and watches others. It records all messages.</summary>
internal sealed class Watcher : IAsyncDisposable
{
    private readonly Uri _address;
    private readonly uint[] _watched;
    private ClientWebSocket _socket = new();
    private volatile bool _isDisposed;
    private readonly List<string> _received = [];
    private readonly List<(string User, string What)> _times = [];
    private Task _reading = Task.CompletedTask;

    private Watcher(Uri address, uint[] watched) => (_address, _watched) = (address, watched);

    /// <summary>Whether it reconnects when the node sends it away, as a client does.</summary>
    public bool ComesBack { get; init; }

    public bool IsOpen => _socket.State == WebSocketState.Open;

    public static Task<Watcher> ConnectAsync(AglowProcess node, uint user, params uint[] watched) =>
        ConnectAsync(node.Address, user, watched);

    /// <summary>The same, but it reconnects when the node sends it away.</summary>
    public static Task<Watcher> StayAsync(AglowProcess node, uint user, params uint[] watched) =>
        ConnectAsync(node.Address, user, watched, comesBack: true);

    public static Task<Watcher> ConnectAsync(Uri address, uint user, params uint[] watched) =>
        ConnectAsync(address, user, watched, comesBack: false);

    private static async Task<Watcher> ConnectAsync(Uri address, uint user, uint[] watched, bool comesBack)
    {
        var watcher = new Watcher(new Uri($"ws://{address.Authority}/ws?user_id={user}"), watched) { ComesBack = comesBack };
        await watcher.OpenAsync();
        watcher._reading = Task.Run(watcher.ReadAsync);
        if (watched.Length > 0)
        {
            await Eventually.HoldsAsync(() => watched.All(w => watcher.Statuses(w).Length > 0));
        }

        return watcher;
    }

    public Task SendAsync(string json) =>
        _socket.SendAsync(Encoding.UTF8.GetBytes(json), WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);

    /// <summary>Whether a message of this type arrived.</summary>
    public bool HasReceived(string type)
    {
        lock (_received)
            return _received.Contains(type);
    }

    /// <summary>The statuses of a user that it received, in order.</summary>
    public string[] Statuses(uint user) => Statuses($"{user}");

    /// <summary>The same for a user who is watched by a key.</summary>
    public string[] Statuses(string user)
    {
        lock (_received)
            return [.. _received.Where(t => t.StartsWith($"{user}:", StringComparison.Ordinal)).Select(t => t[(t.IndexOf(':') + 1)..])];
    }

    /// <summary>The same with times, for an assertion's message.</summary>
    public string Times(uint user)
    {
        lock (_received)
            return string.Join("; ", _times.Where(received => received.User == $"{user}").Select(static received => received.What));
    }

    public async ValueTask DisposeAsync()
    {
        _isDisposed = true;
        _socket.Abort();
        await _reading;
        _socket.Dispose();
    }

    // A node whose store did not answer for 2 s, as on a busy machine, answers 503. The watcher retries until the node accepts it.
    private async Task OpenAsync()
    {
        await Eventually.HoldsAsync(async () =>
        {
            _socket.Dispose();
            _socket = new ClientWebSocket();
            // without this, the socket does not know the status of a refusal
            _socket.Options.CollectHttpResponseDetails = true;
            try
            {
                await _socket.ConnectAsync(_address, CancellationToken.None);
                return true;
            }
            catch (WebSocketException) when (!_isDisposed && _socket.HttpStatusCode == HttpStatusCode.ServiceUnavailable)
            {
                return false;
            }
        });
        if (_watched.Length > 0)
            await SendAsync($"{{\"type\":\"watch\",\"users\":[{string.Join(',', _watched)}]}}");
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
                    result = await _socket.ReceiveAsync(
                        new ArraySegment<byte>(buffer, length, buffer.Length - length), CancellationToken.None);
                    length += result.Count;
                }
                while (!result.EndOfMessage);

                if (result.MessageType == WebSocketMessageType.Close)
                {
                    if (!ComesBack || !HasReceived("reconnect") || _isDisposed)
                        return;
                    await OpenAsync();
                    continue;
                }

                Receive(JsonDocument.Parse(buffer.AsMemory(0, length)).RootElement);
            }
        }
        catch (Exception e) when (e is WebSocketException or ObjectDisposedException or OperationCanceledException)
        {
            // closed
        }
    }

    private void Receive(JsonElement message)
    {
        lock (_received)
        {
            _received.Add(message.GetProperty("type").GetString()!);
            if (!message.TryGetProperty("users", out var users))
                return;
            foreach (var user in users.EnumerateArray())
            {
                _received.Add($"{user.GetProperty("user_id")}:{user.GetProperty("status")}");
                _times.Add((
                    $"{user.GetProperty("user_id")}",
                    $"{TimeProvider.System.GetUtcNow():HH:mm:ss.f} told {user.GetProperty("status")}, last seen "
                        + $"{user.GetProperty("last_seen")}"));
            }
        }
    }
}
