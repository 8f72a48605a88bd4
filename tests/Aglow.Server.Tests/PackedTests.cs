using System.Net.Sockets;

namespace Aglow.Server.Tests;

/// <summary>Packed numbers, whole and in all kinds of pieces.</summary>
[Collection(Calls.Name)]
public class PackedTests(SharedServer shared)
{
    private const uint OnlineBit = 1u << 31;
    private const uint Epoch = 1_577_836_800;
    private readonly AglowProcess _server = shared.Server;

    [Fact]
    public async Task Packed_heartbeats_say_how_many_were_taken()
    {
        var user = SharedServer.NewUsers(3);
        (await _server.PostPackedAsync("/heartbeat", user, user + 1, 4_294_967_294, user + 2))
            .ShouldBeJson("""{"status":"success","accepted":3}""");
        (await _server.StatusOfAsync($"{user + 2}")).ShouldBe("online");
    }

    [Fact]
    public async Task Heartbeats_of_disabled_users_count_for_nothing()
    {
        var user = SharedServer.NewUsers(2);
        await AccessAsync("true");
        (await _server.PostPackedAsync("/heartbeat", user, user + 1)).ShouldBeJson("""{"status":"success","accepted":1}""");
        await _server.PostAsync("/heartbeat", $"{{\"user_ids\":[{user},{user + 1}]}}");
        await AccessAsync("false");
        (await _server.StatusOfAsync($"{user}")).ShouldBe("offline");
        (await _server.StatusOfAsync($"{user + 1}")).ShouldBe("online");

        async Task AccessAsync(string disabled) => (await _server.SendAsync(
            HttpMethod.Put, $"/users/{user}/access", Encoding.UTF8.GetBytes($"{{\"disabled\":{disabled}}}"), "application/json"))
            .Status.ShouldBe(200);
    }

    [Fact]
    public async Task Packed_statuses_come_in_order_with_the_online_bit_and_the_second()
    {
        var user = SharedServer.NewUsers(3);
        var before = (uint)(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - Epoch);
        await _server.PostPackedAsync("/heartbeat", user, user + 1);
        await _server.PostPackedAsync("/offline", user + 1);
        var now = (uint)(DateTimeOffset.UtcNow.ToUnixTimeSeconds() - Epoch);
        var answer = await _server.PostPackedAsync("/status/batch", user + 1, user, user + 2, user);
        answer.ContentType.ShouldBe("application/octet-stream");
        var words = answer.Words;
        words.Length.ShouldBe(4);
        (words[0] & OnlineBit).ShouldBe(0u);
        words[0].ShouldBeInRange(before - 1, now + 1);
        (words[1] & OnlineBit).ShouldBe(OnlineBit);
        (words[1] & ~OnlineBit).ShouldBeInRange(before - 1, now + 1);
        words[2].ShouldBe(0u);
        words[3].ShouldBe(words[1]);
        // users who left were still seen within 24 h
        var reachable = (await _server.PostPackedAsync("/status/batch?definition=reachable", user + 1)).Words;
        reachable.ShouldBe([words[0] | OnlineBit]);
    }

    [Fact]
    public async Task Nothing_packed_is_nothing_answered() =>
        (await _server.SendAsync(HttpMethod.Post, "/status/batch", [], Calling.Packed)).ShouldBeProblem(400);

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(5)]
    [InlineData(4 * 20_000 + 2)]
    public async Task Bytes_that_make_no_whole_numbers_are_refused(int bytes)
    {
        foreach (var path in new[] { "/heartbeat", "/offline", "/status/batch" })
        {
            (await _server.SendAsync(HttpMethod.Post, path, new byte[bytes], Calling.Packed)).ShouldBeProblem(400, "multiple of 4");
            (await _server.SendAsync(HttpMethod.Post, path, new byte[bytes], Calling.Packed, chunked: true))
                .ShouldBeProblem(400, "multiple of 4");
        }
    }

    [Fact]
    public async Task A_million_is_the_most()
    {
        var first = SharedServer.NewUsers(1_000_000);
        var users = Enumerable.Range((int)first, 1_000_000).Select(static u => (uint)u).ToArray();
        (await _server.PostPackedAsync("/heartbeat", users)).ShouldBeJson("""{"status":"success","accepted":1000000}""");
        var words = (await _server.PostPackedAsync("/status/batch", users)).Words;
        words.Length.ShouldBe(1_000_000);
        words.ShouldAllBe(static w => (w & OnlineBit) != 0);
        // a million leaves may take a busy disk longer than the 2 s after which the server says: send the same again
        var left = await _server.PostPackedAsync("/offline", users);
        for (var again = 0; again < 30 && left.Status == 503; again++)
            left = await _server.PostPackedAsync("/offline", users);
        left.ShouldBeJson("""{"status":"success"}""");
        (await _server.PostPackedAsync("/status/batch", users)).Words.ShouldAllBe(static w => (w & OnlineBit) == 0 && w != 0);

        byte[] tooMany = Calling.Pack([.. users, 1]);
        foreach (var path in new[] { "/heartbeat", "/offline", "/status/batch" })
        {
            (await _server.SendAsync(HttpMethod.Post, path, tooMany, Calling.Packed)).ShouldBeProblem(413, "4000000");
            (await _server.SendAsync(HttpMethod.Post, path, tooMany, Calling.Packed, chunked: true)).ShouldBeProblem(413, "4000000");
        }
    }

    [Fact]
    public async Task A_body_longer_than_any_call_takes_is_refused()
    {
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat", new byte[9_000_000], Calling.Packed)).ShouldBeProblem(413);
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat", new byte[9_000_000], "application/json")).ShouldBeProblem(413);
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat", new byte[9_000_000], "application/json", chunked: true))
            .ShouldBeProblem(413);
    }

    // The server's buffers begin where the headers end. So four header lengths give four ways in which numbers cross buffer ends.
    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public async Task Numbers_that_lie_across_buffers_arrive_whole(int padding)
    {
        var users = NewUsers(40_000);
        var body = Calling.Pack(users);
        var head =
            $"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nX-Pad: "
                + $"{new string('p', padding)}\r\nConnection: close\r\nContent-Length: {body.Length}\r\n\r\n";
        (await RawAsync([Encoding.ASCII.GetBytes(head), body])).ShouldEndWith($$"""{"status":"success","accepted":{{users.Length}}}""");
        await ShouldBeOnlineAsync(users);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    [InlineData(4099)]
    [InlineData(65_537)]
    public async Task Chunks_need_not_end_where_numbers_do(int chunkBytes)
    {
        var users = NewUsers(chunkBytes == 1 ? 50 : 40_000);
        var pieces = new List<byte[]>
        {
            Encoding.ASCII.GetBytes(
                "POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Type: application/octet-stream\r\nConnection: "
                    + "close\r\nTransfer-Encoding: chunked\r\n\r\n"),
        };
        foreach (var chunk in Calling.Pack(users).Chunk(chunkBytes))
            pieces.Add([.. Encoding.ASCII.GetBytes($"{chunk.Length:x}\r\n"), .. chunk, .. "\r\n"u8]);
        pieces.Add([.. "0\r\n\r\n"u8]);
        (await RawAsync(pieces)).ShouldEndWith($$"""{"status":"success","accepted":{{users.Length}}}""");
        await ShouldBeOnlineAsync(users);
    }

    [Fact]
    public async Task Json_may_come_in_pieces_too()
    {
        var users = NewUsers(3000);
        var body = Encoding.UTF8.GetBytes($$"""{"user_ids":[{{string.Join(',', users)}}]}""");
        var pieces = new List<byte[]>
        {
            Encoding.ASCII.GetBytes(
                $"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: "
                    + $"{body.Length}\r\n\r\n"),
        };
        pieces.AddRange(body.Chunk(1001));
        (await RawAsync(pieces)).ShouldContain("\"status\":\"success\"");
        await ShouldBeOnlineAsync(users);
    }

    [Fact]
    public async Task Heartbeats_may_be_pipelined()
    {
        var users = NewUsers(200);
        var requests = string.Concat(users.Select((user, i) =>
        {
            var body = $$"""{"user_id":{{user}}}""";
            return $"POST /heartbeat HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
                + $"{(i == users.Length - 1 ? "Connection: close\r\n" : "")}Content-Length: {body.Length}\r\n\r\n{body}";
        }));
        var answers = await RawAsync([Encoding.ASCII.GetBytes(requests)]);
        answers.Split("HTTP/1.1 200 OK").Length.ShouldBe(users.Length + 1);
        await ShouldBeOnlineAsync(users);
    }

    private static uint[] NewUsers(int count)
    {
        var first = SharedServer.NewUsers(count);
        return [.. Enumerable.Range((int)first, count).Select(static u => (uint)u)];
    }

    private async Task ShouldBeOnlineAsync(uint[] users) =>
        (await _server.PostPackedAsync("/status/batch", users)).Words.ShouldAllBe(static w => (w & OnlineBit) != 0);

    private async Task<string> RawAsync(IReadOnlyList<byte[]> pieces)
    {
        using var client = new TcpClient { NoDelay = true };
        await client.ConnectAsync(_server.Address.Host, _server.Address.Port);
        var stream = client.GetStream();
        foreach (var piece in pieces)
            await stream.WriteAsync(piece);
        using var answer = new MemoryStream();
        await stream.CopyToAsync(answer);
        return Encoding.UTF8.GetString(answer.ToArray());
    }
}
