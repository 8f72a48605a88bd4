using System.Diagnostics;

namespace Aglow.Server.Tests;

/// <summary>A server that requires tokens, over HTTP/1.1 and HTTP/2, with keys and limits.</summary>
public class DoorServer : IAsyncLifetime
{
    internal AglowProcess Server { get; private set; } = null!;

    internal Uri Http1 => Server.Address;

    internal Uri Http2 { get; private set; } = null!;

    /// <summary>A key with the scope "users".</summary>
    internal string Key { get; private set; } = "";

    /// <summary>The limits that are not the defaults.</summary>
    protected virtual string[] Limits => [];

    public async Task InitializeAsync()
    {
        var folder = AglowProcess.NewFolder();
        Key = await TokenServer.AddKeyAsync(folder, "users", "users,read");
        // the interval is so long that no tick ends a connection during a test
        (Server, Http2) = await BothVersions.StartAsync(
            folder,
            [
                "--auth", "token", "--jwt-secret", Convert.ToBase64String(Token.Secret), "--lease-seconds", "600",
                "--heartbeat-seconds", "200", "--rate-limit-address", "0", .. Limits,
            ]);
    }

    internal Task<(Open? Opened, int Refused)> TryOpenAsync(Transport transport, string token, string? user = null) =>
        Open.TryAsync(transport, Http1, Http2, token, user);

    internal async Task<Open> OpenAsync(Transport transport, string token, string? user = null)
    {
        var (opened, refused) = await TryOpenAsync(transport, token, user);
        refused.ShouldBe(0, $"{transport}");
        return opened!;
    }

    public async Task DisposeAsync()
    {
        await Server.DisposeAsync();
        Directory.Delete(Server.Folder, recursive: true);
    }
}

/// <summary>The same with a rate so low that also a slow machine exceeds it: ten calls at once, and then five a second.</summary>
public sealed class StrictDoorServer : DoorServer
{
    protected override string[] Limits => ["--rate-limit", "5"];
}

/// <summary>One gate for every transport: who the caller is, what they may spend and hold, and how long they may stay.</summary>
public class DoorTests(DoorServer shared, StrictDoorServer strict) : IClassFixture<DoorServer>, IClassFixture<StrictDoorServer>
{
    // less than a tick (200 s), after which a connection would end anyway
    private const double Soon = 60;

    private static readonly Transport[] All = Enum.GetValues<Transport>();

    private readonly AglowProcess _server = shared.Server;

    // ---- who calls -----------------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Nobody_is_taken_for_who_called_before_on_a_connection(int version)
    {
        var callers = new MistakenCallers(people: 1_000);
        var (address, of) = version == 1 ? (shared.Http1, HttpVersion.Version11) : (shared.Http2, HttpVersion.Version20);
        await callers.RunAsync(address, of, connections: 5, requests: 4_000, seed: 1);
        callers.First.ShouldBeNull();
    }

    // ---- how long they may stay --------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("revoked", 401)]
    [InlineData("deleted", 401)]
    [InlineData("disabled", 403)]
    [InlineData("expired", 401)]
    public async Task What_a_person_has_open_ends_at_once_on_every_transport_and_does_not_open_again(string cause, int refused)
    {
        await Task.WhenAll(All.Select(async transport =>
        {
            var me = SharedServer.NewKey("me");
            // long enough to open all transports on a slow machine
            var token = Signed(me, cause == "expired" ? 10 : 600);
            // a stream alone registers no user
            (await _server.CallAsync(token, "POST", "/heartbeat")).Status.ShouldBe(200);
            await using var open = await shared.OpenAsync(transport, token);
            var answer = cause switch
            {
                "revoked" => await _server.CallAsync(shared.Key, "POST", $"/users/{me}/revoke"),
                "deleted" => await _server.CallAsync(shared.Key, "DELETE", $"/users/{me}"),
                "disabled" => await _server.CallAsync(shared.Key, "PUT", $"/users/{me}/access", "{\"disabled\":true}"),
                _ => null,
            };
            (answer?.Status ?? 200).ShouldBeLessThan(300);
            await EndsAsync(open, $"{transport} of a person who is {cause}");
            // a token is accepted for a minute after it has expired, but it opens nothing that stays
            if (cause != "expired")
                (await shared.TryOpenAsync(transport, token)).Refused.ShouldBe(refused, $"{transport}");
        }));
    }

    [Theory]
    [InlineData("revoked")]
    [InlineData("disabled")]
    public async Task A_stream_of_somebody_who_never_came_ends_too(string cause)
    {
        foreach (var transport in new[] { Transport.StreamOverHttp1, Transport.StreamOverHttp2 })
        {
            var me = SharedServer.NewKey("never came");
            await using var open = await shared.OpenAsync(transport, Signed(me, 600));
            var answer = cause == "revoked"
                ? await _server.CallAsync(shared.Key, "POST", $"/users/{Uri.EscapeDataString(me)}/revoke")
                : await _server.CallAsync(shared.Key, "PUT", $"/users/{Uri.EscapeDataString(me)}/access", "{\"disabled\":true}");
            answer.Status.ShouldBeLessThan(300);
            await EndsAsync(open, $"{transport} of somebody without an index who is {cause}");
        }
    }

    [Fact]
    public async Task What_a_key_has_open_ends_when_the_key_is_revoked_on_every_transport()
    {
        var key = await TokenServer.AddKeyAsync(_server.Folder, "gateway", "heartbeat,read");
        await Eventually.TrueAsync(async () => (await _server.CallAsync(key, "GET", "/status/1")).Status == 200, Soon, "the key is taken");
        var open = await Task.WhenAll(All.Select(transport => shared.OpenAsync(transport, key, SharedServer.NewKey("user"))));
        (await AglowProcess.RunToEndAsync(["keys", "revoke", "--data", _server.Folder, "--name", "gateway"])).Code.ShouldBe(0);
        for (var i = 0; i < open.Length; i++)
        {
            await EndsAsync(open[i], $"{All[i]} of a key that is revoked");
            await open[i].DisposeAsync();
            (await shared.TryOpenAsync(All[i], key, "somebody")).Refused.ShouldBe(401);
        }
    }

    // ---- what they may hold ----------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData(Transport.RawSocket, Transport.SocketOverHttp2)]
    [InlineData(Transport.SocketOverHttp1, Transport.RawSocket)]
    [InlineData(Transport.StreamOverHttp1, Transport.StreamOverHttp2)]
    [InlineData(Transport.StreamOverHttp2, Transport.StreamOverHttp1)]
    public async Task Twenty_sockets_and_twenty_streams_are_one_persons_over_all_transports(Transport many, Transport another)
    {
        var me = SharedServer.NewKey("me");
        var token = Signed(me, 600);
        var open = new List<Open>();
        try
        {
            for (var i = 0; i < 20; i++)
                open.Add(await shared.OpenAsync(many, token));
            (await shared.TryOpenAsync(another, token)).Refused.ShouldBe(429);
            // another user has a place, and a connection that closes frees one
            await using (await shared.OpenAsync(another, Signed(SharedServer.NewKey("other"), 600)))
            {
            }

            await open[0].DisposeAsync();
            await Eventually.TrueAsync(
                async () =>
                {
                    var (opened, _) = await shared.TryOpenAsync(another, token);
                    if (opened is not null)
                        await opened.DisposeAsync();
                    return opened is not null;
                },
                Soon,
                "a place is given back");
        }
        finally
        {
            foreach (var one in open)
                await one.DisposeAsync();
        }
    }

    [Fact]
    public async Task Watches_of_one_person_are_limited_in_bytes_over_streams_and_sockets_together_and_given_back()
    {
        var me = SharedServer.NewKey("me");
        var ids = string.Join(',', Enumerable.Range(0, 5_500).Select(static i => $"{i:x8}-0000-4000-8000-000000000000"));
        // streams of a user without an index end when the user is registered
        (await _server.CallAsync(Signed(me, 600), "POST", "/heartbeat")).Status.ShouldBe(200);
        var streams = new List<HttpResponseMessage>();
        var refused = 0;
        for (var i = 0; i < 8 && refused == 0; i++)
        {
            // each stream costs 55 calls, and another token of the same user does not help
            HttpResponseMessage answer;
            do
                answer = await _server.Http.SendAsync(
                    BothVersions.Request(HttpVersion.Version11, shared.Http1, "GET", $"/watch?users={ids}", Signed(me, 600 + i)),
                    HttpCompletionOption.ResponseHeadersRead);
            while (answer.StatusCode == HttpStatusCode.TooManyRequests && (await answer.Content.ReadAsStringAsync())
                .Contains("calls a second", StringComparison.Ordinal) && await WaitAsync(answer));
            if (answer.StatusCode == HttpStatusCode.OK)
            {
                // the web server closes a connection whose client does not read
                _ = answer.Content.CopyToAsync(Stream.Null);
                streams.Add(answer);
            }
            else
            {
                refused = (int)answer.StatusCode;
            }
        }

        (streams.Count, refused).ShouldBe((3, 429));
        await using (var socket = await WhenPaidOffAsync(Signed(me, 600)))
        {
            (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("welcome");
            var some = string.Join(',', Enumerable.Range(0, 1_500).Select(static i => $"\"{i:x8}-0000-4000-8000-000000000000\""));
            (await WatchAsync(socket, 0, some)).GetProperty("type").GetString().ShouldBe("presence");
            // different users, because users already watched take no further places
            some = some.Replace("-4000-", "-4001-");
            var error = await WatchAsync(socket, 1, some);
            (error.GetProperty("status").GetInt32(), error.GetProperty("title").GetString(), error.GetProperty("id").GetInt32())
                .ShouldBe((429, "Too much held", 1));
            streams[0].Dispose();
            // a stream's places are free when it has ended
            await Eventually.TrueAsync(
                async () => (await WatchAsync(socket, 2, some)).GetProperty("type").GetString() == "presence",
                90,
                "memory is given back");
        }

        streams.ForEach(static stream => stream.Dispose());
    }

    [Theory]
    [InlineData(8_000, true)]
    [InlineData(17_000, false)]
    [InlineData(300_000, false)]
    [InlineData(410_000, false)]
    public async Task A_connection_does_not_keep_a_long_query_for_nothing(int length, bool isKept)
    {
        await using var connection = await RawSocket.ConnectAsync(shared.Http1);
        await connection.WriteAsync($"GET /watch?users={new string('1', length)} HTTP/1.1\r\nHost: a\r\n\r\n");
        var head = await connection.ReadHeadAsync();
        head.Contains("Connection: close", StringComparison.OrdinalIgnoreCase).ShouldBe(!isKept, head);
    }

    // ---- what they may spend ---------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("users in a body")]
    [InlineData("users in a query")]
    [InlineData("users of a stream")]
    [InlineData("bytes")]
    [InlineData("bytes of unknown length")]
    [InlineData("handshakes")]
    [InlineData("messages")]
    [InlineData("users in messages")]
    public async Task Cost_is_charged_over_every_transport_and_others_go_on(string what)
    {
        var me = SharedServer.NewKey("me");
        var token = Signed(me, 600);
        var numbers = string.Join(',', Enumerable.Range(0, 5_000));
        var answers = new List<(int Status, TimeSpan? RetryAfter)>();
        // no more calls than a user may make at once, but their cost is too high
        for (var i = 0; i < 10 && answers.All(static a => a.Status != 429); i++)
        {
            switch (what)
            {
                case "users in a body":
                    await SendAsync("POST", "/status/batch", $"{{\"user_ids\":[{numbers}]}}");
                    break;
                case "users in a query":
                    await SendAsync("GET", $"/status/users?ids={string.Join(',', Enumerable.Range(0, 1_000))}");
                    break;
                case "users of a stream":
                    await SendAsync("GET", $"/watch?users={numbers}");
                    break;
                case "bytes":
                    await SendAsync("POST", "/status/batch", $"{{\"user_ids\":[1]{new string(' ', 2_000_000)}}}");
                    break;
                case "bytes of unknown length":
                    await SendAsync("POST", "/status/batch", $"{{\"user_ids\":[1]{new string(' ', 2_000_000)}}}", chunked: true);
                    break;
                case "handshakes":
                    var (opened, refused) = await strict.TryOpenAsync(All[i % 3], token);
                    answers.Add((refused, null));
                    if (opened is not null)
                        await opened.DisposeAsync();
                    break;
                default:
                    answers.Add((
                        await FloodAsync(what == "messages"
                            ? "{\"type\":\"watch\",\"id\":1,\"users\":[1]}"
                            : $"{{\"type\":\"watch\",\"id\":1,\"users\":[{numbers}]}}"), null));
                    break;
            }
        }

        answers[^1].Status.ShouldBe(429, what);
        (answers[^1].RetryAfter is not { } wait || wait >= TimeSpan.FromSeconds(1)).ShouldBeTrue();
        (await strict.Server.CallAsync(Signed(SharedServer.NewKey("other"), 600), "POST", "/heartbeat")).Status.ShouldBe(200);

        async Task SendAsync(string method, string path, string? json = null, bool chunked = false)
        {
            var is2 = answers.Count % 2 == 1;
            using var request = BothVersions.Request(
                is2 ? HttpVersion.Version20 : HttpVersion.Version11, is2 ? strict.Http2 : strict.Http1, method, path, token, json);
            if (chunked)
                request.Headers.TransferEncodingChunked = !is2;
            if (chunked && is2)
                request.Content!.Headers.ContentLength = null;
            using var answer = await strict.Server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            answers.Add(((int)answer.StatusCode, answer.Headers.RetryAfter?.Delta));
        }

        // 40 messages on each of three sockets, of which a single socket may send fifty a second
        async Task<int> FloodAsync(string message)
        {
            var statuses = new List<int>();
            for (var i = 0; i < 3; i++)
            {
                var socket = await RawSocket.HandshakeAsync(strict.Http1, "/ws", $"Authorization: Bearer {token}\r\n");
                if (!(await socket.ReadHeadAsync()).StartsWith("HTTP/1.1 101 ", StringComparison.Ordinal))
                    return 429;
                (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("welcome");
                for (var sent = 0; sent < 40; sent++)
                    await socket.SendAsync(message);
                for (var heard = 0; heard < 40 && statuses.Count == 0; heard++)
                {
                    if ((await socket.ReadMessageAsync()).TryGetProperty("status", out var status))
                        statuses.Add(status.GetInt32());
                }

                await socket.DisposeAsync();
            }

            return statuses.FirstOrDefault();
        }
    }

    [Theory]
    [InlineData("POST", "/status/batch")]
    [InlineData("GET", "/watch")]
    public async Task Who_goes_on_after_refusals_waits_for_each_answer_also_if_only_the_users_cost_too_much(string method, string path)
    {
        // calls are cheap here and 10,000 users are not, so a call is refused only after its users are known
        await using var server = await AglowProcess.StartAsync(
            null, ["--auth", "token", "--jwt-secret", Convert.ToBase64String(Token.Secret), "--rate-limit", "1000"]);
        var token = Signed("me", 600);
        var numbers = string.Join(',', Enumerable.Range(0, 9_000));
        var (target, json) = method == "GET" ? ($"{path}?users={numbers}", null) : (path, $"{{\"user_ids\":[{numbers}]}}");
        var hasWaited = false;
        await Task.WhenAll(Enumerable.Range(0, 8).Select(async _ =>
        {
            for (var i = 0; i < 200 && !Volatile.Read(ref hasWaited); i++)
            {
                using var request = BothVersions.Request(HttpVersion.Version11, server.Address, method, target, token, json);
                var sent = Stopwatch.GetTimestamp();
                using var answer = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
                if ((int)answer.StatusCode == 429 && Stopwatch.GetElapsedTime(sent) >= TimeSpan.FromSeconds(1))
                    Volatile.Write(ref hasWaited, true);
            }
        }));
        hasWaited.ShouldBeTrue();
    }

    [Fact]
    public async Task A_page_hears_on_its_socket_which_limit_it_has_reached()
    {
        var token = Signed(SharedServer.NewKey("me"), 600);
        for (var i = 0; i < 60; i++)
        {
            await using var socket = await RawSocket.ConnectAsync(strict.Http1);
            await socket.WriteAsync(
                RawSocket.Handshake($"/ws?access_token={token}", "Origin: http://127.0.0.1\r\nUser-Agent: Mozilla/5.0\r\n"));
            (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
            var (opcode, payload) = await socket.ReadFrameAsync();
            if (opcode != 0x8)
                continue;
            ((payload[0] << 8) | payload[1]).ShouldBe(4429);
            Encoding.UTF8.GetString(payload.AsSpan(2)).ShouldStartWith("Too many calls: More than 5 calls a second of this user");
            return;
        }

        Assert.Fail("sixty sockets were opened one after another");
    }

    [Fact]
    public async Task A_client_with_five_hundred_contacts_reconnects_with_five_devices_at_once()
    {
        var me = SharedServer.NewKey("me");
        var token = Signed(me, 600);
        var contacts = string.Join(',', Enumerable.Range(0, 500).Select(i => $"\"{me}-contact-{i}\""));
        (await _server.CallAsync(token, "POST", $"/users/{me}/subscriptions", $"{{\"user_ids\":[{contacts}]}}")).Status.ShouldBe(200);
        await Task.WhenAll(Enumerable.Range(0, 5).Select(async _ =>
        {
            await using var socket = await RawSocket.HandshakeAsync(shared.Http1, "/ws", $"Authorization: Bearer {token}\r\n");
            (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
            await socket.SendAsync($"{{\"type\":\"watch\",\"id\":1,\"users\":[{contacts}]}}");
            JsonElement message;
            do
                message = await socket.ReadMessageAsync();
            while (!message.TryGetProperty("id", out var id) || id.ValueKind == JsonValueKind.Null);
            message.GetProperty("type").GetString().ShouldBe("presence");
            (await _server.CallAsync(token, "POST", "/status/batch", $"{{\"user_ids\":[{contacts}]}}")).Status.ShouldBe(200);
        }));
    }

    [Fact]
    public async Task Sockets_register_no_more_users_than_calls()
    {
        await using var server = await AglowProcess.StartAsync(null, [.. Token.ServerFlags, "--rate-limit-registrations", "1"]);
        var key = await TokenServer.AddKeyAsync(server.Folder, "importer", "heartbeat");
        await Eventually.TrueAsync(
            async () => (await server.CallAsync(key, "POST", "/heartbeat", "{\"user_id\":1}")).Status == 200, Soon, "the key is taken");
        var statuses = new List<string>();
        for (var i = 0; i < 40; i++)
        {
            await using var socket = await RawSocket.HandshakeAsync(
                server.Address, $"/ws?user_id=new-{i}", $"Authorization: Bearer {key}\r\n");
            statuses.Add((await socket.ReadHeadAsync()).Split(' ')[1]);
        }

        statuses.ShouldContain("101");
        statuses.ShouldContain("429");
    }

    [Fact]
    public async Task No_call_registers_users_while_its_key_registers_too_fast()
    {
        await using var server = await AglowProcess.StartAsync(
            null, [.. Token.ServerFlags, "--rate-limit-registrations", "1", "--rate-limit-key", "0", "--rate-limit-address", "0"]);
        var key = await TokenServer.AddKeyAsync(server.Folder, "all", "heartbeat,read,users,operate");
        await Eventually.TrueAsync(async () => (await server.CallAsync(key, "GET", "/status/1")).Status == 200, Soon, "the key is taken");
        async Task<string> RegisteredAsync() =>
            (await server.CallAsync(key, "GET", "/metrics")).Text.Split('\n').Single(
                static line => line.StartsWith("aglow_users_registered ", StringComparison.Ordinal));
        static string Import(string prefix) => JsonSerializer.Serialize(new
        {
            users = Enumerable.Range(0, 600).Select(i => new { user_id = $"{prefix}-{i}", user_name = $"{prefix}-{i}" }),
        });

        // an import of more users than the limit passes once, and is paid off in ten minutes
        (await server.CallAsync(key, "POST", "/users/batch", Import("first"))).ShouldBeJson("""{"created":600,"replaced":0}""");
        var registered = await RegisteredAsync();
        var refused = (await server.CallAsync(key, "POST", "/users/batch", Import("second"))).ShouldBeProblem(429, "1 new users a second");
        refused.Headers.RetryAfter!.Delta!.Value.TotalSeconds.ShouldBeGreaterThan(60);
        // the same again has no new users
        (await server.CallAsync(key, "POST", "/users/batch", Import("first"))).ShouldBeJson("""{"created":0,"replaced":600}""");

        var wayIn = new List<string>();
        foreach (var call in IdentityTests.Calls("newcomer"))
        {
            // a stream does not end, and packed bodies hold numbers
            if (call.Packed is not null || call.Path.StartsWith("/watch", StringComparison.Ordinal))
                continue;
            if ((await server.CallAsync(key, call.Method, call.Path, call.Json)).Status == 429)
                wayIn.Add($"{call.Method} {call.Path.Split('?')[0]}");
            (await RegisteredAsync()).ShouldBe(registered, $"{call}");
        }

        string[] known =
        [
            "POST /heartbeat", "POST /status/update", "POST /users", "POST /users/batch", "PUT /users", "PATCH /users",
            "PUT /users/newcomer", "PATCH /users/newcomer", "PUT /users/newcomer/access", "POST /users/newcomer/revoke",
            "PUT /users/newcomer/status", "PUT /users/newcomer/visibility", "POST /users/newcomer/subscriptions",
        ];
        known.Except(wayIn).ShouldBeEmpty();
    }

    [Fact]
    public async Task Probes_are_answered_whatever_else_their_address_sends()
    {
        await using var server = await AglowProcess.StartAsync(null, [.. Token.ServerFlags, "--rate-limit-address", "1"]);
        var refused = false;
        for (var i = 0; i < 15; i++)
            refused |= (await server.GetAsync("/openapi/v1.json")).Status == 429;
        refused.ShouldBeTrue();
        for (var i = 0; i < 40; i++)
        {
            foreach (var probe in new[] { "/health/live", "/health/ready" })
                (await server.GetAsync(probe)).Status.ShouldBe(200, probe);
        }
    }

    private static string Signed(string user, int seconds) => Token.Of(user, seconds);

    private static async Task EndsAsync(Open open, string what) =>
        (await Task.WhenAny(open.Ended, Task.Delay(TimeSpan.FromSeconds(Soon)))).ShouldBe(open.Ended, what);

    private static async Task<bool> WaitAsync(HttpResponseMessage answer)
    {
        await Task.Delay(answer.Headers.RetryAfter!.Delta!.Value);
        return true;
    }

    // the answer, once the cost of earlier calls is paid
    private static async Task<JsonElement> WatchAsync(RawSocket socket, int id, string users)
    {
        while (true)
        {
            await socket.SendAsync($"{{\"type\":\"watch\",\"id\":{id},\"users\":[{users}]}}");
            var answer = await socket.ReadMessageAsync();
            if (!answer.TryGetProperty("title", out var title) || title.GetString() != "Too many calls")
                return answer;
            await Task.Delay(300);
        }
    }

    // a socket of a user who must first pay for other calls
    private async Task<RawSocket> WhenPaidOffAsync(string token)
    {
        while (true)
        {
            var socket = await RawSocket.HandshakeAsync(shared.Http1, "/ws", $"Authorization: Bearer {token}\r\n");
            var head = await socket.ReadHeadAsync();
            if (head.StartsWith("HTTP/1.1 101 ", StringComparison.Ordinal))
                return socket;
            head.ShouldStartWith("HTTP/1.1 429 ");
            await socket.DisposeAsync();
        }
    }
}
