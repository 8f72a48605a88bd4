using System.Net.Sockets;

namespace Aglow.Server.Tests;

/// <summary>
/// Attacks on a real server: ambiguous names and numbers, requests within requests, and connections that never complete a request. Tests of
/// what a single reader refuses are with its call (HeartbeatTests, StatusTests, UserTests, SocketTests). These tests cover what lies
/// between the readers.
/// </summary>
[Collection(Calls.Name)]
public class AttackTests(SharedServer shared)
{
    private const string Close = "Connection: close\r\n";

    private readonly AglowProcess _server = shared.Server;

    // ---- who is meant ---------------------------------------------------------------------------------------------------------

    // a text; the user it means in JSON without quotes (null: none); the user it means as text
    public static TheoryData<string, string?, string?> Numbers() => new()
    {
        { "0", "0", "0" },
        { "2147483647", "2147483647", "2147483647" },
        { "2147483648", "2147483648", "\"2147483648\"" },
        { "4294967295", "4294967295", "\"4294967295\"" },
        { "4294967296", "4294967296", "\"4294967296\"" },
        { "9223372036854775807", "9223372036854775807", "\"9223372036854775807\"" },
        { "9223372036854775808", null, "\"9223372036854775808\"" },
        { "18446744073709551616", null, "\"18446744073709551616\"" },
        { "-1", null, "\"-1\"" },
        { "-0", null, "\"-0\"" },
        { "1e3", null, "\"1e3\"" },
        { "1.0", null, "\"1.0\"" },
        { "01", null, "\"01\"" },
        { "0x10", null, "\"0x10\"" },
        { "1" + new string('0', 254), null, "\"1" + new string('0', 254) + "\"" },
        { "1" + new string('0', 255), null, null },
        { "", null, null },
    };

    [Theory]
    [MemberData(nameof(Numbers))]
    public async Task A_number_means_the_same_user_wherever_it_stands(string text, string? asNumber, string? asText)
    {
        // a number written as text is returned unchanged
        var bare = asText?.Trim('"');
        (await IdAsync(() => _server.PostAsync("/status/batch", $$"""{"user_ids":[{{text}}]}"""), static a => a.Json[0]))
            .ShouldBe(asNumber ?? "", $"in JSON {text}");
        (await IdAsync(() => _server.PostAsync("/status/batch", $$"""[{"user_id":"{{text}}"}]"""), static a => a.Json[0]))
            .ShouldBe(asText is null ? "" : $"\"{bare}\"", $"in JSON \"{text}\"");
        if (text.Length > 0)
            (await IdAsync(() => _server.GetAsync($"/status/{text}"), static a => a.Json)).ShouldBe(asText ?? "", $"in a path {text}");
        (await IdAsync(() => _server.GetAsync($"/status/users?ids={text}"), a => a.Json[text]))
            .ShouldBe(asText ?? "", $"in a query {text}");
        (await WatchedAsync($"[{(asNumber is null ? "\"x\"" : text)},\"{text}\"]")).ShouldBe(
            asText is null ? null : $"[{asNumber ?? "\"x\""},\"{bare}\"]", $"on a socket {text}");
    }

    // an empty list of numbers: [] means no user, and is not an error
    private static async Task<string> IdAsync(Func<Task<Answer>> ask, Func<Answer, System.Text.Json.Nodes.JsonNode?> record)
    {
        var answer = await ask();
        if (answer.Status == 200)
            return answer.Text == "[]" ? "" : record(answer)!["user_id"]!.ToJsonString();
        answer.ShouldBeProblem(400);
        return "";
    }

    private async Task<string?> WatchedAsync(string users)
    {
        await using var socket = await RawSocket.OpenAsync(_server.Address, $"{SharedServer.NewUsers()}");
        await socket.SendAsync($$"""{"type":"watch","users":{{users}}}""");
        var told = await socket.ReadMessageAsync();
        return told.GetProperty("type").GetString() == "error"
            ? null
            : $"[{string.Join(',', told.GetProperty("users").EnumerateArray()
                .Select(static record => record.GetProperty("user_id").GetRawText()))}]";
    }

    // pairs that look alike, or that a careless reader would treat as equal
    public static TheoryData<string, string> LookAlikes() => new()
    {
        { "alice", "Alice" },
        { "alice", "\u0430lice" },
        { "alice", "alice\u200B" },
        { "alice", "\u202Ealice\u202C" },
        { "alice", "\uFEFFalice" },
        { "alice", "alice " },
        { "é", "e\u0301" },
        { "ﬁ", "fi" },
        { "İ", "i" },
        { "ß", "ss" },
        { "1", "１" },
        { "a/b", "a%2Fb" },
        { "a+b", "a b" },
        { "a", "a\u00A0" },
        { "👩\u200D🚀", "👩🚀" },
    };

    [Theory]
    [MemberData(nameof(LookAlikes))]
    public async Task Names_that_look_alike_are_two_users_on_every_way_in(string one, string other)
    {
        // Unique to this test. It begins with a letter, because "1" and eight digits would be a number, which needs no registration.
        var mark = $"x{Guid.NewGuid():N}";
        (one, other) = (one + mark, other + mark);
        (await _server.PostAsync("/heartbeat", JsonSerializer.Serialize(new { user_id = one }))).Status.ShouldBe(200);
        (await _server.StatusOfAsync(Uri.EscapeDataString(one))).ShouldBe("online");
        (await _server.StatusOfAsync(Uri.EscapeDataString(other))).ShouldBe("offline");
        var both = await _server.GetAsync($"/status/users?ids={Uri.EscapeDataString(one)},{Uri.EscapeDataString(other)}");
        both.Json[other]!["is_online"]!.GetValue<bool>().ShouldBeFalse();
        both.Json[other]!["user_id"]!.GetValue<string>().ShouldBe(other);
        await using var socket = await RawSocket.OpenAsync(_server.Address, other);
        await socket.SendAsync($$"""{"type":"watch","users":[{{JsonSerializer.Serialize(one)}},{{JsonSerializer.Serialize(other)}}]}""");
        var told = (await socket.ReadMessageAsync()).GetProperty("users");
        told.EnumerateArray().Select(static record => record.GetProperty("user_id").GetString()).ShouldBe([one, other]);
        foreach (var name in new[] { one, other })
            (await _server.GetAsync($"/users/{Uri.EscapeDataString(name)}")).Json["user_id"]!.GetValue<string>().ShouldBe(name);
    }

    // bytes that some decoder takes for a letter, a slash or an end
    public static TheoryData<string> NoText() =>
        new("C0AF", "E080AF", "F08080AF", "C080", "EDA080", "EDA080EDB080", "F4908080", "F8888080", "80", "C3", "FE", "FF");

    [Theory]
    [MemberData(nameof(NoText))]
    public async Task Bytes_that_are_no_text_name_nobody_on_any_way_in(string hex)
    {
        var bytes = Convert.FromHexString(hex);
        var encoded = string.Concat(bytes.Select(static b => $"%{b:X2}"));
        byte[] list = [.. "{\"user_ids\":[\""u8, .. bytes, .. "\"]}"u8];
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat", list, "application/json")).ShouldBeProblem(400);
        (await _server.SendAsync(HttpMethod.Post, "/status/batch", list, "application/json")).ShouldBeProblem(400);
        (await _server.SendAsync(HttpMethod.Post, "/users", [.. "{\"user_name\":\""u8, .. bytes, .. "\"}"u8], "application/json"))
            .ShouldBeProblem(400);
        (await _server.GetAsync($"/status/users?ids=a{encoded}")).ShouldBeProblem(400);
        (await _server.GetAsync($"/watch?users=a{encoded}")).ShouldBeProblem(400);
        (await _server.GetAsync($"/status/a{encoded}")).Status.ShouldBe(400);
        (await HeadsAsync(RawSocket.Handshake($"/ws?user_id=a{encoded}", Close)))
            .ShouldAllBe(static head => head.StartsWith("HTTP/1.1 401 ") || head.StartsWith("HTTP/1.1 400 "));
        await using var socket = await RawSocket.OpenAsync(_server.Address, $"{SharedServer.NewUsers()}");
        await socket.WriteAsync(RawSocket.Frame(1, [.. "{\"type\":\"watch\",\"users\":[\""u8, .. bytes, .. "\"]}"u8]));
        (await socket.ReadCloseAsync()).ShouldBe(1007);
    }

    [Theory]
    [InlineData("%00")]
    [InlineData("a%00b")]
    [InlineData("a%0D%0ASet-Cookie:%20x=y")]
    [InlineData("a%0Aevent:%20presence%0Adata:%20x")]
    [InlineData("%1B%5B2J")]
    [InlineData("%C2%85")]
    public async Task Control_characters_get_into_no_name_and_no_header(string encoded)
    {
        foreach (var path in new[] { $"/status/{encoded}", $"/status/users?ids={encoded}", $"/watch?users={encoded}", $"/users/{encoded}" })
        {
            var answer = await _server.GetAsync(path);
            answer.Status.ShouldBe(400, path);
            answer.Headers.Contains("Set-Cookie").ShouldBeFalse();
        }

        (await HeadsAsync(RawSocket.Handshake($"/ws?user_id={encoded}", Close)))
            .ShouldAllBe(static head => !head.Contains(" 101 ") && !head.Contains("Set-Cookie"));
    }

    [Theory]
    [InlineData("{\"type\":\"\\ud800\"}")]
    [InlineData("{\"type\":\"watch\",\"users\":[1],\"definition\":\"\\udc00\"}")]
    [InlineData("{\"type\":\"watch\",\"users\":[\"\\ud800\"]}")]
    [InlineData("{\"type\":\"watch\",\"users\":[1],\"users\":[2]}")]
    [InlineData("{\"type\":\"watch\",\"type\":\"leave\",\"users\":[1]}")]
    public async Task A_message_that_may_mean_two_things_is_refused_and_the_connection_stays(string message)
    {
        var user = $"{SharedServer.NewUsers()}";
        await using var socket = await RawSocket.OpenAsync(_server.Address, user);
        await socket.SendAsync(message);
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("error");
        await socket.SendAsync($$"""{"type":"watch","users":[{{user}}]}""");
        (await socket.ReadPresenceAsync()).ShouldBe($"{user}:online");
    }

    [Theory]
    [InlineData("[", 100_000)]
    [InlineData("{\"user_id\":", 100_000)]
    [InlineData("{\"x\":[", 65)]
    public async Task Json_deeper_than_anybody_needs_is_refused_everywhere(string open, int times)
    {
        var deep = string.Concat(Enumerable.Repeat(open, times));
        foreach (var path in new[] { "/heartbeat", "/status/batch", "/status/update", "/offline", "/users" })
            (await _server.PostAsync(path, deep)).ShouldBeProblem(400);
        (await _server.PutAsync("/users/1/status", deep)).ShouldBeProblem(400);
        await using var socket = await RawSocket.OpenAsync(_server.Address, $"{SharedServer.NewUsers()}");
        await socket.SendAsync(deep[..Math.Min(deep.Length, 60_000)]);
        (await socket.ReadCloseAsync()).ShouldBe(1007);
    }

    // ---- what one connection can cost -------------------------------------------------------------------------------------------

    [Fact]
    public async Task One_message_names_at_most_as_many_users_as_a_connection_may_watch()
    {
        await using var socket = await RawSocket.OpenAsync(_server.Address, $"{SharedServer.NewUsers()}");
        // 64 KiB would name the same user 32,000 times, and get an answer of 2 MB
        await socket.SendAsync($$"""{"type":"watch","users":[{{string.Join(',', Enumerable.Repeat(7, 10_001))}}]}""");
        (await socket.ReadMessageAsync()).GetProperty("title").GetString().ShouldBe("Too many users");
        await socket.SendAsync($$"""{"type":"watch","users":[{{string.Join(',', Enumerable.Repeat(7, 3))}}]}""");
        (await socket.ReadPresenceAsync()).ShouldBe("7:offline,7:offline,7:offline");
    }

    [Fact]
    public async Task Thousands_of_half_open_connections_keep_nobody_from_being_served()
    {
        var half = new List<TcpClient>();
        try
        {
            string[] beginnings =
            [
                "",
                "G",
                "GET /ws",
                "GET /ws?user_id=1 HTTP/1.1\r\nHost: a\r\nUpgr",
                "POST /heartbeat HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{\"user",
                "PRI * HTTP/2.0\r\n\r\n"
            ];
            for (var i = 0; i < 3000; i++)
            {
                var client = new TcpClient { NoDelay = true };
                half.Add(client);
                await client.ConnectAsync(_server.Address.Host, _server.Address.Port);
                await client.GetStream().WriteAsync(Encoding.ASCII.GetBytes(beginnings[i % beginnings.Length]));
            }

            var user = SharedServer.NewUsers();
            using var newcomer = _server.Client();
            (await newcomer.PostAsync("/heartbeat", new StringContent($$"""{"user_id":{{user}}}""", Encoding.UTF8, "application/json")))
                .IsSuccessStatusCode.ShouldBeTrue();
            await using var socket = await RawSocket.OpenAsync(_server.Address, $"{user}");
            await socket.SendAsync($$"""{"type":"watch","users":[{{user}}]}""");
            (await socket.ReadPresenceAsync()).ShouldBe($"{user}:online");
        }
        finally
        {
            foreach (var client in half)
                client.Dispose();
        }
    }

    public static TheoryData<string, string, string?> SlowBodies() => new()
    {
        { "nothing more", Post("{\"user", "Content-Length: 5000\r\n"), null },
        { "a byte at a time", Post("{\"user", "Content-Length: 5000\r\n"), " " },
        { "a chunk of one at a time", Post("5\r\n{\"use\r\n", "Transfer-Encoding: chunked\r\n"), "1\r\n \r\n" },
        { "packed numbers", Post("1234", "Content-Length: 40000\r\n").Replace("application/json", "application/octet-stream"), "1" },
    };

    [Theory]
    [MemberData(nameof(SlowBodies))]
    public async Task Who_sends_a_body_too_slowly_is_told_so_and_closed(string what, string beginning, string? more)
    {
        await using var slow = await RawSocket.ConnectAsync(_server.Address);
        await slow.WriteAsync(beginning);
        using var heard = new CancellationTokenSource();
        var sending = SendMoreAsync();
        (await slow.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 408 ", customMessage: what);
        await heard.CancelAsync();
        await sending;
        // closed in order, or reset if more data arrived meanwhile
        (await slow.IsEndedAsync()).ShouldBeTrue(what);

        async Task SendMoreAsync()
        {
            try
            {
                using var timer = new PeriodicTimer(TimeSpan.FromMilliseconds(500));
                while (more is not null && await timer.WaitForNextTickAsync(heard.Token))
                    await slow.WriteAsync(more);
            }
            catch (Exception e) when (e is OperationCanceledException or IOException)
            {
                // the server answered before it closed
            }
        }
    }

    // ---- requests within requests -----------------------------------------------------------------------------------------------

    private static string Post(string body, string more = "") =>
        $"POST /heartbeat HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\n{more}\r\n{body}";

    private static readonly string Upgrade = RawSocket.Handshake("/ws?user_id=987654321");

    // The bytes sent on one connection, and the statuses answered, in order. After a request that is refused for its form, nothing more is
    // read.
    public static TheoryData<string, string, int[]> Smuggled() => new()
    {
        { "an upgrade in a body is a body", Post(Upgrade, $"Content-Length: {Upgrade.Length}\r\n{Close}"), [400] },
        { "an upgrade in a chunk is a body",
            Post($"{Upgrade.Length:x}\r\n{Upgrade}\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n" + Close), [400] },
        { "two lengths that differ", Post("{\"user_id\":1}", "Content-Length: 13\r\nContent-Length: 0\r\n") + Upgrade, [400] },
        { "a length and chunks: chunks, and the end", Post("0\r\n\r\n", "Content-Length: 60\r\nTransfer-Encoding: chunked\r\n") + Upgrade,
            [400] },
        { "a length that is not a number", Post("{\"user_id\":1}", "Content-Length: 0xd\r\n") + Upgrade, [400] },
        { "chunks hidden by a space", Post("0\r\n\r\n", "Transfer-Encoding : chunked\r\n") + Upgrade, [400] },
        { "chunks and something else", Post("0\r\n\r\n", "Transfer-Encoding: chunked, gzip\r\n") + Upgrade, [400] },
        { "a chunk of no length", Post("zz\r\nabc\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n") + Upgrade, [400] },
        { "a chunk of more than there is memory", Post("FFFFFFFFFFFFFFFFF\r\n", "Transfer-Encoding: chunked\r\n") + Upgrade, [400] },
        { "a trailer that is not text", Post("d\r\n{\"user_id\":1}\r\n0\r\nX: \u00E9\r\n\r\n", "Transfer-Encoding: chunked\r\n") + Upgrade,
            [400] },
        { "a folded header", "GET /health/live HTTP/1.1\r\nHost: a\r\nX: y\r\n z\r\n\r\n" + Upgrade, [400] },
        { "two hosts", "GET /health/live HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + Upgrade, [400] },
        { "no host", "GET /health/live HTTP/1.1\r\n\r\n" + Upgrade, [400] },
        { "a NUL in a header", "GET /health/live HTTP/1.1\r\nHost: a\r\nX: a\0b\r\n\r\n" + Upgrade, [400] },
        { "a NUL in the path", "GET /health/live\0 HTTP/1.1\r\nHost: a\r\n\r\n" + Upgrade, [400] },
        { "HTTP/2 without TLS", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", [] },
        { "an upgrade to HTTP/2 is passed over",
            "GET /health/live HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\n"
                + "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\r\n" + Close + "\r\n", [200] },
        { "requests behind each other are answered in order",
            "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\nGET /nope HTTP/1.1\r\nHost: a\r\n\r\n"
                + Post("{\"user_id\":1}", "Content-Length: 13\r\n" + Close), [200, 404, 200] },
        { "an upgrade with a body is not an upgrade",
            RawSocket.Handshake("/ws?user_id=987654321", "Content-Length: 4\r\n" + Close) + "GET ", [400] },
        { "an upgrade with chunks is not an upgrade",
            RawSocket.Handshake("/ws?user_id=987654321", "Transfer-Encoding: chunked\r\n" + Close) + "0\r\n\r\n", [400] },
        { "look-alikes of the path", RawSocket.Handshake("/ws/x?user_id=987654321") + RawSocket.Handshake("/WSX?user_id=987654321", Close),
            [404, 404] },
        { "a key twice", RawSocket.Handshake("/ws?user_id=987654321", $"Sec-WebSocket-Key: {RawSocket.SampleKey}\r\n{Close}"), [400] },
        { "by HEAD", RawSocket.Handshake("/ws?user_id=987654321", Close).Replace("GET ", "HEAD "), [400] },
        { "by HEAD, as a page",
            RawSocket.Handshake("/ws?user_id=987654321", $"Origin: http://127.0.0.1\r\n{Close}").Replace("GET ", "HEAD "), [400] },
        { "by HEAD, for other calls",
            string.Concat(
                new[] { "/watch?users=987654321", "/status/987654321", "/status?user=987654321", "/users/987654321", "/online" }
                    .Select(static path => $"HEAD {path} HTTP/1.1\r\nHost: a\r\n\r\n"))
                + "HEAD /health/live HTTP/1.1\r\nHost: a\r\n" + Close + "\r\n", [200, 200, 200, 404, 200, 200] },
        { "by POST", RawSocket.Handshake("/ws?user_id=987654321", Close).Replace("GET ", "POST "), [405] },
        { "by an older protocol", RawSocket.Handshake("/ws?user_id=987654321", Close).Replace("HTTP/1.1", "HTTP/1.0"), [400] },
    };

    [Theory]
    [MemberData(nameof(Smuggled))]
    public async Task Nothing_is_smuggled_past_the_connection_middleware(string what, string bytes, int[] statuses)
    {
        // unique to this case
        var user = $"{900_000_000 + SharedServer.NewUsers()}";
        var heads = await HeadsAsync(bytes.Replace("987654321", user, StringComparison.Ordinal));
        heads.Select(static head => int.Parse(head.AsSpan(9, 3))).ShouldBe(statuses, what);
        // the user of the smuggled upgrade never comes online
        (await _server.StatusOfAsync(user)).ShouldBe("offline", what);
    }

    // Sends bytes on a new connection. Returns the heads of all answers, read until the server closes the connection.
    private async Task<string[]> HeadsAsync(string bytes)
    {
        using var client = new TcpClient { NoDelay = true };
        await client.ConnectAsync(_server.Address.Host, _server.Address.Port);
        var stream = client.GetStream();
        await stream.WriteAsync(Encoding.Latin1.GetBytes(bytes));
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        using var answer = new MemoryStream();
        try
        {
            await stream.CopyToAsync(answer, limit.Token);
        }
        catch (IOException)
        {
            // the connection was reset with unread data: the answers before that count
        }

        var text = Encoding.Latin1.GetString(answer.ToArray());
        return [.. text.Split("HTTP/1.1 ", StringSplitOptions.RemoveEmptyEntries)
            .Where(static part => part.Length > 4 && char.IsAsciiDigit(part[0])).Select(static part => $"HTTP/1.1 {part}")];
    }
}
