namespace Aglow.Server.Tests;

/// <summary>Pages of other origins: what they may read, what they may write, and which answers they get.</summary>
public sealed class CrossOriginTests(CrossOriginTests.SharingServer shared) : IClassFixture<CrossOriginTests.SharingServer>
{
    private const string Friend = "https://chat.example";
    private const string Stranger = "https://evil.example";
    private const string Json = "application/json";

    private readonly AglowProcess _server = shared.Server;

    /// <summary>A server in open mode that allows two origins.</summary>
    public sealed class SharingServer : IAsyncLifetime
    {
        internal AglowProcess Server { get; private set; } = null!;

        public async Task InitializeAsync() =>
            Server = await AglowProcess.StartAsync(null, "--allowed-origins", $"{Friend},capacitor://localhost");

        public Task DisposeAsync() => Server.DisposeAsync().AsTask();
    }

    [Fact]
    public async Task Every_call_may_be_made_and_read_by_pages_of_allowed_origins_only()
    {
        var calls = (await _server.GetAsync("/openapi/v1.json")).Json["paths"]!.AsObject()
            .SelectMany(
                static path => path.Value!.AsObject()
                    .Select(call => (Method: call.Key.ToUpperInvariant(), Path: path.Key.Replace("{user}", "1", StringComparison.Ordinal))))
            .Append(("GET", "/openapi/v1.json")).Append(("GET", "/nothing")).Append(("GET", "/users/batch/nothing")).ToList();
        calls.Count.ShouldBeGreaterThan(30);
        var wrong = new List<string>();
        foreach (var (method, path) in calls)
        {
            var isWrite = method != "GET";
            foreach (var (origin, isAllowed) in new[]
            {
                (Friend, true), ("capacitor://localhost", true), (Stranger, false), ("null", false), (Friend + ".evil.example", false),
            })
            {
                // another method's 405, and a path's 404
                Check($"BREW {path} from {origin}", await SendAsync("BREW", path, ("Origin", origin)), isAllowed);
                if (isWrite)
                {
                    var before = await SendAsync(
                        "OPTIONS",
                        path,
                        ("Origin", origin),
                        ("Access-Control-Request-Method", method),
                        ("Access-Control-Request-Headers", "authorization,content-type"));
                    Check($"preflight of {method} {path} from {origin}", before, isAllowed);
                    if (isAllowed
                        && (
                            !Header(before, "Access-Control-Allow-Methods").Contains(method)
                                || !Header(before, "Access-Control-Allow-Headers")
                                    .Contains("Content-Type", StringComparison.OrdinalIgnoreCase)))
                        wrong.Add($"preflight of {method} {path}: {before.Headers}");
                }

                // without required parameters: the page must be able to read an error too
                var answer = await SendAsync(method, path, ("Origin", origin));
                Check($"{method} {path} from {origin}", answer, isAllowed);
                if (isWrite && !isAllowed && (answer.Status != 403 || answer.Json["title"]!.GetValue<string>() != "Origin not allowed"))
                    wrong.Add($"{method} {path} from {origin}: {answer.Status}");
            }
        }

        wrong.ShouldBeEmpty();

        void Check(string what, Answer answer, bool isAllowed)
        {
            if (Header(answer, "Access-Control-Allow-Origin").Length > 0 != isAllowed)
                wrong.Add($"{what}: {answer.Status} {answer.Headers}");
            if (!Header(answer, "Vary").Contains("Origin", StringComparison.Ordinal))
                wrong.Add($"{what}: Vary is \"{Header(answer, "Vary")}\"");
            // tokens need no browser credentials
            if (Header(answer, "Access-Control-Allow-Credentials").Length > 0)
                wrong.Add($"{what}: credentials");
        }
    }

    [Fact]
    public async Task Without_allowed_origins_there_are_no_headers_and_options_is_no_call()
    {
        await using var server = await AglowProcess.StartAsync();
        (await SendAsync(server, "OPTIONS", "/status/batch", null, ("Origin", Friend), ("Access-Control-Request-Method", "POST")))
            .ShouldBeProblem(405);
        Header(await SendAsync(server, "GET", "/status/1", null, ("Origin", Friend)), "Access-Control-Allow-Origin").ShouldBeEmpty();
        (await SendAsync("OPTIONS", "/status/batch")).ShouldBeProblem(405);
    }

    [Theory]
    [InlineData(null, null, 200)] // no browser
    [InlineData(Friend, null, 200)]
    [InlineData(Friend, "cross-site", 200)]
    [InlineData(Stranger, null, 403)]
    [InlineData(Stranger, "cross-site", 403)]
    [InlineData(Stranger, "same-origin", 200)] // a page cannot say so: a proxy changed the host
    [InlineData("null", "cross-site", 403)]
    [InlineData("null", null, 403)]
    [InlineData(null, "same-origin", 200)]
    [InlineData(null, "none", 200)]
    [InlineData(null, "same-site", 403)]
    [InlineData(null, "cross-site", 403)]
    [InlineData("SELF", null, 200)]
    [InlineData("SELF", "same-origin", 200)]
    [InlineData("SELF", "cross-site", 403)]
    public async Task A_write_is_taken_from_an_own_page_an_allowed_one_and_what_is_no_page(string? origin, string? site, int status)
    {
        var user = SharedServer.NewKey();
        var headers = new List<(string, string)>();
        if (origin is not null)
            headers.Add(("Origin", origin == "SELF" ? _server.Address.GetLeftPart(UriPartial.Authority) : origin));
        if (site is not null)
            headers.Add(("Sec-Fetch-Site", site));
        (await SendAsync(_server, "POST", "/heartbeat", $"{{\"user_id\":\"{user}\"}}", [.. headers])).Status.ShouldBe(status);
        (await _server.StatusOfAsync(user)).ShouldBe(status == 200 ? "online" : "offline");

        // sockets follow the same rule, with the shortcut before HTTP and through HTTP
        foreach (var first in new[] { "", "GET /health/live HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" })
        {
            await using var socket = await RawSocket.ConnectAsync(_server.Address);
            if (first.Length > 0)
            {
                await socket.WriteAsync(first);
                await socket.ReadBodyAsync(await socket.ReadHeadAsync());
            }

            var lines = string.Concat(
                headers.Select(
                    header => $"{header.Item1}: {(origin == "SELF" && header.Item1 == "Origin" ? "http://127.0.0.1" : header.Item2)}\r\n"));
            await socket.WriteAsync(RawSocket.Handshake($"/ws?user_id={user}", lines));
            (await socket.ReadHeadAsync()).ShouldStartWith(status == 200 ? "HTTP/1.1 101 " : "HTTP/1.1 403 ");
        }
    }

    [Fact]
    public async Task A_socket_over_http2_is_opened_by_pages_of_allowed_origins_only()
    {
        var folder = AglowProcess.NewFolder();
        var (server, http2) = await BothVersions.StartAsync(folder, "--allowed-origins", Friend);
        await using (server)
        {
            using var http = new HttpClient();
            foreach (var (origin, status) in new[] { (Friend, 200), (Stranger, 403), ("null", 403) })
            {
                using var request = BothVersions.Request(HttpVersion.Version20, http2, "CONNECT", "/ws?user_id=1");
                request.Headers.Protocol = "websocket";
                request.Headers.TryAddWithoutValidation("Sec-WebSocket-Version", "13");
                request.Headers.TryAddWithoutValidation("Origin", origin);
                using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
                ((int)answer.StatusCode).ShouldBe(status, origin);
            }
        }

        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData("User-Agent: Mozilla/5.0 (X11; Linux x86_64) Chrome/140.0\r\n")]
    [InlineData("Sec-Fetch-Mode: websocket\r\nSec-Fetch-Site: cross-site\r\n")]
    public async Task A_browser_is_told_on_the_socket_that_its_origin_is_not_allowed(string browser)
    {
        await using var socket = await RawSocket.HandshakeAsync(_server.Address, "/ws?user_id=1", $"Origin: {Stranger}\r\n{browser}");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        var (code, reason) = await socket.ReadCloseWithReasonAsync();
        code.ShouldBe(4403);
        reason.ShouldStartWith("Origin not allowed: A page of https://evil.example");
    }

    [Theory]
    [InlineData("127.0.0.1", true)]
    [InlineData("127.0.0.1:80", true)]
    [InlineData("127.1.2.3:8080", true)]
    [InlineData("localhost:1", true)]
    [InlineData("LOCALHOST", true)]
    [InlineData("aglow.localhost", true)]
    [InlineData("[::1]:8080", true)]
    [InlineData("chat.example", true)] // its origin is allowed
    [InlineData("evil.example", false)]
    [InlineData("evil.example:8080", false)]
    [InlineData("127.0.0.1.evil.example", false)]
    [InlineData("localhost.evil.example", false)]
    [InlineData("evillocalhost", false)]
    [InlineData("10.0.0.1", false)]
    [InlineData("0.0.0.0", false)]
    public async Task In_open_mode_on_the_loopback_address_a_pages_write_names_this_machine(string host, bool isTaken)
    {
        // the attacker's name resolves to this machine, so for the browser it is the page's own origin
        var request =
            $"POST /heartbeat HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nSec-Fetch-Site: same-origin\r\nContent-Type: "
                + $"{Json}\r\nContent-Length: 13\r\n\r\n{{\"user_id\":1}}";
        (await HeadAsync(_server, request)).ShouldStartWith(isTaken ? "HTTP/1.1 200 " : "HTTP/1.1 403 ");
        await using var socket = await RawSocket.ConnectAsync(_server.Address);
        await socket.WriteAsync(
            RawSocket.Handshake("/ws?user_id=1", $"Origin: http://{host}\r\n").Replace("Host: 127.0.0.1", $"Host: {host}"));
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 101 ");
        if (isTaken)
            (await socket.ReadMessageAsync()).GetProperty("type").GetString().ShouldBe("welcome");
        else
            (await socket.ReadCloseAsync()).ShouldBe(4403);
        // a caller that is not a page may use any name of this machine
        (await HeadAsync(_server, request.Replace($"Origin: http://{host}\r\nSec-Fetch-Site: same-origin\r\n", "")))
            .ShouldStartWith("HTTP/1.1 200 ");
    }

    [Fact]
    public async Task Behind_a_gateway_and_with_tokens_the_host_is_whatever_clients_call_it()
    {
        await using var open = await AglowProcess.StartAsync(null, "--allow-open");
        await using var closed = await AglowProcess.StartAsync(null, Token.ServerFlags);
        foreach (var server in new[] { open, closed })
        {
            var request =
                $"POST /heartbeat HTTP/1.1\r\nHost: chat.example\r\nAuthorization: Bearer {Token.Of("1")}\r\nContent-Type: {Json}\r\n"
                    + $"Content-Length: 13\r\n\r\n{{\"user_id\":1}}";
            (await HeadAsync(server, request)).ShouldStartWith("HTTP/1.1 200 ");
        }
    }

    [Theory]
    [InlineData("https://chat.example/")]
    [InlineData("https://chat.example/app")]
    [InlineData("chat.example")]
    [InlineData("*")]
    [InlineData("https://*.example")]
    public async Task What_is_no_origin_stops_the_start(string origin)
    {
        await using var server = AglowProcess.Run(null, ["--allowed-origins", origin]);
        (await server.ExitAsync()).ShouldBe(2);
        server.Errors.ShouldContain("an origin is a scheme, a host and perhaps a port, such as https://chat.example");
    }

    private static async Task<string> HeadAsync(AglowProcess server, string request)
    {
        await using var connection = await RawSocket.ConnectAsync(server.Address);
        await connection.WriteAsync(request);
        return await connection.ReadHeadAsync();
    }

    private static string Header(Answer answer, string name) =>
        answer.Headers.TryGetValues(name, out var values) ? string.Join(',', values) : "";

    private Task<Answer> SendAsync(string method, string path, params (string Name, string Value)[] headers) =>
        SendAsync(_server, method, path, null, headers);

    private static async Task<Answer> SendAsync(
        AglowProcess server, string method, string path, string? json, params (string Name, string Value)[] headers)
    {
        using var request = new HttpRequestMessage(HttpMethod.Parse(method), path);
        foreach (var (name, value) in headers)
            request.Headers.TryAddWithoutValidation(name, value);
        if (json is not null)
            request.Content = new StringContent(json, Encoding.UTF8, Json);
        using var response = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        // an event stream does not end
        var body =
            response.Content.Headers.ContentType?.MediaType == "text/event-stream" ? [] : await response.Content.ReadAsByteArrayAsync();
        return new Answer(
            (int)response.StatusCode, response.Content.Headers.ContentType?.ToString(), response.Headers, response.Content.Headers, body);
    }
}
