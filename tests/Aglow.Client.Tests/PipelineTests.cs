using System.IO.Compression;
using System.Net.Http.Json;
using System.Net.Sockets;
using System.Net.WebSockets;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.HttpOverrides;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.AspNetCore.TestHost;

namespace Aglow.Client.Tests;

/// <summary>Presence in somebody's own app works under the test host, and behind whatever middleware stands before it.</summary>
public class PipelineTests
{
    [Fact]
    public async Task Calls_sockets_and_both_ends_of_a_client_work_under_the_test_host()
    {
        using var folder = new TemporaryFolder();
        await using var app = await TestHostAsync(folder);
        var server = app.GetTestServer();
        using var http = server.CreateClient();
        await using var ann = ClientOf(server, http, "ann");
        await using var bob = ClientOf(server, http, "bob");
        await using var seen = Watching.Of(ann, "bob");
        (await seen.NextTextAsync()).ShouldBe("bob:Offline");
        await bob.ConnectAsync();
        var online = await seen.NextAsync();
        (online.User, online.Status).ShouldBe((UserId.Parse("bob"), PresenceStatus.Online));
        // longer than a lease
        await Eventually.TrueAsync(
            async () => (await ann.StatusOfAsync("bob")).LastSeen >= online.LastSeen + TimeSpan.FromSeconds(9), "bob is heard");
        seen.HasNews.ShouldBeFalse();
        await bob.LeaveAsync();
        (await seen.NextTextAsync()).ShouldBe("bob:Offline");
    }

    [Fact]
    public async Task A_socket_of_the_test_host_is_refused_ended_and_lost_as_any_other()
    {
        using var folder = new TemporaryFolder();
        await using var app = await TestHostAsync(folder);
        var server = app.GetTestServer();
        using var http = server.CreateClient();
        (await Should.ThrowAsync<InvalidOperationException>(() => ConnectAsync(server, "/ws"))).Message.ShouldContain("401");
        using var socket = await ConnectAsync(server, "/ws?user_id=1");
        // in parts, and longer than the buffer that it is received with
        var message = Encoding.UTF8.GetBytes($"{{\"type\":\"watch\",\"users\":[{string.Join(',', Enumerable.Range(1, 2000))}]}}");
        await socket.SendAsync(message.AsMemory(0, 100), WebSocketMessageType.Text, endOfMessage: false, default);
        await socket.SendAsync(message.AsMemory(100), WebSocketMessageType.Text, endOfMessage: true, default);
        (await ReceiveAsync(socket, "\"presence\"")).ShouldContain("\"user_id\":2000,");
        await socket.SendAsync("{\"type\":\"leave\"}"u8.ToArray().AsMemory(), WebSocketMessageType.Text, endOfMessage: true, default);
        await Should.ThrowAsync<WebSocketException>(() => ReceiveAsync(socket, "nothing more"));
        socket.CloseStatus.ShouldBe(WebSocketCloseStatus.NormalClosure);
        (await http.GetStringAsync("/status/1")).ShouldContain("offline");
        using (var lost = await ConnectAsync(server, "/ws?user_id=2"))
            await ReceiveAsync(lost, "welcome");
        await Eventually.TrueAsync(async () => (await http.GetStringAsync("/status/2")).Contains("offline"), "the lease expires");
    }

    [Fact]
    public async Task A_socket_works_over_HTTP_3_where_the_host_offers_one()
    {
        using var folder = new TemporaryFolder();
        await using var app = await TestHostAsync(folder);
        var server = app.GetTestServer();
        using var listener = new TcpListener(IPAddress.Loopback, 0);
        listener.Start();
        using var ours = new TcpClient();
        await ours.ConnectAsync((IPEndPoint)listener.LocalEndpoint);
        using var theirs = await listener.AcceptTcpClientAsync();
        var serving = server.SendAsync(context =>
        {
            (context.Request.Protocol, context.Request.Method) = ("HTTP/3", HttpMethods.Connect);
            (context.Request.Path, context.Request.QueryString) = ("/ws", new QueryString("?user_id=3"));
            context.Request.Headers.SecWebSocketVersion = "13";
            context.Features.Set<IHttpExtendedConnectFeature>(new ExtendedConnect(theirs.GetStream()));
        });
        using (var socket = WebSocket.CreateFromStream(ours.GetStream(), new WebSocketCreationOptions()))
        {
            await ReceiveAsync(socket, "welcome");
            using var http = server.CreateClient();
            (await http.GetStringAsync("/status/3")).ShouldContain("online");
            await socket.SendAsync("{\"type\":\"leave\"}"u8.ToArray().AsMemory(), WebSocketMessageType.Text, endOfMessage: true, default);
            await Should.ThrowAsync<WebSocketException>(() => ReceiveAsync(socket, "nothing more"));
        }

        await serving;
    }

    [Theory]
    [InlineData(HttpProtocols.Http1)]
    [InlineData(HttpProtocols.Http2)]
    public async Task Calls_streams_and_sockets_work_behind_other_peoples_middleware(HttpProtocols protocols)
    {
        await using var app = await OwnApp.StartAsync(
            (builder, folder) =>
            {
                builder.WebHost.ConfigureKestrel(kestrel => kestrel.ConfigureEndpointDefaults(endpoint => endpoint.Protocols = protocols));
                builder.Services.AddAglow(o => (o.OpenMode, o.DataDirectory) = (true, folder));
                builder.Services.AddResponseCompression(
                    static o => (o.EnableForHttps, o.MimeTypes) = (true, ["application/json", "text/event-stream"]));
                builder.Services.Configure<ForwardedHeadersOptions>(static o => o.ForwardedHeaders = ForwardedHeaders.All);
                builder.Services.AddRequestTimeouts();
                builder.Services.AddHttpLogging();
                builder.Services.AddProblemDetails();
            },
            static app =>
            {
                app.UseExceptionHandler();
                app.UseStatusCodePages();
                app.UseForwardedHeaders();
                app.UseHttpLogging();
                app.UseResponseCompression();
                app.UseWebSockets();
                app.UseRequestTimeouts();
                app.MapAglow("/presence");
            });
        var version = protocols == HttpProtocols.Http2 ? HttpVersion.Version20 : HttpVersion.Version11;
        using var handler = new SocketsHttpHandler();
        using var http = new HttpClient(handler, disposeHandler: false)
        {
            BaseAddress = new Uri(app.Address, "/presence/"),
            DefaultRequestVersion = version,
            DefaultVersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
        http.DefaultRequestHeaders.Add("Accept-Encoding", "gzip");
        http.DefaultRequestHeaders.Add("X-Forwarded-For", "203.0.113.7");
        http.DefaultRequestHeaders.Add("X-Forwarded-Proto", "https");

        using var answer = await http.PostAsJsonAsync("status/batch", new { user_ids = Enumerable.Range(0, 1000) });
        answer.Content.Headers.ContentEncoding.ShouldBe(["gzip"]);
        (await TextOfAsync(answer).ReadToEndAsync()).ShouldContain("\"user_id\":999,");
        using var refused = await http.GetAsync("status/1?colour=red");
        (await refused.Content.ReadAsStringAsync()).ShouldContain("urn:aglow:problem:malformed-request");

        using var watched = await http.GetAsync("watch?users=7", HttpCompletionOption.ResponseHeadersRead);
        watched.Content.Headers.ContentEncoding.ShouldBe(["gzip"]);
        using var stream = TextOfAsync(watched);
        await UntilAsync(stream, "\"offline\"");

        using var socket = new ClientWebSocket();
        (socket.Options.HttpVersion, socket.Options.HttpVersionPolicy) = (version, HttpVersionPolicy.RequestVersionExact);
        await socket.ConnectAsync(
            new UriBuilder(new Uri(http.BaseAddress, "ws?user_id=7")) { Scheme = "ws" }.Uri,
            new HttpMessageInvoker(handler),
            CancellationToken.None);
        await ReceiveAsync(socket, "welcome");
        await UntilAsync(stream, "\"online\"");
    }

    private static StreamReader TextOfAsync(HttpResponseMessage answer) =>
        new(new GZipStream(answer.Content.ReadAsStream(), CompressionMode.Decompress));

    private static async Task UntilAsync(StreamReader lines, string text)
    {
        using var limit = new CancellationTokenSource(Watching.Patience);
        while (await lines.ReadLineAsync(limit.Token) is { } line)
        {
            if (line.Contains(text))
                return;
        }

        throw new InvalidOperationException("The stream ended.");
    }

    // The first message with this text; ticks and others are passed over.
    private static async Task<string> ReceiveAsync(WebSocket socket, string text)
    {
        using var limit = new CancellationTokenSource(Watching.Patience);
        var buffer = new byte[512 * 1024];
        for (var length = 0; ;)
        {
            var part = await socket.ReceiveAsync(buffer.AsMemory(length), limit.Token);
            if (part.MessageType == WebSocketMessageType.Close)
                throw new WebSocketException("closed");
            length += part.Count;
            if (!part.EndOfMessage)
                continue;
            var message = Encoding.UTF8.GetString(buffer, 0, length);
            if (message.Contains(text))
                return message;
            length = 0;
        }
    }

    private static async Task<WebApplication> TestHostAsync(TemporaryFolder folder)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseTestServer();
        builder.Services.AddAglow(o => (o.OpenMode, o.DataDirectory, o.HeartbeatSeconds, o.LeaseSeconds) = (true, folder.Path, 3, 8));
        var app = builder.Build();
        app.MapAglow();
        await app.StartAsync();
        return app;
    }

    private static Task<WebSocket> ConnectAsync(TestServer server, string path) =>
        server.CreateWebSocketClient().ConnectAsync(new Uri(server.BaseAddress, path), CancellationToken.None);

    private static AglowClient ClientOf(TestServer server, HttpClient http, string user) =>
        new(new AglowClientOptions(server.BaseAddress)
        {
            User = user,
            HttpClient = http,
            ConnectSocket = async (address, _, cancel) => await server.CreateWebSocketClient().ConnectAsync(address, cancel),
        });

    private sealed class ExtendedConnect(Stream stream) : IHttpExtendedConnectFeature
    {
        public bool IsExtendedConnect => true;

        public string Protocol => "websocket";

        public ValueTask<Stream> AcceptAsync() => new(stream);
    }
}
