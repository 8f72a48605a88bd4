using System.Collections.Concurrent;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Security.Cryptography;
using System.Security.Cryptography.X509Certificates;

namespace Aglow.Server.Tests;

/// <summary>The servers for sockets.</summary>
public sealed class SocketServer : IAsyncLifetime
{
    /// <summary>No lease expires and no socket is pinged during a test, however slow the machine is.</summary>
    internal AglowProcess Process { get; private set; } = null!;

    /// <summary>For tests of leases and pings: a lease of eight seconds, a ping every two.</summary>
    internal AglowProcess Quick { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        Process = await AglowProcess.StartAsync(null, "--lease-seconds", "600", "--heartbeat-seconds", "200");
        Quick = await AglowProcess.StartAsync(null, "--lease-seconds", "8", "--heartbeat-seconds", "2");
    }

    public async Task DisposeAsync()
    {
        await Process.DisposeAsync();
        await Quick.DisposeAsync();
    }
}

public class SocketTests(SocketServer server) : IClassFixture<SocketServer>
{
    private static int _nextUser = 1000;

    private static byte[] Text(string text) => Encoding.UTF8.GetBytes(text);

    private static string NewUser() => Interlocked.Increment(ref _nextUser).ToString(System.Globalization.CultureInfo.InvariantCulture);

    private Uri Address => server.Process.Address;

    private Task<RawSocket> OpenAsync(string? user = null) => RawSocket.OpenAsync(Address, user ?? NewUser());

    private Task<RawSocket> OpenQuickAsync(string? user = null) => RawSocket.OpenAsync(server.Quick.Address, user ?? NewUser());

    // at once, except that the leave of one device is final only some seconds after a stall of the server
    private Task LeftAsync(string user) =>
        Eventually.TrueAsync(async () => await server.Quick.StatusOfAsync(user) == "offline", 60, "offline");

    private async Task PostAsync(string path, string json) =>
        (await server.Process.PostAsync(path, json)).Status.ShouldBeInRange(200, 299);

    private Task<string> StatusAsync(string user) => server.Process.StatusOfAsync(user);

    // ---- handshake --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task The_handshake_answers_as_the_protocol_says()
    {
        await using var socket = await RawSocket.HandshakeAsync(Address, "/ws?user_id=1");
        var head = await socket.ReadHeadAsync();
        head.ShouldStartWith("HTTP/1.1 101 ");
        head.ShouldContain("Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n");
        head.ShouldContain("Upgrade: websocket\r\n");
        head.ShouldContain("Connection: Upgrade\r\n");
        var welcome = await socket.ReadMessageAsync();
        welcome.GetRawText().ShouldBe("{\"type\":\"welcome\",\"user_id\":1,\"offline_after_seconds\":600,\"tick_seconds\":200}");
    }

    [Theory]
    [InlineData("/ws", "", "13", RawSocket.SampleKey, 401)]
    [InlineData("/ws?user_id=", "", "13", RawSocket.SampleKey, 401)]
    [InlineData("/ws?user_id=1", "", "8", RawSocket.SampleKey, 426)]
    [InlineData("/ws?user_id=1", "", "13", "short", 400)]
    [InlineData("/ws?user_id=1", "", "13", "", 400)]
    [InlineData("/ws?user_id=1", "Origin: https://elsewhere.example\r\n", "13", RawSocket.SampleKey, 403)]
    [InlineData("/ws?user_id=1", "Origin: null\r\n", "13", RawSocket.SampleKey, 403)]
    [InlineData("/ws?user_id=a%0Ab", "", "13", RawSocket.SampleKey, 400)]
    [InlineData("/wsx?user_id=1", "", "13", RawSocket.SampleKey, 404)]
    [InlineData("/ws?user_id=1&user_id=2", "", "13", RawSocket.SampleKey, 400)]
    [InlineData("/ws?user_id=1&usr=2", "", "13", RawSocket.SampleKey, 400)]
    [InlineData("/ws?user_id=%zz", "", "13", RawSocket.SampleKey, 400)]
    [InlineData("/ws?user_id=1&device_id=", "", "13", RawSocket.SampleKey, 400)]
    [InlineData("/ws?user_id=1&device_id=a%0Ab", "", "13", RawSocket.SampleKey, 400)]
    [InlineData(
        "/ws?user_id=1&device_id=12345678901234567890123456789012345678901234567890123456789012345", "", "13", RawSocket.SampleKey, 400)]
    [InlineData("/ws?user_id=1&device_id=a&device_kind=toaster", "", "13", RawSocket.SampleKey, 400)]
    public async Task A_handshake_that_is_not_right_is_refused_with_a_problem(
        string target, string more, string version, string key, int status)
    {
        await using var socket = await RawSocket.HandshakeAsync(Address, target, more, version, key);
        var head = await socket.ReadHeadAsync();
        head.ShouldStartWith($"HTTP/1.1 {status} ");
        head.ShouldContain("application/problem+json");
    }

    [Fact]
    public async Task A_page_of_the_same_origin_may_connect()
    {
        await using var socket = await RawSocket.HandshakeAsync(Address, "/ws?user_id=2", "Origin: http://127.0.0.1\r\n");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
    }

    [Theory]
    [InlineData("device_id=0b6f&device_kind=mobile")]
    [InlineData("device_id=a%20b%C3%A4")]
    [InlineData("device_kind=other")]
    public async Task A_handshake_may_name_the_device(string query)
    {
        await using var socket = await RawSocket.HandshakeAsync(Address, $"/ws?user_id={NewUser()}&{query}");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
    }

    [Fact]
    public async Task A_refusal_names_the_parameter_that_is_not_known()
    {
        await using var socket = await RawSocket.HandshakeAsync(Address, "/ws?user_id=1&usr=2");
        var head = await socket.ReadHeadAsync();
        head.ShouldStartWith("HTTP/1.1 400 ");
        var problem = await socket.ReadBodyAsync(head);
        problem.GetProperty("type").GetString().ShouldBe("urn:aglow:problem:malformed-request");
        problem.GetProperty("detail").GetString()!.ShouldStartWith("\"usr\" is not a query parameter of this call.");
    }

    // a page cannot read the answer to a refused handshake
    [Theory]
    [InlineData("/ws", 4401, "Who are you?")]
    [InlineData("/ws?user_id=1&usr=2", 4400, "Malformed request: \"usr\"")]
    public async Task A_page_is_told_on_the_socket_why_it_is_refused(string target, int code, string reason)
    {
        await using var socket = await RawSocket.HandshakeAsync(Address, target, "Origin: http://127.0.0.1\r\n");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        var (closed, why) = await socket.ReadCloseWithReasonAsync();
        closed.ShouldBe(code);
        why.ShouldStartWith(reason);
        await socket.SendAsync(8, [(byte)(code >> 8), (byte)code]);
        (await socket.IsEndedAsync()).ShouldBeTrue();
    }

    [Fact]
    public async Task A_page_that_goes_on_sending_after_a_refusal_is_closed_all_the_same()
    {
        await using var socket = await RawSocket.ConnectAsync(Address);
        await socket.WriteAsync(
            [.. Text(RawSocket.Handshake("/ws", "Origin: http://127.0.0.1\r\n")), .. RawSocket.Frame(1, Text("{\"type\":\"active\"}"))]);
        await socket.ReadHeadAsync();
        (await socket.ReadCloseAsync()).ShouldBe(4401);
        (await socket.IsEndedAsync()).ShouldBeTrue();
    }

    [Fact]
    public async Task The_reason_of_a_close_says_which_limit_was_reached()
    {
        var user = NewUser();
        var open = new List<RawSocket>();
        try
        {
            for (var i = 0; i < 20; i++)
                open.Add(await OpenAsync(user));
            await using var page = await RawSocket.HandshakeAsync(Address, $"/ws?user_id={user}", "Origin: http://127.0.0.1\r\n");
            await page.ReadHeadAsync();
            (await page.ReadCloseWithReasonAsync())
                .ShouldBe((
                    4429,
                    "Too many connections: This user has 20 connections to this server already. Close some tabs, or share one "
                        + "(shareTabs)."));
        }
        finally
        {
            foreach (var socket in open)
                await socket.DisposeAsync();
        }
    }

    [Fact]
    public async Task Plain_http_on_the_path_says_what_it_is()
    {
        var answer = await server.Process.Http.GetAsync("/ws?user_id=1");
        answer.StatusCode.ShouldBe(HttpStatusCode.BadRequest);
        (await server.Process.Http.PostAsync("/ws", null)).StatusCode.ShouldBe(HttpStatusCode.MethodNotAllowed);
    }

    [Fact]
    public async Task A_handshake_may_come_byte_by_byte()
    {
        await using var socket = await RawSocket.ConnectAsync(Address);
        foreach (var one in Text(RawSocket.Handshake("/ws?user_id=3")))
            await socket.WriteAsync([one]);
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        (await socket.ReadMessageAsync()).GetProperty("user_id").GetInt32().ShouldBe(3);
    }

    [Fact]
    public async Task Other_requests_may_come_byte_by_byte_too()
    {
        await using var socket = await RawSocket.ConnectAsync(Address);
        foreach (var one in Text("GET /whatever HTTP/1.1\r\nHost: a\r\n\r\n"))
            await socket.WriteAsync([one]);
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 404 ");
    }

    [Fact]
    public async Task A_connection_used_for_http_can_still_be_upgraded()
    {
        await using var socket = await RawSocket.ConnectAsync(Address);
        await socket.WriteAsync("GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 200 ");
        await socket.WriteAsync(RawSocket.Handshake("/ws?user_id=4"));
        // the body of the first answer comes before the head of the second
        (await socket.ReadHeadAsync()).ShouldContain("HTTP/1.1 101 ");
        (await socket.ReadMessageAsync()).GetProperty("user_id").GetInt32().ShouldBe(4);
        await socket.SendAsync("{\"type\":\"watch\",\"users\":[4]}");
        (await socket.ReadPresenceAsync()).ShouldBe("4:online");
    }

    [Fact]
    public async Task Frames_may_follow_the_handshake_at_once()
    {
        await using var socket = await RawSocket.ConnectAsync(Address);
        await socket.WriteAsync(
            [.. Text(RawSocket.Handshake("/ws?user_id=5")), .. RawSocket.Frame(1, Text("{\"type\":\"watch\",\"users\":[5]}"))]);
        await socket.ReadHeadAsync();
        await socket.ReadMessageAsync();
        (await socket.ReadPresenceAsync()).ShouldBe("5:online");
    }

    [Fact]
    public async Task A_key_is_registered_by_connecting()
    {
        await using var socket = await RawSocket.HandshakeAsync(Address, "/ws?user_id=anna%20m%C3%BCller");
        await socket.ReadHeadAsync();
        (await socket.ReadMessageAsync()).GetProperty("user_id").GetString().ShouldBe("anna müller");
        (await StatusAsync("anna%20m%C3%BCller")).ShouldBe("online");
    }

    [Fact]
    public async Task Over_tls_it_works_with_http_1_and_http_2()
    {
        using var key = RSA.Create(2048);
        var request = new CertificateRequest("CN=localhost", key, HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        using var certificate = request.CreateSelfSigned(DateTimeOffset.UtcNow.AddDays(-1), DateTimeOffset.UtcNow.AddDays(1));
        var folder = AglowProcess.NewFolder();
        await File.WriteAllBytesAsync(Path.Combine(folder, "tls.pfx"), certificate.Export(X509ContentType.Pfx, "secret"));
        await File.WriteAllTextAsync(
            Path.Combine(folder, "appsettings.json"),
            JsonSerializer.Serialize(new
            {
                Kestrel = new { Certificates = new { Default = new { Path = Path.Combine(folder, "tls.pfx"), Password = "secret" } } },
            }));
        await using var tls = AglowProcess.Run(
            Path.Combine(folder, "data"), ["--settings", Path.Combine(folder, "appsettings.json")], urls: "https://127.0.0.1:0");
        foreach (var version in new[] { HttpVersion.Version11, HttpVersion.Version20 })
        {
            using var handler = new SocketsHttpHandler();
            handler.SslOptions.RemoteCertificateValidationCallback = (_, shown, _, _) =>
                shown?.GetCertHashString() == certificate.Thumbprint;
            using var invoker = new HttpMessageInvoker(handler);
            using var socket = new ClientWebSocket();
            socket.Options.HttpVersion = version;
            socket.Options.HttpVersionPolicy = HttpVersionPolicy.RequestVersionExact;
            await socket.ConnectAsync(new Uri($"wss://127.0.0.1:{tls.Address.Port}/ws?user_id=6"), invoker, CancellationToken.None);
            var buffer = new byte[4096];
            var received = await socket.ReceiveAsync(buffer, CancellationToken.None);
            Encoding.UTF8.GetString(buffer, 0, received.Count).ShouldStartWith("{\"type\":\"welcome\",\"user_id\":6");
            await socket.CloseAsync(WebSocketCloseStatus.NormalClosure, "", CancellationToken.None);
        }

        await tls.StopAsync();
        Directory.Delete(folder, recursive: true);
    }

    // ---- messages ---------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_watch_is_answered_with_a_snapshot_and_then_deltas()
    {
        var (one, two) = (NewUser(), NewUser());
        await using var socket = await OpenAsync();
        await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[{one},\"{two}\",\"nobody yet\"]}}");
        (await socket.ReadPresenceAsync()).ShouldBe($"{one}:offline,\"{two}\":offline,\"nobody yet\":offline");
        await PostAsync("/heartbeat", $"{{\"user_id\":{one}}}");
        (await socket.ReadPresenceAsync()).ShouldBe($"{one}:online");
        await PostAsync("/heartbeat", "{\"user_id\":\"nobody yet\"}");
        (await socket.ReadPresenceAsync()).ShouldBe("\"nobody yet\":online");
        // the answer, because the call below comes on another connection
        await socket.SendAsync($"{{\"type\":\"unwatch\",\"id\":1,\"users\":[{one}]}}");
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("ok");
        await PostAsync("/offline", $"{{\"user_ids\":[{one},\"nobody yet\"]}}");
        (await socket.ReadPresenceAsync()).ShouldBe("\"nobody yet\":offline");
    }

    [Fact]
    public async Task An_unwatch_finds_a_user_who_is_watched_in_another_form()
    {
        var (user, last) = (NewUser(), NewUser());
        const string Large = "3000000007";
        await using var socket = await OpenAsync();
        await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[\"{user}\",\"{Large}\",{last},\"{last}\"]}}");
        await socket.ReadPresenceAsync();
        // of a user who is watched in both forms, the other watch stays
        await socket.SendAsync($"{{\"type\":\"unwatch\",\"id\":1,\"users\":[{user},{Large},{last}]}}");
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("ok");
        await PostAsync("/heartbeat", $"{{\"user_ids\":[{user},{Large}]}}");
        await PostAsync("/heartbeat", $"{{\"user_id\":{last}}}");
        (await socket.ReadPresenceAsync()).ShouldBe($"\"{last}\":online");
    }

    [Fact]
    public async Task Under_a_definition_the_answers_name_it()
    {
        var user = NewUser();
        await using var socket = await OpenAsync();
        await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[{user}],\"definition\":\"reachable\"}}");
        (await socket.ReadMessageAsync()).GetProperty("definition").GetString().ShouldBe("reachable");
        await PostAsync("/heartbeat", $"{{\"user_id\":{user}}}");
        var delta = await socket.ReadMessageAsync();
        delta.GetProperty("definition").GetString().ShouldBe("reachable");
        delta.GetProperty("users")[0].GetProperty("is_online").GetBoolean().ShouldBeTrue();
    }

    [Theory]
    [InlineData("{\"type\":\"dance\"}")]
    [InlineData("{}")]
    [InlineData("[]")]
    [InlineData("{\"type\":\"watch\"}")]
    [InlineData("{\"type\":\"watch\",\"users\":[-1]}")]
    [InlineData("{\"type\":\"watch\",\"users\":[1.5]}")]
    [InlineData("{\"type\":\"watch\",\"users\":7}")]
    [InlineData("{\"type\":\"watch\",\"users\":[\"\"]}")]
    [InlineData("{\"type\":\"watch\",\"users\":[1],\"definition\":\"none such\"}")]
    [InlineData("{\"type\":\"status\",\"status\":\"dancing\"}")]
    public async Task A_bad_message_is_answered_and_the_connection_stays(string message)
    {
        var user = NewUser();
        await using var socket = await OpenAsync(user);
        await socket.SendAsync(message);
        var error = await socket.ReadMessageAsync();
        error.GetProperty("type").GetString().ShouldBe("error");
        error.GetProperty("title").GetString().ShouldNotBeNullOrEmpty();
        error.GetProperty("detail").GetString().ShouldNotBeNullOrEmpty();
        await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[{user}]}}");
        (await socket.ReadPresenceAsync()).ShouldBe($"{user}:online");
    }

    [Fact]
    public async Task Status_and_activity_are_said_on_the_socket()
    {
        var user = NewUser();
        await using var socket = await OpenAsync(user);
        await socket.SendAsync($"{{\"type\":\"watch\",\"users\":[{user}]}}");
        await socket.ReadPresenceAsync();
        await socket.SendAsync("{\"type\":\"status\",\"status\":\"busy\"}");
        (await socket.ReadPresenceAsync()).ShouldBe($"{user}:busy");
        await socket.SendAsync("{\"type\":\"active\"}");
        await socket.SendAsync("{\"type\":\"status\",\"status\":\"auto\"}");
        (await socket.ReadPresenceAsync()).ShouldBe($"{user}:online");
        var why = await server.Process.Http.GetFromJsonAsync<JsonElement>($"/status/{user}/explain");
        why.GetProperty("last_activity_at").ValueKind.ShouldBe(JsonValueKind.Number);
    }

    [Fact]
    public async Task A_message_with_an_id_is_answered_with_it()
    {
        var user = NewUser();
        await using var socket = await OpenQuickAsync(user);
        await socket.SendAsync($"{{\"type\":\"watch\",\"id\":1,\"users\":[{user}]}}");
        (await socket.ReadMessageAsync()).GetRawText().ShouldStartWith(
            $"{{\"type\":\"presence\",\"id\":1,\"users\":[{{\"user_id\":{user},");
        await socket.SendAsync("{\"type\":\"watch\",\"users\":[],\"id\":9007199254740991}");
        (await socket.ReadMessageAsync()).GetRawText().ShouldBe("{\"type\":\"presence\",\"id\":9007199254740991,\"users\":[]}");
        await socket.SendAsync($"{{\"id\":3,\"type\":\"unwatch\",\"users\":[{user}]}}");
        (await socket.ReadMessageAsync()).GetRawText().ShouldBe("{\"type\":\"ok\",\"id\":3}");
        await socket.SendAsync("{\"type\":\"unwatch\",\"users\":[],\"id\":4}");
        (await socket.ReadMessageAsync()).GetRawText().ShouldBe("{\"type\":\"ok\",\"id\":4}");
        await socket.SendAsync("{\"type\":\"active\",\"id\":0}");
        (await socket.ReadMessageAsync()).GetRawText().ShouldBe("{\"type\":\"ok\",\"id\":0}");
        await socket.SendAsync("{\"type\":\"status\",\"status\":\"busy\",\"id\":5}");
        (await socket.ReadMessageAsync()).GetRawText().ShouldBe("{\"type\":\"ok\",\"id\":5}");
        (await server.Quick.StatusOfAsync(user)).ShouldBe("busy");
        await socket.SendAsync("{\"type\":\"leave\",\"id\":6}");
        (await socket.ReadMessageAsync()).GetRawText().ShouldBe("{\"type\":\"ok\",\"id\":6}");
        (await socket.ReadCloseAsync()).ShouldBe(1000);
        await LeftAsync(user);
    }

    [Theory]
    [InlineData("{\"type\":\"status\",\"status\":\"dancing\",\"id\":7}", 7, 400, "one of")]
    [InlineData("{\"type\":\"watch\",\"users\":[-1],\"id\":7}", 7, 400, "")]
    [InlineData("{\"type\":\"watch\",\"users\":[1],\"definition\":\"none\",\"id\":7}", 7, 400, "one of")]
    [InlineData("{\"type\":\"watch\",\"id\":7}", 7, 400, "\"users\" is missing")]
    [InlineData("{\"type\":\"status\",\"status\":\"busy\",\"expires_at\":5,\"id\":7}", 7, 400, "\"expires_at\" is not a member")]
    [InlineData("{\"type\":\"active\",\"users\":[1],\"id\":7}", 7, 400, "\"users\" is not a member")]
    [InlineData("{\"type\":\"leave\",\"token\":\"x\",\"id\":7}", 7, 400, "\"token\" is not a member")]
    [InlineData("{\"type\":\"dance\",\"id\":7}", 7, 400, "\"type\" must be one of")]
    [InlineData("{\"type\":\"token\",\"token\":\"x\",\"id\":7}", 7, 501, "takes no tokens")]
    [InlineData("{\"type\":\"active\",\"id\":\"7\"}", null, 400, "\"id\" is an integer")]
    [InlineData("{\"type\":\"active\",\"id\":-1}", null, 400, "\"id\" is an integer")]
    [InlineData("{\"type\":\"active\",\"id\":9007199254740992}", null, 400, "\"id\" is an integer")]
    [InlineData("{\"type\":\"active\",\"id\":1,\"id\":2}", 1, 400, "id is given twice")]
    public async Task What_is_not_done_is_an_error_with_the_id_that_says_why(string message, int? id, int status, string detail)
    {
        await using var socket = await OpenAsync();
        await socket.SendAsync(message);
        var error = await socket.ReadMessageAsync();
        error.GetProperty("type").GetString().ShouldBe("error");
        error.GetProperty("status").GetInt32().ShouldBe(status);
        error.GetProperty("detail").GetString()!.ShouldContain(detail);
        (error.TryGetProperty("id", out var answers) ? answers.GetInt32() : (int?)null).ShouldBe(id);
    }

    [Theory]
    [InlineData("watch", "type", "\"watch\"")]
    [InlineData("watch", "id", "7")]
    [InlineData("watch", "users", "[1]")]
    [InlineData("watch", "definition", "\"chat\"")]
    [InlineData("token", "token", "\"x\"")]
    [InlineData("status", "status", "\"busy\"")]
    [InlineData("status", "text", "\"x\"")]
    [InlineData("status", "emoji", "\"x\"")]
    [InlineData("status", "until", "5000000000")]
    [InlineData("status", "for_seconds", "60")]
    [InlineData("status", "source", "\"call\"")]
    [InlineData("status", "priority", "1")]
    public async Task A_member_that_is_given_twice_is_an_error_whatever_its_values_are(string type, string member, string value)
    {
        await using var socket = await OpenAsync();
        // a null list of users is an error by itself
        foreach (var (first, second) in new[] { ("null", value), (value, "null"), ("null", "null"), (value, value) }
            .Where(pair => member != "users" || pair == (value, value)))
        {
            var others = member == "type" ? "" : $"\"type\":\"{type}\",";
            await socket.SendAsync($"{{{others}\"{member}\":{first},\"{member}\":{second}}}");
            var error = await socket.ReadMessageAsync();
            error.GetProperty("type").GetString().ShouldBe("error", $"{first}, {second}");
            error.GetProperty("detail").GetString()!.Replace("\"", "").ShouldStartWith($"{member} is given twice");
        }
    }

    [Theory]
    [InlineData("active", "definition")]
    [InlineData("leave", "token")]
    [InlineData("token", "definition")]
    [InlineData("watch", "token")]
    [InlineData("watch", "text")]
    public async Task A_member_that_the_type_does_not_take_is_an_error_even_if_it_is_null(string type, string member)
    {
        await using var socket = await OpenAsync();
        await socket.SendAsync($"{{\"type\":\"{type}\",\"{member}\":null,\"id\":7}}");
        var error = await socket.ReadMessageAsync();
        (error.GetProperty("type").GetString(), error.GetProperty("id").GetInt32()).ShouldBe(("error", 7));
        error.GetProperty("detail").GetString()!.ShouldStartWith($"\"{member}\" is not a member of a message of type \"{type}\"");
    }

    [Fact]
    public async Task Saved_subscriptions_are_watched_on_connect()
    {
        var (follower, followed) = (NewUser(), NewUser());
        await PostAsync("/heartbeat", "{\"user_id\":\"carol\"}");
        await PostAsync($"/users/{follower}/subscriptions", $"{{\"user_ids\":[{followed},\"carol\"]}}");
        await using var socket = await OpenAsync(follower);
        (await socket.ReadPresenceAsync()).ShouldContain($"{followed}:offline");
        await PostAsync("/heartbeat", $"{{\"user_id\":{followed}}}");
        (await socket.ReadPresenceAsync()).ShouldContain($"{followed}:online");
    }

    [Fact]
    public async Task Too_many_messages_in_a_second_are_dropped_and_said_so()
    {
        var user = NewUser();
        await using var socket = await OpenAsync(user);
        var messages = new List<byte>();
        for (var i = 0; i < 400; i++)
            messages.AddRange(RawSocket.Frame(1, Text("{\"type\":\"active\"}")));
        await socket.WriteAsync([.. messages]);
        (await socket.ReadMessageAsync()).GetProperty("title").GetString().ShouldBe("Too many messages");
        (await StatusAsync(user)).ShouldBe("online");
    }

    public static TheoryData<string, string> RefusedWatches()
    {
        var many = string.Join(',', Enumerable.Repeat('1', 10_000));
        return new()
        {
            { "No such definition", $"{{\"type\":\"watch\",\"definition\":\"none\",\"users\":[{many}]}}" },
            { "Too many users", $"{{\"type\":\"watch\",\"users\":[{many},1]}}" },
            { "Malformed request", $"{{\"type\":\"unwatch\",\"users\":[{many[..^2]},-1]}}" },
            { "Malformed message", $"{{\"type\":\"look\",\"users\":[{many}]}}" },
        };
    }

    [Theory]
    [MemberData(nameof(RefusedWatches))]
    public async Task What_is_refused_counts_for_as_much_as_it_names(string refusal, string message)
    {
        await using var socket = await OpenAsync(NewUser());
        // fewer than a second's messages, each of which costs as much as twenty
        var messages = new List<byte>();
        for (var i = 0; i < 40; i++)
            messages.AddRange(RawSocket.Frame(1, Text(message)));
        await socket.WriteAsync([.. messages]);
        string? title;
        while ((title = (await socket.ReadMessageAsync()).GetProperty("title").GetString()) == refusal)
        {
            // until the allowance of a second is used up
        }

        title.ShouldBe("Too many messages");
    }

    // ---- the protocol's rules -----------------------------------------------------------------------------------------------

    public static TheoryData<string, byte[], int> Violations() => new()
    {
        { "not JSON", RawSocket.Frame(1, Text("hello")), 1007 },
        { "nothing", RawSocket.Frame(1, []), 1007 },
        { "two documents", RawSocket.Frame(1, Text("{} {}")), 1007 },
        { "no UTF-8", RawSocket.Frame(1, [(byte)'{', (byte)'"', 0xC0, 0xAF, (byte)'"', (byte)'}']), 1007 },
        { "a binary frame", RawSocket.Frame(2, [1, 2, 3]), 1003 },
        { "not masked", RawSocket.Frame(1, Text("{}"), masked: false), 1002 },
        { "a reserved bit", RawSocket.Frame(1, Text("{}"), reserved: 0x40), 1002 },
        { "an unknown opcode", RawSocket.Frame(3, []), 1002 },
        { "an unknown control opcode", RawSocket.Frame(0xB, []), 1002 },
        { "a ping in pieces", RawSocket.Frame(9, [], final: false), 1002 },
        { "a long ping", RawSocket.Frame(9, new byte[126]), 1002 },
        { "a continuation of nothing", RawSocket.Frame(0, Text("{}")), 1002 },
        { "a message inside a message", [.. RawSocket.Frame(1, Text("{"), final: false), .. RawSocket.Frame(1, Text("}"))], 1002 },
        { "a frame over 64 KiB", RawSocket.Frame(1, new byte[(64 * 1024) + 1])[..20], 1009 },
        { "a message over 64 KiB", [.. RawSocket.Frame(1, new byte[40_000], final: false), .. RawSocket.Frame(0, new byte[40_000])], 1009 },
        { "a length of 2^63", [0x81, 0xFF, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], 1002 },
        { "a short length said long", [0x81, 0xFE, 0, 5, 0, 0, 0, 0, 1, 2, 3, 4, 5], 1002 },
        { "a medium length said very long", [0x81, 0xFF, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0], 1002 },
        { "a close of one byte", RawSocket.Frame(8, [3]), 1002 },
        { "a close code nobody may send", RawSocket.Frame(8, [0x03, 0xED]), 1002 },
        { "a close code below all", RawSocket.Frame(8, [0, 1]), 1002 },
        { "a close reason that is no UTF-8", RawSocket.Frame(8, [0x03, 0xE8, 0xFF]), 1007 },
    };

    [Theory]
    [MemberData(nameof(Violations))]
    public async Task A_violation_closes_with_its_code(string what, byte[] bytes, int code)
    {
        await using var socket = await OpenAsync();
        await socket.WriteAsync(bytes);
        (await socket.ReadCloseAsync()).ShouldBe(code, what);
        await socket.SendAsync(8, [(byte)(code >> 8), (byte)code]);
        (await socket.IsEndedAsync()).ShouldBeTrue();
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(125)]
    public async Task A_ping_is_answered_with_its_payload(int length)
    {
        await using var socket = await OpenAsync();
        var payload = RandomNumberGenerator.GetBytes(length);
        await socket.SendAsync(9, payload);
        while (true)
        {
            var (opcode, answer) = await socket.ReadFrameAsync();
            if (opcode != 0xA)
                continue;
            answer.ShouldBe(payload);
            break;
        }
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(7)]
    public async Task A_message_may_come_in_pieces_with_pings_between(int piece)
    {
        var user = NewUser();
        await using var socket = await OpenAsync(user);
        var message = Text($"{{\"type\":\"watch\",\"users\":[{user}]}}");
        for (var at = 0; at < message.Length; at += piece)
        {
            await socket.SendAsync(
                (byte)(at == 0 ? 1 : 0), message[at..Math.Min(message.Length, at + piece)], final: at + piece >= message.Length);
            if (at % 4 == 0)
                await socket.SendAsync(9, [42]);
        }

        (await socket.ReadPresenceAsync()).ShouldBe($"{user}:online");
    }

    [Fact]
    public async Task A_message_of_exactly_64_KiB_is_read()
    {
        var user = NewUser();
        await using var socket = await OpenAsync(user);
        var message = $"{{\"type\":\"watch\",\"users\":[{user}]".PadRight((64 * 1024) - 1) + "}";
        await socket.SendAsync(message);
        (await socket.ReadPresenceAsync()).ShouldBe($"{user}:online");
    }

    [Fact]
    public async Task A_close_is_answered_with_its_code()
    {
        await using var socket = await OpenAsync();
        await socket.SendAsync(8, [0x03, 0xE9, .. Text("bye")]);
        (await socket.ReadCloseAsync()).ShouldBe(1001);
        (await socket.IsEndedAsync()).ShouldBeTrue();
    }

    // ---- presence by being connected ----------------------------------------------------------------------------------------

    [Fact]
    public async Task Being_connected_is_being_online_and_leaving_ends_it()
    {
        var user = NewUser();
        await using var socket = await OpenQuickAsync(user);
        using var stop = new CancellationTokenSource();
        (await server.Quick.StatusOfAsync(user)).ShouldBe("online");
        // longer than the lease, which pongs renew
        var reading = socket.StayAsync(static _ => { }, stop.Token);
        await Task.Delay(TimeSpan.FromSeconds(10));
        (await server.Quick.StatusOfAsync(user)).ShouldBe("online");
        await socket.SendAsync("{\"type\":\"leave\"}");
        await reading;
        await LeftAsync(user);
        (await socket.IsEndedAsync()).ShouldBeTrue();
    }

    [Fact]
    public async Task Leaving_closes_with_1000()
    {
        await using var socket = await OpenAsync();
        await socket.SendAsync("{\"type\":\"leave\"}");
        (await socket.ReadCloseAsync()).ShouldBe(1000);
    }

    [Fact]
    public async Task Of_two_devices_one_leaving_changes_nothing()
    {
        var user = NewUser();
        await using var watcher = await OpenQuickAsync();
        await using var first = await OpenQuickAsync(user);
        await using var second = await OpenQuickAsync(user);
        await watcher.SendAsync($"{{\"type\":\"watch\",\"users\":[{user}]}}");
        (await watcher.ReadPresenceAsync()).ShouldBe($"{user}:online");
        await first.SendAsync("{\"type\":\"leave\"}");
        (await first.ReadCloseAsync()).ShouldBe(1000);
        (await server.Quick.StatusOfAsync(user)).ShouldBe("online");
        await second.SendAsync("{\"type\":\"leave\"}");
        (await second.ReadCloseAsync()).ShouldBe(1000);
        // the first message is that the second connection left
        (await watcher.ReadPresenceAsync()).ShouldBe($"{user}:offline");
    }

    [Fact]
    public async Task Losing_the_connection_leaves_the_lease_running()
    {
        var user = NewUser();
        var socket = await OpenQuickAsync(user);
        socket.Abort();
        (await server.Quick.StatusOfAsync(user)).ShouldBe("online");
        await using var watcher = await OpenQuickAsync();
        await watcher.SendAsync($"{{\"type\":\"watch\",\"users\":[{user}]}}");
        (await watcher.ReadPresenceAsync()).ShouldBe($"{user}:online");
        (await watcher.ReadPresenceAsync()).ShouldBe($"{user}:offline");
    }

    [Fact]
    public async Task After_offline_for_all_devices_an_open_socket_does_not_bring_the_user_back_by_itself()
    {
        var user = NewUser();
        await using var socket = await OpenQuickAsync(user);
        using var stop = new CancellationTokenSource();
        var reading = socket.StayAsync(static _ => { }, stop.Token);
        (await server.Quick.PostAsync("/offline", $"{{\"user_id\":{user}}}")).Status.ShouldBe(200);
        await Task.Delay(TimeSpan.FromSeconds(5));
        (await server.Quick.StatusOfAsync(user)).ShouldBe("offline");
        await socket.SendAsync("{\"type\":\"active\"}");
        await Eventually.TrueAsync(async () => await server.Quick.StatusOfAsync(user) == "online", 60, "online");
        await stop.CancelAsync();
        socket.Abort();
        await reading;
    }

    [Fact]
    public async Task Who_answers_no_pings_is_let_go()
    {
        await using var socket = await OpenQuickAsync();
        // reads pings and does not answer them
        await Should.ThrowAsync<Exception>(async () => await socket.ReadMessageAsync(answerPings: false));
    }

    [Fact]
    public async Task With_every_ping_goes_a_tick()
    {
        await using var socket = await OpenQuickAsync();
        var frames = new List<string>();
        for (var i = 0; i < 4; i++)
        {
            var (opcode, payload) = await socket.ReadFrameAsync();
            if (opcode == 9)
                await socket.SendAsync(0xA, payload);
            frames.Add(opcode == 9 ? "ping" : Encoding.UTF8.GetString(payload));
        }

        frames.ShouldBe(["ping", "{\"type\":\"tick\"}", "ping", "{\"type\":\"tick\"}"]);
    }

    // ---- under load -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_reader_that_stalls_holds_up_nobody_and_gets_the_latest_when_it_reads()
    {
        var users = Enumerable.Range(0, 3000).Select(static _ => NewUser()).ToArray();
        var list = string.Join(',', users);
        await using var stalled = await RawSocket.OpenAsync(Address, NewUser(), receiveBuffer: 4096);
        await using var reader = await OpenAsync();
        await stalled.SendAsync($"{{\"type\":\"watch\",\"users\":[{list}]}}");
        await reader.SendAsync($"{{\"type\":\"watch\",\"users\":[{users[0]}]}}");
        (await reader.ReadPresenceAsync()).ShouldBe($"{users[0]}:offline");
        using var stop = new CancellationTokenSource();
        for (var round = 0; round < 8; round++)
        {
            await PostAsync("/heartbeat", $"{{\"user_ids\":[{list}]}}");
            (await reader.ReadPresenceAsync()).ShouldBe($"{users[0]}:online");
            await PostAsync("/offline", $"{{\"user_ids\":[{list}]}}");
            (await reader.ReadPresenceAsync()).ShouldBe($"{users[0]}:offline");
            // it reads nothing, so it answers no pings; it reports by itself that it is alive
            await stalled.SendAsync("{\"type\":\"active\"}");
        }

        await PostAsync("/heartbeat", $"{{\"user_ids\":[{list}]}}");
        // It reads at last. The messages end with all users online, and are far fewer than the changes.
        var last = new Dictionary<string, string>();
        long records = 0;
        while (last.Count < users.Length || last.Values.Any(static s => s != "online"))
        {
            var told = await stalled.ReadMessageAsync();
            foreach (var record in told.GetProperty("users").EnumerateArray())
            {
                last[record.GetProperty("user_id").GetRawText()] = record.GetProperty("status").GetString()!;
                records++;
            }

            await PostAsync("/heartbeat", $"{{\"user_ids\":[{list}]}}");
        }

        records.ShouldBeLessThan(12L * users.Length);
    }

    [Fact]
    public async Task A_user_watched_by_many_is_told_to_all_of_them_also_while_many_close()
    {
        // with few pings, because no client here answers one while others are served
        await using var own = await AglowProcess.StartAsync(null, "--lease-seconds", "600", "--heartbeat-seconds", "200");
        var user = NewUser();
        var watchers = await Task.WhenAll(Enumerable.Range(0, 1000).Select(_ => RawSocket.OpenAsync(own.Address, NewUser())));
        foreach (var watcher in watchers)
            await watcher.SendAsync($"{{\"type\":\"watch\",\"users\":[{user}]}}");
        foreach (var watcher in watchers)
            (await watcher.ReadPresenceAsync()).ShouldBe($"{user}:offline");
        for (var i = 0; i < watchers.Length; i += 2)
            watchers[i].Abort();
        (
            await own.Http.PostAsJsonAsync(
                "/heartbeat", new { user_id = long.Parse(user, System.Globalization.CultureInfo.InvariantCulture) }))
            .EnsureSuccessStatusCode();
        for (var i = 1; i < watchers.Length; i += 2)
            (await watchers[i].ReadPresenceAsync()).ShouldBe($"{user}:online");
        for (var i = 1; i < watchers.Length; i += 2)
            watchers[i].Abort();
    }

    [Fact]
    public async Task A_pause_of_the_server_shows_nobody_offline_whose_client_is_alive()
    {
        // the lease may not expire because this machine is busy: seven pings fit into it
        await using var own = await AglowProcess.StartAsync(null, "--lease-seconds", "8", "--heartbeat-seconds", "1");
        var heard = new ConcurrentQueue<string>();
        using var stop = new CancellationTokenSource();
        await using var alive = await RawSocket.OpenAsync(own.Address, "1");
        await using var watcher = await RawSocket.OpenAsync(own.Address, "2");
        await watcher.SendAsync("{\"type\":\"watch\",\"users\":[1]}");
        var reading = Task.WhenAll(
            alive.StayAsync(static _ => { }, stop.Token),
            watcher.StayAsync(message => heard.Enqueue(message.GetRawText()), stop.Token));
        await Eventually.TrueAsync(() => Task.FromResult(!heard.IsEmpty), 60, "the snapshot");
        own.Signal(19);
        await Task.Delay(TimeSpan.FromSeconds(10));
        own.Signal(18);
        (await own.Http.GetFromJsonAsync<JsonElement>("/status/1")).GetProperty("status").GetString().ShouldBe("online");
        await Task.Delay(TimeSpan.FromSeconds(10));
        (await own.Http.GetFromJsonAsync<JsonElement>("/status/1")).GetProperty("status").GetString().ShouldBe("online");
        heard.ShouldAllBe(
            static message => !message.Contains("offline\"", StringComparison.Ordinal)
                || message.Contains("\"is_online\":true", StringComparison.Ordinal));
        heard.Count.ShouldBe(1);
        await stop.CancelAsync();
        alive.Abort();
        watcher.Abort();
        await reading;
    }

    [Fact]
    public async Task A_planned_stop_tells_clients_when_to_come_back()
    {
        await using var own = await AglowProcess.StartAsync();
        await using var socket = await RawSocket.OpenAsync(own.Address, "1");
        own.Signal(15);
        var message = await socket.ReadMessageAsync();
        message.GetProperty("type").GetString().ShouldBe("reconnect");
        message.GetProperty("after_ms").GetInt32().ShouldBeInRange(0, 5000);
        (await socket.ReadCloseAsync()).ShouldBe(1001);
        (await own.ExitAsync()).ShouldBe(0);
    }

    // ---- event streams --------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task An_event_stream_begins_with_a_snapshot_and_goes_on_with_deltas()
    {
        var user = NewUser();
        using var request = new HttpRequestMessage(HttpMethod.Get, $"/watch?users={user},some%2Cone");
        request.Headers.Add("Last-Event-ID", "whatever");
        using var answer = await server.Process.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        answer.Content.Headers.ContentType!.MediaType.ShouldBe("text/event-stream");
        using var reader = new StreamReader(await answer.Content.ReadAsStreamAsync());
        (await EventAsync(reader)).ShouldBe((
            "presence",
            $"{{\"users\":[{{\"user_id\":{user},\"is_online\":false,\"status\":\"offline\",\"last_seen\":null}},{{\"user_id\":\"some,one\","
                + $"\"is_online\":false,\"status\":\"offline\",\"last_seen\":null}}]}}"));
        await PostAsync("/heartbeat", $"{{\"user_id\":{user}}}");
        var (name, data) = await EventAsync(reader);
        name.ShouldBe("presence");
        data.ShouldStartWith($"{{\"users\":[{{\"user_id\":{user},\"is_online\":true");
    }

    [Theory]
    [InlineData("/watch", HttpStatusCode.BadRequest)]
    [InlineData("/watch?users=", HttpStatusCode.BadRequest)]
    [InlineData("/watch?users=1&definition=none", HttpStatusCode.BadRequest)]
    public async Task A_stream_of_nothing_is_refused(string path, HttpStatusCode status)
    {
        var answer = await server.Process.Http.GetAsync(path);
        answer.StatusCode.ShouldBe(status);
        answer.Content.Headers.ContentType!.MediaType.ShouldBe("application/problem+json");
    }

    private static async Task<(string Name, string Data)> EventAsync(StreamReader reader)
    {
        string name = "", data = "";
        while (await reader.ReadLineAsync() is { } line)
        {
            if (line.StartsWith("event: ", StringComparison.Ordinal))
                name = line[7..];
            else if (line.StartsWith("data: ", StringComparison.Ordinal))
                data = line[6..];
            else if (line.Length == 0 && name.Length > 0)
                return (name, data);
        }

        throw new EndOfStreamException();
    }
}
