using System.Collections.Concurrent;
using System.Diagnostics;
using System.Net;
using System.Net.Http.Json;
using System.Text.Json;

namespace Aglow.Benchmarks.Changes;

/// <summary>A receiver of a webhook in this process, which acknowledges at once and notes the time of each user's changes.</summary>
internal sealed class ChangeReceiver : IAsyncDisposable
{
    private static readonly byte[] Event = "\"specversion\""u8.ToArray();

    private readonly HttpListener _listener = new();
    private readonly ConcurrentDictionary<(uint User, bool IsOnline), long> _received = new();
    private readonly bool _notesUsers;
    private readonly Uri _address;
    private readonly Task _loop;
    private long _count;

    private ChangeReceiver(bool notesUsers)
    {
        _notesUsers = notesUsers;
        _address = new Uri($"http://127.0.0.1:{Programs.FreePort()}/");
        _listener.Prefixes.Add(_address.ToString());
        _listener.Start();
        _loop = Task.Run(RunAsync);
    }

    /// <summary>The changes that it heard.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>The timestamp at which it heard of the last change.</summary>
    public long LastAt { get; private set; }

    /// <summary>Starts a receiver, and adds a webhook for all changes to a server.</summary>
    /// <param name="server">The server.</param>
    /// <param name="notesUsers">Whether to parse the changes; else they are counted.</param>
    public static async Task<ChangeReceiver> StartAsync(HttpClient server, bool notesUsers)
    {
        var receiver = new ChangeReceiver(notesUsers);
        using var answer = await server.PostAsJsonAsync("/webhooks", new { url = receiver._address });
        answer.EnsureSuccessStatusCode();
        receiver.Id = (await answer.Content.ReadFromJsonAsync<JsonElement>()).GetProperty("id").GetString()!;
        return receiver;
    }

    /// <summary>The webhook's ID.</summary>
    public string Id { get; private set; } = "";

    /// <summary>When it heard that this user came or left; null: not yet.</summary>
    public long? ReceivedAt(uint user, bool isOnline) => _received.TryGetValue((user, isOnline), out var at) ? at : null;

    /// <summary>Waits until it has heard so many changes.</summary>
    public Task UntilAsync(long count) => Wait.UntilAsync(() => Count >= count, 60, $"the receiver to hear {count:#,0} changes");

    public async ValueTask DisposeAsync()
    {
        _listener.Close();
        await _loop;
    }

    private async Task RunAsync()
    {
        try
        {
            while (true)
                await AnswerAsync(await _listener.GetContextAsync());
        }
        catch (Exception end) when (end is HttpListenerException or ObjectDisposedException)
        {
            // closed
        }
    }

    private async Task AnswerAsync(HttpListenerContext context)
    {
        using var response = context.Response;
        using var body = new MemoryStream();
        await context.Request.InputStream.CopyToAsync(body);
        var now = Stopwatch.GetTimestamp();
        var bytes = body.GetBuffer().AsMemory(0, (int)body.Length);
        Interlocked.Add(ref _count, _notesUsers ? Note(bytes, now) : bytes.Span.Count(Event));
        LastAt = now;
        response.StatusCode = 204;
    }

    private int Note(ReadOnlyMemory<byte> body, long now)
    {
        using var json = JsonDocument.Parse(body);
        foreach (var item in json.RootElement.EnumerateArray())
        {
            var change = item.GetProperty("data");
            _received.TryAdd((change.GetProperty("user_id").GetUInt32(), change.GetProperty("is_online").GetBoolean()), now);
        }

        return json.RootElement.GetArrayLength();
    }
}
