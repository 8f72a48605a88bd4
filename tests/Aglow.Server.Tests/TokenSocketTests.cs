namespace Aglow.Server.Tests;

/// <summary>Sockets of users with tokens, with the shortcut before HTTP and through HTTP.</summary>
[Collection(TokenCalls.Name)]
public class TokenSocketTests(TokenServer shared)
{
    private const int TokenEnded = 4401;

    private readonly AglowProcess _server = shared.Server;

    // the shortcut before HTTP does not understand "*/*" twice, so it passes the handshake on
    public static TheoryData<string> Ways => new("", "Accept: */*\r\nAccept: */*\r\n");

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task A_token_comes_in_a_header_the_query_or_a_subprotocol(string way)
    {
        var me = SharedServer.NewKey("me");
        foreach (var (target, headers, chosen) in new[]
        {
            ("/ws", $"Authorization: Bearer {Token.Of(me)}\r\n", null),
            ($"/ws?access_token={Token.Of(me)}", "", null),
            ($"/ws?user_id={me}&access_token={Token.Of(me)}", "", null),
            ("/ws", $"Sec-WebSocket-Protocol: aglow, aglow.token.{Token.Of(me)}\r\n", "Sec-WebSocket-Protocol: aglow\r\n"),
        })
        {
            await using var socket = await RawSocket.HandshakeAsync(_server.Address, target, headers + way);
            var head = await socket.ReadHeadAsync();
            head.ShouldStartWith("HTTP/1.1 101 ");
            if (chosen is null)
                head.ShouldNotContain("Sec-WebSocket-Protocol");
            else
                head.ShouldContain(chosen);
            var welcome = await socket.ReadMessageAsync();
            welcome.GetProperty("user_id").GetString().ShouldBe(me);
            welcome.GetProperty("expires_in_seconds").GetInt64().ShouldBeInRange(500, 600);
        }
    }

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task A_socket_closes_when_its_token_ends(string way)
    {
        var me = SharedServer.NewKey("me");
        await using var socket = await _server.OpenSocketAsync(Token.Of(me, seconds: 8), way);
        (await socket.ReadCloseAsync(answerPings: true)).ShouldBe(TokenEnded);
    }

    [Fact]
    public async Task A_page_is_told_on_the_socket_why_its_token_is_refused()
    {
        foreach (var (target, code, reason) in new[]
        {
            ("/ws", 4401, "Not authenticated: Send a token or key as the subprotocols aglow and aglow.token.TOKEN, ?access_token=TOKEN"),
            ($"/ws?access_token={shared.Keys["heartbeat"]}", 4400,
                "Malformed request: A key belongs to no user. Name the user that connects: /ws?user_id=42."),
            ("/ws?access_token=junk", 4401, "Token refused: "),
            ($"/ws?access_token={Token.Of("me", seconds: -120)}", 4401, "Token expired: "),
            ($"/ws?user_id=other&access_token={Token.Of("me")}", 4403, "Not yours: "),
            ($"/ws?access_token={shared.Keys["read"]}", 4403, "Scope missing: "),
        })
        {
            await using var socket = await RawSocket.HandshakeAsync(_server.Address, target, "Origin: http://127.0.0.1\r\n");
            (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
            var (closed, why) = await socket.ReadCloseWithReasonAsync();
            (closed, why[..reason.Length]).ShouldBe((code, reason));
        }
    }

    [Theory]
    [InlineData("/ws", "", "not-authenticated", "aglow.token.TOKEN, ?access_token=TOKEN or Authorization: Bearer TOKEN.")]
    [InlineData("/watch?users=1", "", "not-authenticated", "Send a token or key as ?access_token=TOKEN or Authorization: Bearer TOKEN.")]
    [InlineData("/ws", "junk", "token-refused", "does not accept the token")]
    [InlineData("/ws?user_id=other", "me", "not-yours", "yourself only")]
    [InlineData("/ws?user_id=1", "key of read", "scope-missing", "lacks the scope \"heartbeat\"")]
    [InlineData("/ws", "key of heartbeat", "malformed-request", "Name the user that connects: /ws?user_id=42.")]
    [InlineData("/ws?usr=1", "me", "malformed-request", "\"usr\" is not a query parameter")]
    [InlineData("/ws?device_id=", "me", "malformed-request", "device_id is not")]
    [InlineData("/ws", "disabled", "user-disabled", "is disabled")]
    [InlineData("/ws?user_id=DISABLED", "key of heartbeat", "user-disabled", "is disabled")]
    [InlineData("/ws", "revoked", "token-revoked", "signed out everywhere")]
    public async Task A_plain_call_is_refused_as_the_handshake_is(string target, string whose, string type, string detail)
    {
        var me = SharedServer.NewKey("me");
        var operate = shared.Keys["users"];
        var token = whose.StartsWith("key of ", StringComparison.Ordinal) ? shared.Keys[whose[7..]]
            : whose is "" or "junk" ? whose
            : Token.Of(me);
        if (whose == "disabled" || target.Contains("DISABLED", StringComparison.Ordinal))
            (await _server.CallAsync(operate, "PUT", $"/users/{me}/access", """{"disabled":true}""")).Status.ShouldBe(200);
        if (whose == "revoked")
            (await _server.CallAsync(operate, "POST", $"/users/{me}/revoke")).Status.ShouldBe(204);
        target = target.Replace("DISABLED", me, StringComparison.Ordinal);
        var plain = await _server.CallAsync(token is "" ? null : token, "GET", target);
        plain.ShouldBeProblem(plain.Status, detail).Json["type"]!.GetValue<string>().ShouldBe($"urn:aglow:problem:{type}");
        await using var socket = await RawSocket.HandshakeAsync(
            _server.Address, target, token is "" ? "" : $"Authorization: Bearer {token}\r\n");
        var head = await socket.ReadHeadAsync();
        head.ShouldStartWith($"HTTP/1.1 {plain.Status} ");
        (await socket.ReadBodyAsync(head)).GetProperty("detail").GetString().ShouldBe(plain.Json["detail"]!.GetValue<string>());
    }

    [Fact]
    public async Task A_plain_call_of_somebody_who_may_connect_says_that_it_is_no_handshake_and_brings_nobody_online()
    {
        var me = SharedServer.NewKey("me");
        var plain = await _server.CallAsync(Token.Of(me), "GET", "/ws");
        plain.ShouldBeProblem(400).Json["type"]!.GetValue<string>().ShouldBe("urn:aglow:problem:not-a-websocket");
        (await _server.CallAsync(shared.Keys["read"], "GET", $"/status/{me}")).Json["status"]!.GetValue<string>().ShouldBe("offline");
    }

    [Fact]
    public async Task A_message_renews_it()
    {
        var me = SharedServer.NewKey("me");
        await using var socket = await _server.OpenSocketAsync(Token.Of(me, seconds: 10));
        foreach (var (token, says) in new[]
        {
            (Token.Of("other"), "Not yours"), ("junk", "Token refused"), (shared.Keys["heartbeat"], "Not yours"),
        })
        {
            await socket.SendAsync(JsonSerializer.Serialize(new { type = "token", token }));
            (await socket.ReadMessageAsync()).GetProperty("title").GetString().ShouldBe(says);
        }

        await socket.SendAsync("""{"type":"token"}""");
        (await socket.ReadMessageAsync()).GetProperty("detail").GetString()!.ShouldContain("\"token\" is missing");
        await socket.SendAsync(JsonSerializer.Serialize(new { type = "token", id = 8, token = Token.Of(me, seconds: 300) }));
        var renewed = await socket.ReadMessageAsync();
        renewed.GetProperty("id").GetInt32().ShouldBe(8);
        renewed.GetProperty("type").GetString().ShouldBe("token");
        renewed.GetProperty("expires_in_seconds").GetInt64().ShouldBeInRange(250, 300);
        // longer than the first token was valid; a watch shows that the socket still lives
        await Task.Delay(TimeSpan.FromSeconds(11.5));
        await socket.SendAsync("""{"type":"watch","users":[1]}""");
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("presence");
    }

    [Fact]
    public async Task An_event_stream_ends_when_its_token_does()
    {
        using var stream = await _server.Http.GetStreamAsync($"/watch?users=1&access_token={Token.Of("me", seconds: 8)}");
        using var reader = new StreamReader(stream);
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        (await reader.ReadToEndAsync(limit.Token)).ShouldStartWith("event: presence");
    }

    [Fact]
    public async Task A_token_in_a_url_is_written_nowhere()
    {
        var me = SharedServer.NewKey("me");
        var token = Token.Of(me);
        await using (var socket = await RawSocket.HandshakeAsync(_server.Address, $"/ws?access_token={token}"))
        {
            await socket.ReadHeadAsync();
        }

        await _server.GetAsync($"/watch?access_token={token}");
        await _server.GetAsync($"/nowhere?access_token={token}");
        var signature = token[(token.LastIndexOf('.') + 1)..];
        (_server.Output + _server.Errors).ShouldNotContain(signature);
    }

    [Fact]
    public async Task Twenty_connections_are_enough_for_one_person()
    {
        var me = SharedServer.NewKey("me");
        var open = new List<RawSocket>();
        try
        {
            for (var i = 0; i < 20; i++)
                open.Add(await _server.OpenSocketAsync(Token.Of(me)));
            await using var refused = await RawSocket.HandshakeAsync(_server.Address, "/ws", $"Authorization: Bearer {Token.Of(me)}\r\n");
            var head = await refused.ReadHeadAsync();
            head.ShouldStartWith("HTTP/1.1 429 ");
            head.ShouldContain("Retry-After: ");
            // when one closes, another may open
            open[0].Abort();
            await Eventually.TrueAsync(async () =>
            {
                await using var again = await RawSocket.HandshakeAsync(_server.Address, "/ws", $"Authorization: Bearer {Token.Of(me)}\r\n");
                return (await again.ReadHeadAsync()).StartsWith("HTTP/1.1 101 ", StringComparison.Ordinal);
            }, 60, "a place that was left is free");
        }
        finally
        {
            foreach (var socket in open)
                await socket.DisposeAsync();
        }
    }
}
