using System.Collections.Concurrent;
using System.Net;
using System.Net.Mime;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using CloudNative.CloudEvents;
using CloudNative.CloudEvents.SystemTextJson;

namespace Aglow.Server.Tests;

/// <summary>A receiver of webhooks on this machine. It answers as the test says, and keeps the messages.</summary>
internal sealed class Receiver : IAsyncDisposable
{
    private readonly HttpListener _listener = new();
    private readonly ConcurrentQueue<Message> _messages = new();
    private readonly Task _loop;
    private volatile Func<Message, Task<int>> _answer = static _ => Task.FromResult(200);

    public Receiver()
    {
        Url = new Uri(StartOnFreePort(_listener), "/hook");
        _loop = Task.Run(RunAsync);
    }

    public Uri Url { get; }

    /// <summary>All messages in order, acknowledged or not.</summary>
    public IReadOnlyList<Message> Messages => [.. _messages];

    /// <summary>The changes of acknowledged messages, each once, as "USER TYPE".</summary>
    public IEnumerable<string> Received => _messages.Where(static m => m.Status < 300).SelectMany(static m => m.Events)
        .Where(static e => e.Subject is not null).DistinctBy(static e => e.Id).Select(
            static e => $"{e.Subject} {e.Type!["aglow.presence.".Length..]}");

    /// <summary>Sets the answer from now on; the status 301 redirects to the receiver itself.</summary>
    public void Answer(Func<Message, Task<int>> answer) => _answer = answer;

    public void Answer(int status) => _answer = _ => Task.FromResult(status);

    public Task UntilAsync(Func<bool> holds, string what) =>
        Eventually.TrueAsync(() => Task.FromResult(holds()), 60, $"{what}: {string.Join(", ", Received)}");

    public async ValueTask DisposeAsync()
    {
        _listener.Close();
        await _loop;
    }

    /// <summary>A port that nobody listens on.</summary>
    public static int FreePort()
    {
        using var socket = new System.Net.Sockets.TcpListener(IPAddress.Loopback, 0);
        socket.Start();
        return ((IPEndPoint)socket.LocalEndpoint).Port;
    }

    /// <summary>Starts a listener, which cannot choose a free port itself; returns its address.</summary>
    public static Uri StartOnFreePort(HttpListener listener)
    {
        for (var attempt = 0; ; attempt++)
        {
            var address = new Uri($"http://127.0.0.1:{FreePort()}/");
            listener.Prefixes.Clear();
            listener.Prefixes.Add(address.AbsoluteUri);
            try
            {
                listener.Start();
                return address;
            }
            catch (HttpListenerException) when (attempt < 10)
            {
                // somebody else took the port meanwhile
            }
        }
    }

    private async Task RunAsync()
    {
        while (true)
        {
            try
            {
                _ = AnswerAsync(await _listener.GetContextAsync());
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                return;
            }
        }
    }

    private async Task AnswerAsync(HttpListenerContext context)
    {
        try
        {
            using var body = new MemoryStream();
            await context.Request.InputStream.CopyToAsync(body);
            var headers = context.Request.Headers;
            var message = new Message(
                headers["webhook-id"]!, headers["webhook-timestamp"]!, headers["webhook-signature"]!, context.Request.ContentType!,
                    context.Request.Url!.AbsolutePath, body.ToArray());
            message.Status = await _answer(message);
            _messages.Enqueue(message);
            context.Response.StatusCode = message.Status;
            if (message.Status == 301)
                context.Response.RedirectLocation = $"{Url}/elsewhere";
            context.Response.Close();
        }
        catch (Exception e) when (e is HttpListenerException or ObjectDisposedException or IOException)
        {
            // the sender has disconnected
        }
    }

    /// <summary>The content of one request.</summary>
    internal sealed record Message(string Id, string Timestamp, string Signature, string ContentType, string Path, byte[] Body)
    {
        public int Status { get; set; }

        /// <summary>The batch as parsed by the CloudEvents SDK.</summary>
        public IReadOnlyList<CloudEvent> Events =>
            new JsonEventFormatter().DecodeBatchModeMessage(Body, new ContentType(ContentType), null);

        public JsonElement DataOf(int index) => (JsonElement)Events[index].Data!;

        /// <summary>Whether one of its signatures is by this secret, by the rules of the scheme.</summary>
        public bool IsSignedBy(string secret)
        {
            byte[] signed = [.. Encoding.UTF8.GetBytes($"{Id}.{Timestamp}."), .. Body];
            var expected = Convert.ToBase64String(HMACSHA256.HashData(Convert.FromBase64String(secret["whsec_".Length..]), signed));
            return Signature.Split(' ').Contains($"v1,{expected}");
        }
    }
}
