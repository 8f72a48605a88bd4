using System.Collections.Concurrent;
using System.Net.WebSockets;
using System.Text;
using System.Text.Json;

namespace Aglow.Stores.Tests;

/// <summary>
/// People who are connected by sockets and keep trying, like this project's clients. They reconnect when the server says so, after a loss
/// with jitter, and after two and a half ticks of silence.
/// </summary>
/// <param name="tick">How often a server sends a message.</param>
/// <param name="address">Where they connect, possibly a balancer.</param>
/// <param name="watched">The user whom each of them watches.</param>
internal sealed class People(TimeSpan tick, Uri address, uint? watched = null) : IAsyncDisposable
{
    private readonly TimeSpan _silence = 2.5 * tick;
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<uint, Person> _people = [];
    private readonly List<long> _sentElsewhereAt = [];
    private int _connected;

    /// <summary>Their user numbers, in the order in which they joined.</summary>
    public IEnumerable<uint> Users => _people.Keys;

    /// <summary>The number of connected people.</summary>
    public int Connected => Volatile.Read(ref _connected);

    /// <summary>Whether all are connected.</summary>
    public bool AreConnected => Connected == _people.Count;

    /// <summary>The time over which stopping servers ended the connections of people whom they had sent away.</summary>
    public TimeSpan SentElsewhereOver
    {
        get
        {
            lock (_sentElsewhereAt)
                return _sentElsewhereAt.Count == 0
                    ? TimeSpan.Zero
                    : TimeSpan.FromMilliseconds(_sentElsewhereAt.Max() - _sentElsewhereAt.Min());
        }
    }

    /// <summary>Whether all have received this status of the user whom they watch.</summary>
    public bool AllKnow(string status) => _people.Values.All(person => person.Known == status);

    /// <summary>The events on one person's connections, with their times by this machine's clock.</summary>
    public string History(uint user) => string.Join("; ", _people[user].History);

    /// <summary>Adds people who connect and stay. One caller at a time.</summary>
    public void Join(params IEnumerable<uint> users)
    {
        foreach (var user in users)
        {
            var person = new Person(user);
            _people.Add(user, person);
            person.Loop = Task.Run(() => RunAsync(person));
        }
    }

    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await Task.WhenAll(_people.Values.Select(static person => person.Loop));
        _stop.Dispose();
    }

    private async Task RunAsync(Person person)
    {
        while (!_stop.IsCancellationRequested)
        {
            var wait = TimeSpan.FromSeconds(Random.Shared.NextDouble());
            try
            {
                if (await ConnectAsync(person) is { } told)
                    wait = told;
            }
            catch (Exception e) when (e is WebSocketException or OperationCanceledException or IOException)
            {
                // lost, refused or silent: connect again
                person.Note($"{e.GetType().Name} {(e as WebSocketException)?.WebSocketErrorCode}");
            }

            await Task.Delay(wait, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    // Returns the delay that the server asked for, if any.
    private async Task<TimeSpan?> ConnectAsync(Person person)
    {
        using var socket = new ClientWebSocket();
        using var patience = CancellationTokenSource.CreateLinkedTokenSource(_stop.Token);
        patience.CancelAfter(_silence);
        person.Note("connects");
        await socket.ConnectAsync(new Uri($"ws://{address.Authority}/ws?user_id={person.User}"), patience.Token);
        person.Note("connected");
        if (watched is not null)
            await socket.SendAsync(
                Encoding.UTF8.GetBytes($"{{\"type\":\"watch\",\"users\":[{watched}]}}"),
                WebSocketMessageType.Text,
                endOfMessage: true,
                patience.Token);
        Interlocked.Increment(ref _connected);
        try
        {
            return await ReadAsync(socket, person, patience);
        }
        finally
        {
            Interlocked.Decrement(ref _connected);
        }
    }

    private async Task<TimeSpan?> ReadAsync(ClientWebSocket socket, Person person, CancellationTokenSource patience)
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
                    person.Known = message.RootElement.GetProperty("users")[0].GetProperty("status").GetString();
                    break;
            }
        }

        if (backAt is not { } back)
            return null;
        lock (_sentElsewhereAt)
            _sentElsewhereAt.Add(Environment.TickCount64);
        return TimeSpan.FromMilliseconds(Math.Max(0, back - Environment.TickCount64));
    }

    private sealed class Person(uint user)
    {
        public uint User => user;

        public ConcurrentQueue<string> History { get; } = [];

        // the watched user's status as last received
        public string? Known { get; set; }

        public Task Loop { get; set; } = Task.CompletedTask;

        public void Note(string what) => History.Enqueue($"{TimeProvider.System.GetUtcNow():HH:mm:ss.f} {what}");
    }
}
