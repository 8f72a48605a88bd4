using System.Buffers.Binary;

namespace Aglow.Server.Tests;

/// <summary>A server behind proxies. Limits apply to the client that a trusted proxy names, in headers or by the PROXY protocol.</summary>
public sealed class ProxyTests(ProxyTests.Servers servers) : IClassFixture<ProxyTests.Servers>
{
    private const string Limited = "--rate-limit-address=2";
    private static int _others;

    /// <summary>One server that reads headers, and one that reads the PROXY protocol. Each case uses its own addresses.</summary>
    public sealed class Servers : IAsyncLifetime
    {
        internal AglowProcess ByHeaders { get; private set; } = null!;

        internal AglowProcess ByProtocol { get; private set; } = null!;

        public async Task InitializeAsync()
        {
            ByHeaders = await AglowProcess.StartAsync(null, "--trusted-proxies", "127.0.0.0/8,::1", Limited);
            ByProtocol = await AglowProcess.StartAsync(null, "--trusted-proxies", "127.0.0.1", "--proxy-protocol", Limited);
        }

        public async Task DisposeAsync()
        {
            await ByHeaders.DisposeAsync();
            await ByProtocol.DisposeAsync();
        }
    }

    [Theory]
    [InlineData("X-Forwarded-For: 203.0.113.1", "X-Forwarded-For: 203.0.113.2", true)]
    [InlineData("X-Forwarded-For: 203.0.113.3", "X-Forwarded-For: 203.0.113.3", false)]
    [InlineData("X-Forwarded-For: 6.6.6.6, 203.0.113.4", "X-Forwarded-For: 7.7.7.7, 203.0.113.4", false)] // what a client says of itself
    [InlineData("X-Forwarded-For: 203.0.113.5, 127.0.0.9", "X-Forwarded-For: 203.0.113.6, 127.0.0.9", true)] // two trusted proxies
    [InlineData("Forwarded: for=203.0.113.7", "Forwarded: for=203.0.113.8;proto=https", true)]
    [InlineData("Forwarded: for=203.0.113.9", "forwarded: FOR=\"203.0.113.9:4711\"", false)]
    [InlineData("Forwarded: for=\"[2001:db8:1:2::1]:4711\"", "X-Forwarded-For: 2001:db8:1:2:ffff::9", false)] // one customer
    [InlineData("X-Forwarded-For: 2001:db8:1:4::1", "X-Forwarded-For: 2001:db8:1:5::1", true)]
    [InlineData("X-Forwarded-For: nonsense", "X-Forwarded-For: nonsense", false)]
    public async Task A_rate_counts_the_client_that_a_trusted_proxy_names(string one, string other, bool areTwo)
    {
        var server = servers.ByHeaders;
        await ExhaustAsync(server, one);
        (await StatusAsync(server, other)).ShouldBe(areTwo ? 200 : 429);
        // a socket's handshake counts for the same client
        await ExhaustAsync(server, one);
        await using var socket = await RawSocket.HandshakeAsync(server.Address, "/ws?user_id=1", other + "\r\n");
        (await socket.ReadHeadAsync()).ShouldStartWith(areTwo ? "HTTP/1.1 101 " : "HTTP/1.1 429 ");
    }

    [Fact]
    public async Task Whoever_is_not_trusted_names_nobody()
    {
        await using var server = await AglowProcess.StartAsync(null, "--trusted-proxies", "10.0.0.0/8", Limited);
        await ExhaustAsync(server, "X-Forwarded-For: 203.0.113.1");
        (await StatusAsync(server, "X-Forwarded-For: 203.0.113.2")).ShouldBe(429);
    }

    public static TheoryData<string, byte[], bool> Headers => new()
    {
        { "version 1, IPv4", Text("PROXY TCP4 203.0.113.1 10.0.0.5 51234 8080\r\n"), true },
        { "version 1, IPv6", Text("PROXY TCP6 2001:db8:1::1 2001:db8::2 51234 8080\r\n"), true },
        { "version 1, unknown", Text("PROXY UNKNOWN\r\n"), true },
        { "version 2, IPv4", Version2(0x21, 0x11, IPAddress.Parse("203.0.113.2")), true },
        { "version 2, IPv6, with more behind", Version2(0x21, 0x21, IPAddress.Parse("2001:db8:2::1"), more: 300), true },
        { "version 2, its own", Version2(0x20, 0x00, null), true },
        { "version 2, a family nobody knows", Version2(0x21, 0x31, null, more: 216), true },
        { "none", [], false },
        { "a wrong word", Text("PROXY TCP9 203.0.113.1 10.0.0.5 51234 8080\r\n"), false },
        { "no address", Text("PROXY TCP4 203.0.113 x 51234 8080\r\n"), false },
        { "no end", Text($"PROXY TCP4 {new string('1', 200)}\r\n"), false },
        { "a command nobody knows", Version2(0x22, 0x11, IPAddress.Loopback), false },
        { "addresses cut short", Version2(0x21, 0x11, null, more: 4), false },
    };

    [Theory]
    [MemberData(nameof(Headers))]
    public async Task The_first_bytes_of_a_proxys_connection_name_its_client(string what, byte[] header, bool isTaken)
    {
        const string Call = "GET /status/1 HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
        var server = servers.ByProtocol;
        // a byte at a time
        await using (var slow = await RawSocket.ConnectAsync(server.Address))
        {
            slow.Tcp.NoDelay = true;
            foreach (var one in isTaken ? header : [])
                await slow.WriteAsync([one]);
            await slow.WriteAsync(isTaken ? Text(Call) : [.. header, .. Text(Call)]);
            if (!isTaken)
            {
                (await slow.IsEndedAsync()).ShouldBeTrue(what);
                await Eventually.TrueAsync(() => Task.FromResult(server.Output.Contains("no-proxy-header")), 60, "the log says why");
                return;
            }

            (await slow.ReadHeadAsync()).ShouldMatch("^HTTP/1.1 (200|429) ", what);
        }

        // twenty calls at once exceed this client's limit, and another client has its own limit
        await using var flood = await RawSocket.ConnectAsync(server.Address);
        await flood.WriteAsync([.. header, .. Text(string.Concat(Enumerable.Repeat(Call, 20)))]);
        var statuses = new List<string>();
        for (var i = 0; i < 20; i++)
        {
            var head = await flood.ReadHeadAsync();
            statuses.Add(head.Split(' ')[1]);
            await flood.ReadBodyAsync(head);
        }

        statuses.ShouldContain("429", what);
        await using var other = await RawSocket.ConnectAsync(server.Address);
        await other.WriteAsync([
            .. Version2(0x21, 0x11, new IPAddress([198, 51, 100, (byte)Interlocked.Increment(ref _others)])),
            .. Text(RawSocket.Handshake("/ws?user_id=2"))]);
        (await other.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
    }

    [Fact]
    public async Task A_limit_that_bites_is_counted_and_said_once_a_minute()
    {
        await using var server = await AglowProcess.StartAsync(null, Limited);
        // at once: one after another, a slow machine would make no more than the limit lets through
        await Task.WhenAll(Enumerable.Range(0, 50).Select(_ => server.GetAsync("/status/1")));
        string metrics = "";
        await Eventually.TrueAsync(
            async () => (metrics = (await server.GetAsync("/metrics")).Text).Contains("aglow_limits_refused_total"),
            30,
            "a call is let through again");
        await Eventually.TrueAsync(() => Task.FromResult(server.Output.Contains("too-many-calls")), 30, "the log says so");
        server.Output.Split("too-many-calls").Length.ShouldBe(2, server.Output);
        server.Output.ShouldContain("most recently 127.0.0.1");
        var line = metrics.Split('\n')
            .Single(static line => line.StartsWith("aglow_limits_refused_total{kind=\"too-many-calls\"}", StringComparison.Ordinal));
        int.Parse(line.Split(' ')[1]).ShouldBeGreaterThan(30);
    }

    [Theory]
    [InlineData("--trusted-proxies", "10.0.0.300", "set networks")]
    [InlineData("--proxy-protocol", "true", "set --trusted-proxies, too")]
    public async Task A_wrong_setting_is_one_line_that_says_what_to_set(string flag, string value, string says)
    {
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", "--urls", "http://127.0.0.1:0", flag, value]);
        code.ShouldBe(2);
        errors.ShouldContain(says);
    }

    [Theory]
    [InlineData("haproxy")]
    [InlineData("haproxy send-proxy-v2")]
    [InlineData("haproxy send-proxy")]
    [InlineData("nginx")]
    [InlineData("caddy")]
    public async Task Behind_a_real_proxy_one_flooder_hurts_nobody_else_and_everything_works(string kind)
    {
        var protocol = kind.Split(' ').ElementAtOrDefault(1);
        string[] flags =
        [
            "--trusted-proxies",
            "127.0.0.1",
            "--rate-limit-address",
            "10",
            .. protocol is null ? Array.Empty<string>() : ["--proxy-protocol"]
        ];
        await using var server = await AglowProcess.StartAsync(null, flags);
        await using var proxy = await ProxyProcess.StartAsync(kind.Split(' ')[0], server.Address.Port, protocol);
        // two clients, each with its own address on this machine
        using var flooder = ProxyProcess.Client(proxy.Address, "127.0.0.2");
        using var other = ProxyProcess.Client(proxy.Address, "127.0.0.3");
        var statuses = await Task.WhenAll(Enumerable.Range(0, 200).Select(async _ =>
        {
            using var answer = await flooder.GetAsync("/status/1");
            return (int)answer.StatusCode;
        }));
        statuses.ShouldContain(429);
        using var heartbeat = await other.PostAsync("/heartbeat", new StringContent("{\"user_id\":9}", Encoding.UTF8, "application/json"));
        ((int)heartbeat.StatusCode).ShouldBe(200, await heartbeat.Content.ReadAsStringAsync());
        await Eventually.TrueAsync(
            () => Task.FromResult(server.Output.Contains("most recently 127.0.0.2")), 60, "the log names the flooder");

        // a socket and an event stream pass the proxy, and receive pushes
        await using var socket = await RawSocket.ConnectAsync(proxy.Address);
        await socket.WriteAsync(
            RawSocket.Handshake("/ws?user_id=8", $"Origin: {proxy.Address.GetLeftPart(UriPartial.Authority)}\r\n")
                .Replace("Host: 127.0.0.1", $"Host: {proxy.Address.Authority}"));
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("welcome");
        using var stream = new StreamReader(await other.GetStreamAsync("/watch?users=10"));
        await socket.SendAsync("{\"type\":\"watch\",\"users\":[10]}");
        (await socket.ReadPresenceAsync()).ShouldBe("10:offline");
        using var arrival = await other.PostAsync("/heartbeat", new StringContent("{\"user_id\":10}", Encoding.UTF8, "application/json"));
        ((int)arrival.StatusCode).ShouldBe(200);
        (await socket.ReadPresenceAsync()).ShouldBe("10:online");
        var seen = "";
        while (!seen.Contains("online\"", StringComparison.Ordinal) || seen.Contains("\"offline\"", StringComparison.Ordinal))
            seen = await stream.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(90))
                ?? throw new InvalidOperationException("the stream ended");
    }

    [Theory]
    [InlineData("haproxy")]
    [InlineData("nginx")]
    [InlineData("caddy")]
    public async Task A_proxy_logs_no_token_while_the_server_is_away(string kind)
    {
        await using var server = await AglowProcess.StartAsync();
        await using var proxy = await ProxyProcess.StartAsync(kind, server.Address.Port);
        using var client = ProxyProcess.Client(proxy.Address, "127.0.0.2");
        // a path that names many users comes to the server; HAProxy's file says what it needs for that
        var ids = string.Join(',', Enumerable.Range(0, 1000).Select(static i => $"{new string('x', 240)}{i}"));
        using (var listed = await client.GetAsync($"/status/users?ids={ids}"))
            ((int)listed.StatusCode).ShouldBe(kind == "haproxy" ? 400 : 200);
        await server.KillAsync();
        for (var i = 0; i < 5; i++)
        {
            using var request = new HttpRequestMessage(HttpMethod.Get, "/watch?users=1&access_token=SECRET-IN-QUERY");
            request.Headers.TryAddWithoutValidation("Authorization", "Bearer SECRET-IN-HEADER");
            request.Headers.TryAddWithoutValidation("Sec-WebSocket-Protocol", "aglow, aglow.token.SECRET-IN-PROTOCOL");
            using var answer = await client.SendAsync(request);
            ((int)answer.StatusCode).ShouldBeInRange(502, 503);
        }

        await proxy.StopAsync();
        proxy.Output.ShouldNotContain("SECRET");
    }

    private static byte[] Text(string text) => Encoding.ASCII.GetBytes(text);

    private static byte[] Version2(byte command, byte family, IPAddress? source, int more = 0)
    {
        byte[] addresses = source is null ? [] : [.. source.GetAddressBytes(), .. source.GetAddressBytes(), 0xC8, 0x01, 0x1F, 0x90];
        var length = new byte[2];
        BinaryPrimitives.WriteUInt16BigEndian(length, (ushort)(addresses.Length + more));
        return [.. "\r\n\r\n\0\r\nQUIT\n"u8, command, family, .. length, .. addresses, .. new byte[more]];
    }

    // With a call that is paid off in 50 s: after a cheap one, a slow machine would find the limit lifted.
    private static async Task ExhaustAsync(AglowProcess server, string header)
    {
        var users = $"{{\"user_ids\":[{string.Join(',', Enumerable.Range(0, 10_000))}]}}";
        for (var i = 0; i < 50; i++)
        {
            if (await StatusAsync(server, header, users) == 429)
                return;
        }

        throw new InvalidOperationException("nothing was refused");
    }

    private static async Task<int> StatusAsync(AglowProcess server, string header, string? users = null)
    {
        var (name, value) = (header.Split(": ")[0], header.Split(": ")[1]);
        using var request = new HttpRequestMessage(
            users is null ? HttpMethod.Get : HttpMethod.Post, users is null ? "/status/1" : "/status/batch");
        if (users is not null)
            request.Content = new StringContent(users, Encoding.UTF8, "application/json");
        request.Headers.TryAddWithoutValidation(name, value);
        using var answer = await server.Http.SendAsync(request);
        return (int)answer.StatusCode;
    }
}
