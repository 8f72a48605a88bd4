using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;

namespace Aglow.Stores.Tests;

/// <summary>
/// People who are connected by sockets and keep trying, as the clients of this project do: they come back when the server says, after a loss with jitter, and after two and a half ticks of silence.
/// </summary>
internal sealed class People : IAsyncDisposable
{
    private readonly Uri _address;
    private readonly uint? _watched;
    private readonly TimeSpan _silence;
    private readonly CancellationTokenSource _stop = new();
    private readonly Task[] _loops;
    private readonly string?[] _known;
    private readonly List<long> _sentElsewhereAt = [];
    private readonly ConcurrentQueue<string>[] _histories;
    private int _connected;

    /// <summary>These connect to an address, which may be a balancer's; each watches <paramref name="watched"/>.</summary>
    public People(uint[] users, TimeSpan tick, Uri address, uint? watched = null)
    {
        _address = address;
        _watched = watched;
        _silence = 2.5 * tick;
        _known = new string?[users.Length];
        _histories = [.. users.Select(static _ => new ConcurrentQueue<string>())];
        _loops = [.. users.Select((user, i) => Task.Run(() => RunAsync(user, i)))];
    }

    /// <summary>How many are connected.</summary>
    public int Connected => Volatile.Read(ref _connected);

    /// <summary>Over how long servers that stopped ended connections, of those they had told to go.</summary>
    public TimeSpan SentElsewhereOver
    {
        get
        {
            lock (_sentElsewhereAt)
                return _sentElsewhereAt.Count == 0 ? TimeSpan.Zero : TimeSpan.FromMilliseconds(_sentElsewhereAt.Max() - _sentElsewhereAt.Min());
        }
    }

    /// <summary>Whether all know the one they watch as this.</summary>
    public bool AllKnow(string status) => _known.All(known => known == status);

    /// <summary>What happened to the connections of the one at this place, and when, by the clock of this machine.</summary>
    public string History(int place) => string.Join("; ", _histories[place]);

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_loops);
        _stop.Dispose();
    }

    private async Task RunAsync(uint user, int place)
    {
        while (!_stop.IsCancellationRequested)
        {
            var wait = TimeSpan.FromSeconds(Random.Shared.NextDouble());
            try
            {
                if (await ConnectAsync(user, place) is { } told)
                    wait = told;
            }
            catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException)
            {
                // lost, refused or silent: it is tried again
                Note(place, $"{e.GetType().Name} {(e as WebSocketException)?.WebSocketErrorCode}");
            }

            await Task.Delay(wait, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private void Note(int place, string what) => _histories[place].Enqueue($"{TimeProvider.System.GetUtcNow():HH:mm:ss.f} {what}");

    // Returns how long the server said to wait, where it did.
    private async Task<TimeSpan?> ConnectAsync(uint user, int place)
    {
        using var socket = new ClientWebSocket();
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        patience.CancelAfter(_silence);
        Note(place, "connects");
        await socket.ConnectAsync(new Uri($"ws://{_address.Authority}/ws?user_id={user}"), patience.Token);
        Note(place, "connected");
        if (_watched is { } watched)
            await socket.SendAsync(Encoding.UTF8.GetBytes($"{{\"type\":\"watch\",\"users\":[{watched}]}}"), WebSocketMessageType.Text, endOfMessage: true, patience.Token);
        Interlocked.Increment(ref _connected);
        try
        {
            return await ReadAsync(socket, place, patience);
        }
        finally
        {
            Interlocked.Decrement(ref _connected);
        }
    }

    private async Task<TimeSpan?> ReadAsync(ClientWebSocket socket, int place, CancellationTokenSource patience)
    {
        var buffer = new byte[512];
        long? backAt = null;
        while (true)
        {
            patience.CancelAfter(_silence);
            var frame = await socket.ReceiveAsync(buffer.AsMemory(), patience.Token);
            if (frame.MessageType == WebSocketMessageType.Close)
                break;
            using var message = JsonDocument.Parse(buffer.AsMemory(0, frame.Count));
            switch (message.RootElement.GetProperty("type").GetString())
            {
                case "reconnect":
                    backAt = Environment.TickCount64 + message.RootElement.GetProperty("after_ms").GetInt64();
                    break;
                case "presence":
                    _known[place] = message.RootElement.GetProperty("users")[0].GetProperty("status").GetString();
                    break;
            }
        }

        if (backAt is not { } back)
            return null;
        lock (_sentElsewhereAt)
            _sentElsewhereAt.Add(Environment.TickCount64);
        return TimeSpan.FromMilliseconds(Math.Max(0, back - Environment.TickCount64));
    }
}
