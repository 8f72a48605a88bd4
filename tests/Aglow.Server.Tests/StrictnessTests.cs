using System.Text.RegularExpressions;

namespace Aglow.Server.Tests;

/// <summary>The server drops nothing silently that a caller sends.</summary>
[Collection(Calls.Name)]
public sealed partial class StrictnessTests(SharedServer shared)
{
    private static readonly HttpMethod[] WithBodies = [HttpMethod.Post, HttpMethod.Put, HttpMethod.Patch];

    private readonly AglowProcess _server = shared.Server;

    [Fact]
    public async Task Every_call_refuses_a_query_parameter_that_it_does_not_have_and_names_it()
    {
        foreach (var (method, path, _) in await CallsAsync())
        {
            var answer = await _server.SendAsync(HttpMethod.Parse(method), $"{path}?colour=red");
            answer.ShouldBeProblem(400, "\"colour\" is not a query parameter");
        }
    }

    [Fact]
    public async Task Every_call_with_a_body_takes_json_that_says_so_and_nothing_else()
    {
        foreach (var (method, bare, call) in await CallsAsync())
        {
            var path = bare + RequiredQuery(call);
            if (!WithBodies.Contains(HttpMethod.Parse(method)) || call["requestBody"] is null)
                continue;
            foreach (var type in new[]
            {
                null, "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x",
                "application/json; charset=latin1", "application/xml",
            })
                (await _server.SendAsync(HttpMethod.Parse(method), path, "{}"u8.ToArray(), type))
                    .ShouldBeProblem(415, "Send application/json");
            foreach (var type in new[] { "application/json", "Application/JSON", "application/json; charset=utf-8" })
                (await _server.SendAsync(HttpMethod.Parse(method), path, "[1"u8.ToArray(), type)).Status.ShouldBe(
                    400, $"{method} {path} {type}");
            // an empty form is still a form
            (await _server.SendAsync(HttpMethod.Parse(method), path, [], "application/x-www-form-urlencoded")).ShouldBeProblem(415);
        }
    }

    [Fact]
    public async Task Every_call_with_a_body_refuses_a_member_that_it_does_not_know_and_names_it()
    {
        foreach (var (method, bare, call) in await CallsAsync())
        {
            var path = bare + RequiredQuery(call);
            if (call["requestBody"] is null || path == "/users/batch")
                continue;
            (await _server.SendAsync(HttpMethod.Parse(method), path, "{\"colour\":1}"u8.ToArray(), "application/json"))
                .ShouldBeProblem(400, "colour");
            // a byte order mark is ignored
            (await _server.SendAsync(HttpMethod.Parse(method), path, "\uFEFF{\"colour\":1}"u8.ToArray(), "application/json"))
                .ShouldBeProblem(400, "colour");
        }

        (await _server.PutAsync("/users/1/status", """{"status":"busy","expires_at":1}""")).ShouldBeProblem(400, "expires_at");
    }

    [Theory]
    [InlineData("POST", "/users/batch", """{"users":[{"user_id":1,"user_name":"a","colour":1}]}""")]
    [InlineData("POST", "/users/batch", """{"users":[{"user_id":1,"user_name":"a"}],"colour":1}""")]
    [InlineData("POST", "/heartbeat", """{"user_id":1,"device":{"id":"a","kind":"web","colour":1}}""")]
    [InlineData("POST", "/offline", """{"user_id":1,"device":{"id":"a","kind":"web","colour":1}}""")]
    [InlineData("POST", "/status/update", """{"user_id":1,"timestamp":1763763300,"colour":1}""")]
    [InlineData("POST", "/webhooks", """{"url":"https://hooks.example/","events":["online"],"colour":1}""")]
    [InlineData("PUT", "/users/1/status", """{"status":"busy","colour":1}""")]
    public async Task A_member_that_is_not_known_is_named_wherever_it_stands(string method, string path, string json) =>
        (await _server.SendAsync(HttpMethod.Parse(method), path, Encoding.UTF8.GetBytes(json), "application/json"))
            .ShouldBeProblem(400, "colour");

    [Theory]
    [InlineData("POST", "/heartbeat", """{"user_id":1,"active":"yes"}""", "active")]
    [InlineData("POST", "/heartbeat", """{"user_id":{}}""", "An object is not a user")]
    [InlineData("POST", "/heartbeat", """{"user_id":""}""", "The empty string is not a user")]
    [InlineData("POST", "/heartbeat", """{"user_id":1,"actve":true}""", "\"active\": true or \"device\"")]
    [InlineData("POST", "/heartbeat", """{"user_ids":7}""", "user_ids")]
    [InlineData("POST", "/heartbeat", """{"user_id":1,"device":"phone"}""", "device")]
    [InlineData("POST", "/heartbeat", """{"user_id":1,"device":{"id":"a","kind":"toaster"}}""", "device.kind is \"toaster\"")]
    [InlineData("POST", "/heartbeat", """{"user_id":1,"device":{"id":"","kind":"web"}}""", "device.id is not")]
    [InlineData("POST", "/offline", """{"user_id":1,"device":{"id":7}}""", "device.id is not a string")]
    [InlineData("POST", "/offline", """{"user_id":1,"device":{"kind":"web","kind":"web"}}""", "device.kind is given twice")]
    [InlineData("PUT", "/users/1/status", """{"status":"busy","priority":"high"}""", "priority")]
    [InlineData("PUT", "/users/1/status", """{"status":"busy","until":"tomorrow"}""", "until")]
    [InlineData("PUT", "/users/1/access", """{"disabled":1}""", "disabled")]
    [InlineData("POST", "/users/batch", """{"users":{}}""", "users")]
    [InlineData("PUT", "/users/1/visibility", """{"online":true}""", "online")]
    [InlineData("PUT", "/users/1/visibility", """{"last_seen":3}""", "last_seen")]
    public async Task A_member_of_a_wrong_type_is_named(string method, string path, string json, string named) =>
        (await _server.SendAsync(HttpMethod.Parse(method), path, Encoding.UTF8.GetBytes(json), "application/json"))
            .ShouldBeProblem(400, named);

    [Fact]
    public async Task Every_call_without_a_body_takes_none()
    {
        foreach (var (method, bare, call) in await CallsAsync())
        {
            var path = bare + RequiredQuery(call);
            if (call["requestBody"] is not null)
                continue;
            (await _server.SendAsync(HttpMethod.Parse(method), path, "{\"colour\":1}"u8.ToArray(), "application/json"))
                .ShouldBeProblem(400, "takes no body");
            (await _server.SendAsync(HttpMethod.Parse(method), path, "colour=red"u8.ToArray(), "application/x-www-form-urlencoded"))
                .ShouldBeProblem(415);
        }
    }

    [Fact]
    public async Task A_call_without_a_body_takes_an_empty_object()
    {
        var user = SharedServer.NewUsers();
        foreach (var method in new[] { HttpMethod.Delete, HttpMethod.Post })
        {
            var path = method == HttpMethod.Delete ? $"/users/{user}" : $"/users/{user}/revoke";
            await _server.PostAsync("/heartbeat", $"{{\"user_id\":{user}}}");
            (await _server.SendAsync(method, path, "{\"colour\":1}"u8.ToArray(), "application/json")).ShouldBeProblem(400, "takes no body");
            (await _server.SendAsync(method, path, "x"u8.ToArray(), "text/plain")).ShouldBeProblem(415);
            (await _server.StatusOfAsync($"{user}")).ShouldBe("online");
            (await _server.SendAsync(method, path, "{}"u8.ToArray(), "application/json")).Status.ShouldBe(204);
        }
    }

    [Fact]
    public async Task A_byte_order_mark_says_nothing()
    {
        var user = SharedServer.NewUsers();
        byte[] body = [0xEF, 0xBB, 0xBF, .. Encoding.UTF8.GetBytes($"{{\"user_id\":{user}}}")];
        (await _server.SendAsync(HttpMethod.Post, "/heartbeat", body, "application/json")).Status.ShouldBe(200);
        (await _server.StatusOfAsync($"{user}")).ShouldBe("online");
        await using var socket = await RawSocket.OpenAsync(_server.Address, $"{user}");
        await socket.SendAsync($"\uFEFF{{\"type\":\"watch\",\"users\":[{user}]}}");
        (await socket.ReadPresenceAsync()).ShouldBe($"{user}:online");
    }

    [Fact]
    public async Task A_plus_is_a_space_in_every_query_and_itself_in_every_path()
    {
        var key = SharedServer.NewKey();
        var (plus, space) = ($"{key}+x", $"{key} x");
        foreach (var user in new[] { plus, space })
            (await _server.PostAsync("/heartbeat", $"{{\"user_id\":\"{user}\"}}")).Status.ShouldBe(200);
        await _server.PostAsync("/offline", $"{{\"user_id\":\"{space}\"}}");
        (await _server.StatusOfAsync(plus)).ShouldBe("online");
        foreach (var (written, status) in new[] { ($"{key}+x", "offline"), ($"{key}%20x", "offline"), ($"{key}%2Bx", "online") })
        {
            (await _server.GetAsync($"/status?user={written}")).Json["status"]!.GetValue<string>().ShouldBe(status);
            (await _server.GetAsync($"/status/users?ids={written}")).Text.ShouldContain($"\"{status}\"");
            (await _server.GetAsync($"/users?user={written}")).Json["status"]!.GetValue<string>().ShouldBe(status);
        }

        // as the socket's user: the ID with a space comes back
        await using var socket = await RawSocket.HandshakeAsync(_server.Address, $"/ws?user_id={key}+x");
        await socket.ReadHeadAsync();
        (await socket.ReadMessageAsync()).GetProperty("user_id").GetString().ShouldBe(space);
    }

    [Theory]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("-")]
    [InlineData("batch")]
    [InlineData("a/b")]
    public async Task Every_call_about_a_user_takes_an_id_that_cannot_stand_in_a_path(string id)
    {
        var asked = Uri.EscapeDataString(id);
        await _server.PostAsync("/heartbeat", $"{{\"user_id\":\"{id}\"}}");
        (await _server.PutAsync($"/users?user={asked}", $"{{\"user_name\":\"name of {id}\"}}")).Status.ShouldBeInRange(200, 201);
        (await _server.PutAsync($"/users/-/status?user={asked}", "{\"status\":\"busy\"}")).Json["user_id"]!.GetValue<string>()
            .ShouldBe(id);
        foreach (var (method, path, call) in await CallsAsync())
        {
            if (!path.Contains("/1/", StringComparison.Ordinal))
                continue;
            var target = path.Replace("/1/", "/-/", StringComparison.Ordinal);
            (await _server.SendAsync(HttpMethod.Parse(method), $"{path}?user={asked}", "{}"u8.ToArray(), "application/json"))
                .ShouldBeProblem(400, "both name a user");
            if (method == "GET")
                (await _server.GetAsync($"{target}?user={asked}")).Text.ShouldNotContain("No such path", Case.Sensitive, target);
        }

        (await _server.GetAsync($"/status/-/explain?user={asked}")).Json["user_id"]!.GetValue<string>().ShouldBe(id);
        (await _server.SendAsync(HttpMethod.Post, $"/users/-/revoke?user={asked}", [], null)).Status.ShouldBe(204);
    }

    [Theory]
    [InlineData("PUT /users/./status")]
    [InlineData("DELETE /users/%2e/status")]
    [InlineData("DELETE /users/x/../revoke")]
    [InlineData("GET /status/%2E%2e/users/1")]
    [InlineData("GET /status/.%2e/users/1")]
    [InlineData("GET /status/%2e./users/1")]
    [InlineData("GET /users/.")]
    [InlineData("GET /users/1/..")]
    [InlineData("GET /status/..")]
    [InlineData("POST /x/../heartbeat")]
    [InlineData("POST /./heartbeat")]
    [InlineData("POST /webhooks/x/%2E%2E")]
    [InlineData("PUT /users/1/..")]
    [InlineData("GET /nothing/../here")]
    [InlineData("GET /page/../appsettings.json")]
    [InlineData("GET http://localhost/users/./status")]
    [InlineData("GET /health/./live?a=b/c")]
    public async Task A_path_with_dots_is_not_about_whom_it_names_without_them(string call)
    {
        await using var socket = await RawSocket.ConnectAsync(_server.Address);
        await socket.WriteAsync($"{call} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{{}}");
        var head = await socket.ReadHeadAsync();
        head.ShouldStartWith("HTTP/1.1 400 ");
        (await socket.ReadBodyAsync(head)).GetProperty("detail").GetString()!.ShouldContain("send - in its place");
    }

    [Theory]
    [InlineData("/status/a.b")]
    [InlineData("/status/...")]
    [InlineData("/status/.a")]
    [InlineData("/status/1?definition=chat&viewer=/../x")]
    public async Task Dots_inside_a_segment_or_a_query_are_fine(string path) =>
        (await _server.GetAsync(path)).Status.ShouldBe(200);

    [Theory]
    [InlineData("subscriptions", "/subscriptions")]
    [InlineData("approved", "/approved")]
    [InlineData("blocked", "/blocked")]
    public async Task A_list_that_is_full_is_not_taken_for_a_call_that_is_too_long(string list, string path)
    {
        var user = SharedServer.NewUsers();
        var many = string.Join(',', Enumerable.Range(1, 10_000));
        (await _server.PostAsync($"/users/{user}{path}", $"{{\"user_ids\":[{many}]}}")).Status.ShouldBe(200, list);
        (await _server.PostAsync($"/users/{user}{path}", "{\"user_ids\":[10001]}")).ShouldBeProblem(
            413, "the list would have more than 10000");
        (await _server.PostAsync($"/users/{user}{path}", $"{{\"user_ids\":[{many},10001]}}")).ShouldBeProblem(
            413, "More than 10000 users in one call");
        (await _server.DeleteAsync($"/users/{user}{path}", "{\"user_ids\":[1]}")).Status.ShouldBe(200);
        (await _server.PostAsync($"/users/{user}{path}", "{\"user_ids\":[10001]}")).Status.ShouldBe(200);
    }

    [Theory]
    [InlineData("/heartbeat", null)]
    [InlineData("/offline", null)]
    [InlineData("/heartbeat", "{\"active\":true}")]
    [InlineData("/offline", "{\"device\":{\"id\":\"a\"}}")]
    public async Task A_body_that_names_nobody_is_told_so_in_open_mode(string path, string? json) =>
        (await _server.SendAsync(
            HttpMethod.Post, path, json is null ? [] : Encoding.UTF8.GetBytes(json), json is null ? null : "application/json"))
            .ShouldBeProblem(401, "The body names no user");

    [Theory]
    [InlineData("/webhooks", "{\"url\":\"https://a.example\",\"url\":\"https://b.example\"}", "url is given twice")]
    [InlineData("/webhooks", "{\"url\":\"https://a.example\",\"\\u0075rl\":\"https://b.example\"}", "url is given twice")]
    [InlineData("/webhooks", "{\"events\":[\"online\"],\"events\":[\"online\"]}", "events is given twice")]
    [InlineData("/webhooks", "{\"colour\":1,\"colour\":1}", "colour")]
    [InlineData("/webhooks", "{\"\\ud800\":1}", "not JSON")]
    [InlineData("/webhooks", "{\"url\":", "not JSON")]
    [InlineData("/webhooks", "[]", "not an object")]
    [InlineData("/webhooks/x/rotate", "{\"overlap_hours\":1,\"overlap_hours\":2}", "overlap_hours is given twice")]
    public async Task A_body_of_a_webhook_is_read_as_strictly_as_any_other(string path, string json, string says) =>
        (await _server.PostAsync(path, json)).ShouldBeProblem(400, says);

    [Theory]
    [InlineData(" https://a.example/")]
    [InlineData("https://a.example/ ")]
    [InlineData("https://a.example/b c")]
    [InlineData("https://a.example/\\n")]
    [InlineData("https://a.exa\\tmple/")]
    [InlineData("https://a.example/\\u0000")]
    public async Task A_url_of_a_webhook_has_no_spaces_and_no_control_characters(string url) =>
        (await _server.PostAsync("/webhooks", $"{{\"url\":\"{url}\"}}")).ShouldBeProblem(422, "url has spaces or control characters");

    [Fact]
    public async Task A_new_user_is_found_where_the_answer_says()
    {
        foreach (var name in new[] { SharedServer.NewKey(), "..", "batch", "a/b?c" })
        {
            await _server.SendAsync(HttpMethod.Delete, $"/users?user={Uri.EscapeDataString(name)}", [], null);
            using var created = await _server.Http.PostAsync(
                "/users", new StringContent($"{{\"user_name\":\"{name}\"}}", Encoding.UTF8, "application/json"));
            created.StatusCode.ShouldBe(System.Net.HttpStatusCode.Created);
            (await _server.GetAsync(created.Headers.Location!.ToString())).Json["user_id"]!.GetValue<string>().ShouldBe(name);
        }
    }

    [Fact]
    public async Task One_user_or_a_search_is_asked_for()
    {
        foreach (var other in new[] { "q=a", "limit=1", "cursor=x" })
            (await _server.GetAsync($"/users?user=1&{other}")).ShouldBeProblem(400, "both given");
    }

    [Fact]
    public async Task A_coded_body_is_refused_by_every_call_also_the_usual_heartbeat()
    {
        using var body = new StringContent("{\"user_id\":1}", Encoding.UTF8, "application/json");
        body.Headers.ContentEncoding.Add("gzip");
        foreach (var path in new[] { "/heartbeat", "/offline", "/status/batch" })
            ((int)(await _server.Http.PostAsync(path, body)).StatusCode).ShouldBe(415, path);
    }

    [Theory]
    [InlineData("""{"user_name":42}""", "send \"42\". If 42 is the user's ID, send it as user_id")]
    [InlineData("""{"user_name":"ann","display_name":7}""", "display_name is a number")]
    [InlineData("""{"user_name":true}""", "user_name is not a name")]
    public async Task A_name_that_is_a_number_is_told_what_to_send(string json, string says) =>
        (await _server.PostAsync("/users", json)).ShouldBeProblem(400, says);

    [Fact]
    public async Task A_handshake_that_lost_its_upgrade_is_told_so()
    {
        await using var socket = await RawSocket.ConnectAsync(_server.Address);
        const string Upgrade = "Upgrade: websocket\r\nConnection: keep-alive, Upgrade\r\n";
        await socket.WriteAsync(RawSocket.Handshake("/ws?user_id=1").Replace(Upgrade, "Connection: close\r\n"));
        var head = await socket.ReadHeadAsync();
        head.ShouldStartWith("HTTP/1.1 400 ");
        var problem = await socket.ReadBodyAsync(head);
        problem.GetProperty("title").GetString().ShouldBe("Upgrade lost");
        problem.GetProperty("detail").GetString()!.ShouldContain("pass Upgrade and Connection on");
        // a request that is not a handshake gets an explanation of this path
        (await _server.GetAsync("/ws?user_id=1")).ShouldBeProblem(400, "This path is a WebSocket");
    }

    [Fact]
    public async Task An_event_stream_that_the_server_ends_says_when_to_come_back_each_at_a_time_of_its_own()
    {
        await using var server = await AglowProcess.StartAsync();
        var streams = await Task.WhenAll(Enumerable.Range(0, 20).Select(_ => server.Http.GetStreamAsync("/watch?users=1")));
        var texts = Task.WhenAll(streams.Select(static stream => new StreamReader(stream).ReadToEndAsync()));
        (await server.StopAsync()).ShouldBe(0);
        var waits = (await texts).Select(
            static text => int.Parse(Retry().Matches(text).ShouldHaveSingleItem().Groups["ms"].Value)).ToList();
        waits.Distinct().Count().ShouldBeGreaterThan(15);
        waits.ShouldAllBe(static wait => wait >= 0 && wait <= 10_000);
        (waits.Max() - waits.Min()).ShouldBeGreaterThan(1000);
    }

    // One user in the query parameter that the call requires, if it requires any.
    private static string RequiredQuery(System.Text.Json.Nodes.JsonNode call) =>
        call["parameters"]?.AsArray().FirstOrDefault(
            static one => one!["in"]!.GetValue<string>() == "query" && one["required"]?.GetValue<bool>() == true) is { } parameter
            ? $"?{parameter["name"]}=1"
            : "";

    private async Task<List<(string Method, string Path, System.Text.Json.Nodes.JsonNode Call)>> CallsAsync() =>
        [.. (await _server.GetAsync("/openapi/v1.json")).Json["paths"]!.AsObject()
            .Where(static path => path.Key != "/ws")
            .SelectMany(
                static path => path.Value!.AsObject().Select(
                    call => (call.Key.ToUpperInvariant(), path.Key.Replace("{user}", "1", StringComparison.Ordinal), call.Value!)))];

    [GeneratedRegex(@"^retry: (?<ms>\d+)$", RegexOptions.ExplicitCapture | RegexOptions.Multiline, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Retry();
}
