namespace Aglow.Server.Tests;

/// <summary>Accounts: create, rename, import, sign out everywhere, disable, delete, create again.</summary>
[Collection(TokenCalls.Name)]
public class AccountTests(TokenServer shared)
{
    private const int SignedOut = 4401;
    private const int NotAllowed = 4403;

    private readonly AglowProcess _server = shared.Server;

    // the shortcut before HTTP does not understand "*/*" twice, so it passes the handshake on
    public static TheoryData<string> Ways => new("", "Accept: */*\r\nAccept: */*\r\n");

    private Task<Answer> AsAsync(string user, string method, string path, string? json = null) =>
        _server.CallAsync(Token.Of(user), method, path, json);

    private Task<Answer> ByKeyAsync(string method, string path, string? json = null) =>
        _server.CallAsync(shared.Keys["users"], method, path, json);

    /// <summary>A token that a revocation made now does not affect.</summary>
    private static string NewerToken(string user) => Token.Signed(Token.Claims(user, static c => c["iat"] = Token.Now + 3), Token.Secret);

    private async Task<string> ArriveAsync(string prefix)
    {
        var user = SharedServer.NewKey(prefix);
        (await AsAsync(user, "POST", "/heartbeat")).Status.ShouldBe(200);
        return user;
    }

    private async Task<RawSocket> WatchAsync(string viewer, params string[] users)
    {
        var socket = await _server.OpenSocketAsync(Token.Of(viewer));
        await socket.SendAsync(JsonSerializer.Serialize(new { type = "watch", users }));
        await socket.ReadMessageAsync();
        return socket;
    }

    /// <summary>Sends messages as a page that does not know yet that its connection is over, until the server ends it.</summary>
    private static async Task GoOnAsync(RawSocket socket)
    {
        string[] messages = ["""{"type":"active"}""", """{"type":"status","status":"busy"}""", """{"type":"watch","users":[1]}"""];
        byte[] all =
        [
            .. messages.SelectMany(static text => RawSocket.Frame(0x1, Encoding.UTF8.GetBytes(text))),
            .. RawSocket.Frame(0xA, []),
            .. RawSocket.Frame(0x8, [3, 232]),
        ];
        try
        {
            await socket.WriteAsync(all);
        }
        catch (IOException)
        {
            // the server waits a second for this, and has ended the connection
        }

        (await socket.IsEndedAsync()).ShouldBeTrue();
    }

    private static string Title(Answer refused, int status) => refused.ShouldBeProblem(status).Json["title"]!.GetValue<string>();

    // ---- profiles -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_profile_is_created_replaced_and_changed_in_parts()
    {
        var me = SharedServer.NewKey("me");
        var (first, second) = (SharedServer.NewKey("first"), SharedServer.NewKey("second"));
        var made = await AsAsync(me, "PUT", $"/users/{me}", $$"""{"user_name":"{{first}}","display_name":"First"}""");
        made.Status.ShouldBe(201, made.Text);
        made.Json["user_id"]!.GetValue<string>().ShouldBe(me);
        made.Json["user_name"]!.GetValue<string>().ShouldBe(first);
        made.Json["display_name"]!.GetValue<string>().ShouldBe("First");

        // a replacement removes what it leaves out
        var replaced = await AsAsync(me, "PUT", $"/users/{me}", $$"""{"user_name":"{{second}}"}""");
        replaced.Status.ShouldBe(200, replaced.Text);
        replaced.Json["user_name"]!.GetValue<string>().ShouldBe(second);
        replaced.Json["display_name"].ShouldBeNull();
        replaced.Json["created_at"]!.GetValue<long>().ShouldBe(made.Json["created_at"]!.GetValue<long>());

        // a change keeps what it leaves out
        var changed = await AsAsync(me, "PATCH", $"/users/{me}", """{"display_name":"Changed"}""");
        (changed.Status, changed.Json["user_name"]!.GetValue<string>(), changed.Json["display_name"]!.GetValue<string>())
            .ShouldBe((200, second, "Changed"));
        var renamed = await AsAsync(me, "PATCH", $"/users/{me}", $$"""{"user_name":"{{first}}"}""");
        (renamed.Status, renamed.Json["user_name"]!.GetValue<string>(), renamed.Json["display_name"]!.GetValue<string>())
            .ShouldBe((200, first, "Changed"));

        // null removes
        var removed = await AsAsync(me, "PATCH", $"/users/{me}", """{"user_name":null}""");
        removed.Json["user_name"].ShouldBeNull();
        removed.Json["display_name"]!.GetValue<string>().ShouldBe("Changed");
        (await AsAsync(me, "GET", $"/users/{me}")).Text.ShouldBe(removed.Text);
    }

    [Fact]
    public async Task A_name_that_was_given_up_is_free_and_is_found_no_more()
    {
        var (ann, ben) = (await ArriveAsync("ann"), await ArriveAsync("ben"));
        var (old, newer) = (SharedServer.NewKey("old"), SharedServer.NewKey("newer"));
        (await AsAsync(ann, "PUT", $"/users/{ann}", $$"""{"user_name":"{{old}}"}""")).Status.ShouldBe(201);
        Title(await AsAsync(ben, "PUT", $"/users/{ben}", $$"""{"user_name":"{{old}}"}"""), 409).ShouldBe("Name taken");
        Title(await AsAsync(ben, "PATCH", $"/users/{ben}", $$"""{"user_name":"{{old}}"}"""), 409).ShouldBe("Name taken");
        (await AsAsync(ann, "PATCH", $"/users/{ann}", $$"""{"user_name":"{{newer}}"}""")).Status.ShouldBe(200);
        (await FoundAsync(ben, old)).ShouldBeEmpty();
        (await FoundAsync(ben, newer)).ShouldBe([ann]);
        (await AsAsync(ben, "PUT", $"/users/{ben}", $$"""{"user_name":"{{old}}"}""")).Status.ShouldBe(201);
        (await FoundAsync(ann, old)).ShouldBe([ben]);
        // a user may set the name that the user already has, also in another spelling
        (await AsAsync(ann, "PATCH", $"/users/{ann}", $$"""{"user_name":"{{newer.ToUpperInvariant()}}"}""")).Status.ShouldBe(200);
        // several users may share a display name
        foreach (var user in new[] { ann, ben })
            (await AsAsync(user, "PATCH", $"/users/{user}", """{"display_name":"The same"}""")).Status.ShouldBe(200);
    }

    private async Task<List<string>> FoundAsync(string viewer, string query) =>
        [.. (await AsAsync(viewer, "GET", $"/users?q={Uri.EscapeDataString(query)}&limit=100")).Json["users"]!.AsArray()
            .Select(static user => user!["user_id"]!.ToString())];

    public static TheoryData<string, string> OneName => new()
    {
        { "bob", "Bob" },
        { "j\u00FCrg", "ju\u0308rg" },
        { "j\u00FCrg", "JU\u0308RG" },
        { "stra\u00DFe", "STRASSE" },
        { "\uFF2A\uFF55\uFF45", "jue" },
        { "\uFB01n", "fin" },
        { "\u03A3\u03AF\u03C3\u03C5\u03C6\u03BF\u03C2", "\u03C3\u03AF\u03C3\u03C5\u03C6\u03BF\u03C3" },
        { "x\u00B2", "x2" },
    };

    [Theory]
    [MemberData(nameof(OneName))]
    public async Task Names_that_differ_only_in_case_width_or_form_are_one(string one, string other)
    {
        var mark = $"{Guid.NewGuid():N}";
        var (first, second) = (SharedServer.NewKey(), SharedServer.NewKey());
        string Named(string name) => JsonSerializer.Serialize(new { user_name = name + mark });
        (await ByKeyAsync("PUT", $"/users/{first}", Named(one))).Status.ShouldBe(201);
        Title(await ByKeyAsync("PUT", $"/users/{second}", Named(other)), 409).ShouldBe("Name taken");
        // a search for one form finds the other, as a whole and inside
        (await FoundAsync("anybody", other + mark)).ShouldBe([first]);
        (await FoundAsync("anybody", (other + mark)[1..])).ShouldContain(first);
        // IDs are still compared byte for byte
        foreach (var user in new[] { one, other })
        {
            var profile = JsonSerializer.Serialize(new { user_name = SharedServer.NewKey("name"), user_id = user + mark });
            (await ByKeyAsync("POST", "/users", profile)).Status.ShouldBe(201);
        }
    }

    [Fact]
    public async Task A_search_needs_no_accents()
    {
        var mark = $"{Guid.NewGuid():N}"[..8];
        var user = SharedServer.NewKey();
        var profile = JsonSerializer.Serialize(new { user_name = user, display_name = $"{mark} J\u00FCrgen \u00C5str\u00F6m" });
        (await ByKeyAsync("PUT", $"/users/{user}", profile)).Status.ShouldBe(201);
        foreach (var query in new[] { $"{mark} jurgen astrom", $"{mark} JU\u0308RGEN", $"{mark[4..]} j\u00FCrg" })
            (await FoundAsync("anybody", query)).ShouldBe([user], query);
    }

    public static TheoryData<string, string, string> Wrong => new()
    {
        { "PUT", "", "user_name" },
        { "PUT", "{}", "user_name is missing" },
        { "PUT", """{"display_name":"x"}""", "user_name is missing" },
        { "PUT", """{"user_name":null}""", "user_name is missing" },
        { "PUT", """{"user_name":"x","user_id":"ME"}""", "\"user_id\"" },
        { "PUT", """{"user_name":"x","email":"x"}""", "\"email\"" },
        { "PATCH", "", "user_name" },
        { "PATCH", "{}", "Neither user_name nor display_name" },
        { "PATCH", """{"user_name":""}""", "255" },
        { "PATCH", """{"display_name":"a\nb"}""", "display_name" },
        { "PATCH", """{"display_name":"x","display_name":"y"}""", "twice" },
        { "PATCH", """{"disabled":true}""", "\"disabled\"" },
    };

    [Theory]
    [MemberData(nameof(Wrong))]
    public async Task What_is_no_profile_is_refused(string method, string body, string detail)
    {
        var me = await ArriveAsync("me");
        (await AsAsync(me, method, $"/users/{me}", body)).ShouldBeProblem(400, detail);
        (await AsAsync(me, "GET", $"/users/{me}")).Json["user_name"].ShouldBeNull();
    }

    // ---- import -------------------------------------------------------------------------------------------------------------

    private Task<Answer> ImportAsync(params (object User, string Name)[] users) => ByKeyAsync(
        "POST",
        "/users/batch",
        JsonSerializer.Serialize(new { users = users.Select(static u => new { user_id = u.User, user_name = u.Name }) }));

    [Fact]
    public async Task An_import_is_done_whole_or_not_at_all()
    {
        var (mark, number, large) = (SharedServer.NewKey("m"), SharedServer.NewUsers(), Random.Shared.NextInt64(1L << 31, long.MaxValue));
        (await ImportAsync(($"{mark}-a", $"{mark} a"), (number, $"{mark} b"), (large, $"{mark} c")))
            .ShouldBeJson("""{"created":3,"replaced":0}""");
        (await FoundAsync("anybody", mark)).Order(StringComparer.Ordinal)
            .ShouldBe(new[] { $"{mark}-a", $"{number}", $"{large}" }.Order(StringComparer.Ordinal));
        (await ByKeyAsync("GET", $"/users/{number}/visibility")).Json["user_id"]!.GetValue<uint>().ShouldBe(number);

        // names may be swapped, and one entry may be new
        (await ImportAsync(($"{mark}-a", $"{mark} b"), (number, $"{mark} a"), ($"{mark}-d", $"{mark} d")))
            .ShouldBeJson("""{"created":1,"replaced":2}""");

        // The name belongs to another user. Nothing is written, and the problem names the line.
        Title(await ImportAsync(($"{mark}-e", $"{mark} e"), ($"{mark}-f", $"{mark} C")), 409).ShouldBe("Name taken");
        (await ImportAsync(($"{mark}-e", $"{mark} e"), ($"{mark}-f", $"{mark} C"))).ShouldBeProblem(409, $"{mark} C"[..30]);
        (await ImportAsync(($"{mark}-e", $"{mark} x"), ($"{mark}-f", $"{mark} X"))).ShouldBeProblem(409);
        (await FoundAsync("anybody", $"{mark} e")).ShouldBeEmpty();
        (await ByKeyAsync("GET", $"/users/{mark}-e/visibility")).Status.ShouldBe(200);
        (await _server.CallAsync(shared.Keys["read"], "GET", $"/users/{mark}-e")).ShouldBeProblem(404);
    }

    [Fact]
    public async Task An_import_names_each_user_once_with_a_name_and_holds_at_most_10000()
    {
        var mark = SharedServer.NewKey("m");
        (await ImportAsync((mark, "x"), (mark, "y"))).ShouldBeProblem(400, "twice");
        var two = $$"""{"users":[{"user_id":7,"user_name":"{{mark}}7"},{"user_id":"7","user_name":"{{mark}}8"}]}""";
        (await ByKeyAsync("POST", "/users/batch", two)).ShouldBeProblem(400, "twice");
        (await ByKeyAsync("POST", "/users/batch", """{"users":[{"user_name":"x"}]}""")).ShouldBeProblem(400, "user_id is missing");
        (await ByKeyAsync("POST", "/users/batch", """{"users":[{"user_id":1}]}""")).ShouldBeProblem(400, "user_name");
        (await ByKeyAsync("POST", "/users/batch", """{"users":[{"user_id":1,"user_name":"x","age":7}]}""")).ShouldBeProblem(400, "\"age\"");
        (await ByKeyAsync("POST", "/users/batch", """{"users":[],"more":1}""")).ShouldBeProblem(400, "\"more\"");
        string[] wrong = ["", "[]", "{}", """{"users":{}}""", """{"users":[7]}""", """{"users":[{"user_id":1,"user_name":"x"}"""];
        foreach (var body in wrong)
            (await ByKeyAsync("POST", "/users/batch", body)).ShouldBeProblem(400);
        (await ByKeyAsync("POST", "/users/batch", """{"users":[]}""")).ShouldBeJson("""{"created":0,"replaced":0}""");

        (object, string)[] many = [.. Enumerable.Range(0, 10_001).Select(i => ((object)$"{mark}-{i}", $"{mark} {i}"))];
        (await ImportAsync(many)).ShouldBeProblem(413, "10000");
        (await ImportAsync(many[1..])).ShouldBeJson("""{"created":10000,"replaced":0}""");
        (await FoundAsync("anybody", $"{mark} 10000")).ShouldBe([$"{mark}-10000"]);
    }

    // ---- sign out everywhere ------------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Who_is_signed_out_everywhere_is_offline_and_comes_back_with_a_newer_token(string way)
    {
        var (me, other) = (await ArriveAsync("me"), await ArriveAsync("other"));
        var old = Token.Of(me);
        await using var watcher = await WatchAsync(other, me);
        await using var first = await _server.OpenSocketAsync(old, way);
        await using var second = await _server.OpenSocketAsync(old);
        using var stream = new StreamReader(await _server.Http.GetStreamAsync($"/watch?users=1&access_token={old}"));
        (await _server.CallAsync(old, "POST", $"/users/{me}/revoke")).Status.ShouldBe(204);

        foreach (var socket in new[] { first, second })
        {
            (await socket.ReadCloseAsync(answerPings: true)).ShouldBe(SignedOut);
            await GoOnAsync(socket);
        }

        using (var limit = new CancellationTokenSource(TimeSpan.FromSeconds(90)))
            await stream.ReadToEndAsync(limit.Token);
        await watcher.ReadRecordAsync(me, "offline");
        (await AsAsync(other, "GET", $"/status/{me}")).Json["last_seen"].ShouldNotBeNull();

        var withoutTime = Token.Signed(Token.Claims(me, static c => c.Remove("iat")), Token.Secret);
        foreach (var token in new[] { old, withoutTime })
        {
            foreach (var (method, path, body) in new[]
            {
                ("POST", "/heartbeat", null), ("POST", "/heartbeat", $"{{\"user_id\":\"{me}\"}}"), ("POST", "/offline", null),
                ("GET", "/status/1", null),
                ("GET", $"/users/{me}/blocked", null), ("PUT", $"/users/{me}/status", "{\"status\":\"busy\"}"),
                ("DELETE", $"/users/{me}", null), ("GET", "/watch?users=1", null),
            })
            {
                Title(await _server.CallAsync(token, method, path, body), 401).ShouldBe("Token revoked", $"{method} {path}");
            }

            await using var refused = await RawSocket.HandshakeAsync(_server.Address, "/ws", $"Authorization: Bearer {token}\r\n{way}");
            (await refused.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 401 ");
        }

        (await AsAsync(other, "GET", $"/status/{me}")).Json["is_online"]!.GetValue<bool>().ShouldBeFalse();
        await using var again = await _server.OpenSocketAsync(NewerToken(me), way);
        await watcher.ReadRecordAsync(me, "online");
        (await _server.CallAsync(NewerToken(me), "POST", "/heartbeat")).Status.ShouldBe(200);
        // a socket does not accept a revoked token as renewal
        await again.SendAsync(JsonSerializer.Serialize(new { type = "token", token = old }));
        (await again.ReadMessageAsync()).GetProperty("title").GetString().ShouldBe("Token revoked");
    }

    [Fact]
    public async Task A_connection_that_was_good_before_a_revocation_is_asked_again()
    {
        var me = SharedServer.NewKey("me");
        using var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 1 }) { BaseAddress = _server.Address };
        http.DefaultRequestHeaders.TryAddWithoutValidation("Authorization", $"Bearer {Token.Of(me)}");
        async Task<int> HeartbeatAsync()
        {
            using var content = new StringContent($"{{\"user_id\":\"{me}\"}}", Encoding.UTF8, "application/json");
            using var answer = await http.PostAsync("/heartbeat", content);
            return (int)answer.StatusCode;
        }

        (await HeartbeatAsync()).ShouldBe(200);
        (await HeartbeatAsync()).ShouldBe(200);
        (await ByKeyAsync("POST", $"/users/{me}/revoke")).Status.ShouldBe(204);
        (await HeartbeatAsync()).ShouldBe(401);
        // other users' tokens stay valid
        (await AsAsync(SharedServer.NewKey("other"), "POST", "/heartbeat")).Status.ShouldBe(200);
    }

    [Fact]
    public async Task Somebody_can_be_signed_out_before_they_first_come()
    {
        var me = SharedServer.NewKey("me");
        var old = Token.Of(me);
        (await ByKeyAsync("POST", $"/users/{me}/revoke")).Status.ShouldBe(204);
        Title(await _server.CallAsync(old, "POST", "/heartbeat"), 401).ShouldBe("Token revoked");
        (await _server.CallAsync(NewerToken(me), "POST", "/heartbeat")).Status.ShouldBe(200);
    }

    // ---- disable ------------------------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Who_is_disabled_is_refused_and_offline_to_everyone_until_enabled(string way)
    {
        var (me, other) = (await ArriveAsync("me"), await ArriveAsync("other"));
        await using var watcher = await WatchAsync(other, me);
        await using var socket = await _server.OpenSocketAsync(Token.Of(me), way);
        (await ByKeyAsync("PUT", $"/users/{me}/access", """{"disabled":true}"""))
            .ShouldBeJson($$"""{"user_id":"{{me}}","disabled":true}""");
        (await socket.ReadCloseAsync(answerPings: true)).ShouldBe(NotAllowed);
        await GoOnAsync(socket);
        await watcher.ReadRecordAsync(me, "offline");
        (await ByKeyAsync("PUT", $"/users/{me}/access", """{"disabled":true}""")).Status.ShouldBe(200);

        // if a backend's list has a disabled user, the answer names that user, and the others count
        Task<Answer> BeatAsync(string json) => _server.CallAsync(shared.Keys["heartbeat"], "POST", "/heartbeat", json);
        var listed = (await BeatAsync($"{{\"user_ids\":[\"{other}\",\"{me}\",7]}}")).Json;
        listed["disabled"]!.AsArray().ShouldHaveSingleItem()!.GetValue<string>().ShouldBe(me);
        (await BeatAsync($"{{\"user_ids\":[\"{other}\",7]}}")).Json["disabled"].ShouldBeNull();
        (await BeatAsync($"{{\"user_id\":\"{me}\"}}")).Status.ShouldBe(403);

        foreach (var token in new[] { Token.Of(me), NewerToken(me) })
        {
            foreach (var (method, path, body) in new[]
            {
                ("POST", "/heartbeat", null), ("POST", "/heartbeat", $"{{\"user_id\":\"{me}\",\"active\":true}}"),
                ("POST", "/offline", null), ("GET", "/status/1", null), ("GET", "/users?q=abc", null),
                ("PUT", $"/users/{me}/status", "{\"status\":\"online\"}"), ("POST", $"/users/{me}/blocked", "{\"user_ids\":[1]}"),
                ("DELETE", $"/users/{me}", null), ("GET", "/watch?users=1", null),
            })
            {
                Title(await _server.CallAsync(token, method, path, body), 403).ShouldBe("User disabled", $"{method} {path}");
            }

            await using var refused = await RawSocket.HandshakeAsync(_server.Address, "/ws", $"Authorization: Bearer {token}\r\n{way}");
            (await refused.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 403 ");
        }

        // a backend's heartbeat for them has no effect: they stay offline on every path
        await _server.CallAsync(shared.Keys["heartbeat"], "POST", "/heartbeat", $"{{\"user_id\":\"{me}\"}}");
        (await AsAsync(other, "GET", $"/status/{me}")).Json["is_online"]!.GetValue<bool>().ShouldBeFalse();
        (await AsAsync(other, "POST", "/status/batch", $"{{\"user_ids\":[\"{me}\"]}}")).Json[0]!["status"]!.GetValue<string>()
            .ShouldBe("offline");
        (await _server.CallAsync(shared.Keys["read"], "GET", "/online?limit=10000")).Text.ShouldNotContain(me);
        (await ByKeyAsync("PUT", $"/users/{me}/status", """{"status":"busy"}""")).Status.ShouldBe(200);
        (await AsAsync(other, "GET", $"/status/{me}")).Json["status"]!.GetValue<string>().ShouldBe("offline");
        (await _server.CallAsync(shared.Keys["operate"], "GET", $"/status/{me}/explain")).Json["reason"]!.GetValue<string>()
            .ShouldContain("disabled");

        (await ByKeyAsync("PUT", $"/users/{me}/access", """{"disabled":false}"""))
            .ShouldBeJson($$"""{"user_id":"{{me}}","disabled":false}""");
        await using var again = await _server.OpenSocketAsync(Token.Of(me), way);
        await watcher.ReadRecordAsync(me, "busy");
    }

    [Theory]
    [InlineData("", "disabled")]
    [InlineData("{}", "disabled is missing")]
    [InlineData("""{"disabled":null}""", "true or false")]
    [InlineData("""{"disabled":"true"}""", "true or false")]
    [InlineData("""{"disabled":true,"disabled":true}""", "twice")]
    [InlineData("""{"disabled":true,"reason":"spam"}""", "\"reason\"")]
    [InlineData("""{"enabled":true}""", "\"enabled\"")]
    [InlineData("[true]", "disabled")]
    public async Task What_is_no_access_is_refused(string body, string detail)
    {
        var me = SharedServer.NewKey("me");
        (await ByKeyAsync("PUT", $"/users/{me}/access", body)).ShouldBeProblem(400, detail);
        (await AsAsync(me, "POST", "/heartbeat")).Status.ShouldBe(200);
    }

    // ---- delete, and come back ----------------------------------------------------------------------------------------------

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task A_deleted_user_is_gone_at_once_and_watchers_hear_of_the_one_who_comes_back(string way)
    {
        var (me, other) = (await ArriveAsync("me"), await ArriveAsync("other"));
        await AsAsync(me, "PUT", $"/users/{me}", $$"""{"user_name":"{{SharedServer.NewKey("name")}}"}""");
        await AsAsync(me, "POST", $"/users/{me}/subscriptions", """{"user_ids":[1,2]}""");
        await AsAsync(me, "POST", $"/users/{me}/approved", """{"user_ids":[3]}""");
        await AsAsync(me, "POST", $"/users/{me}/blocked", """{"user_ids":[4]}""");
        await AsAsync(me, "PUT", $"/users/{me}/visibility", """{"last_seen":"coarse"}""");
        await AsAsync(other, "POST", $"/users/{other}/subscriptions", $"{{\"user_ids\":[\"{me}\"]}}");
        await using var watcher = await WatchAsync(other, me);
        using var stream = new StreamReader(await _server.Http.GetStreamAsync($"/watch?users={me}&access_token={Token.Of(other)}"));
        var old = Token.Of(me);
        await using var socket = await _server.OpenSocketAsync(old, way);
        (await _server.CallAsync(old, "DELETE", $"/users/{me}")).Status.ShouldBe(204);

        (await socket.ReadCloseAsync(answerPings: true)).ShouldBe(NotAllowed);
        await GoOnAsync(socket);
        (await watcher.ReadRecordAsync(me, "offline")).GetProperty("last_seen").ValueKind.ShouldBe(JsonValueKind.Null);
        await ReceiveAsync(stream, "\"status\":\"offline\"");
        (await AsAsync(other, "GET", $"/users/{me}")).ShouldBeProblem(404);
        Title(await _server.CallAsync(old, "POST", "/heartbeat"), 401).ShouldBe("Token revoked");
        Title(await _server.CallAsync(old, "DELETE", $"/users/{me}"), 401).ShouldBe("Token revoked");
        await using (var refused = await RawSocket.HandshakeAsync(_server.Address, "/ws", $"Authorization: Bearer {old}\r\n{way}"))
        {
            (await refused.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 401 ");
        }

        (await AsAsync(other, "GET", $"/users/{me}")).ShouldBeProblem(404);

        // a new user gets the ID, and has nothing of the previous user
        (await _server.CallAsync(NewerToken(me), "POST", "/heartbeat")).Status.ShouldBe(200);
        await watcher.ReadRecordAsync(me, "online");
        await ReceiveAsync(stream, "\"status\":\"online\"");
        foreach (var list in new[] { "subscriptions", "approved", "blocked" })
            (await _server.CallAsync(NewerToken(me), "GET", $"/users/{me}/{list}")).ShouldBeJson("""{"user_ids":[]}""");
        (await _server.CallAsync(NewerToken(me), "GET", $"/users/{me}/visibility"))
            .ShouldBeJson($$"""{"user_id":"{{me}}","online":"everyone","last_seen":"exact"}""");
        (await AsAsync(other, "GET", $"/users/{me}")).Json["user_name"].ShouldBeNull();
        // a watcher with a saved subscription of the ID receives the new user
        await using var saved = await _server.OpenSocketAsync(Token.Of(other));
        (await saved.ReadPresenceAsync()).ShouldBe($"\"{me}\":online");
    }

    private static async Task ReceiveAsync(StreamReader stream, string what)
    {
        using var limit = new CancellationTokenSource(TimeSpan.FromSeconds(90));
        while (await stream.ReadLineAsync(limit.Token) is { } line)
        {
            if (line.Contains(what, StringComparison.Ordinal))
                return;
        }

        throw new InvalidOperationException($"The stream ended without {what}.");
    }

    [Fact]
    public async Task A_block_outlives_the_deletion_of_who_is_blocked()
    {
        var (ann, carol, dave) = (await ArriveAsync("ann"), await ArriveAsync("carol"), await ArriveAsync("dave"));
        (await AsAsync(ann, "POST", $"/users/{ann}/blocked", $"{{\"user_ids\":[\"{carol}\"]}}")).Status.ShouldBe(200);
        (await AsAsync(carol, "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeFalse();
        (await AsAsync(carol, "DELETE", $"/users/{carol}")).Status.ShouldBe(204);
        (await _server.CallAsync(NewerToken(carol), "POST", "/heartbeat")).Status.ShouldBe(200);
        (await _server.CallAsync(NewerToken(carol), "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeFalse();
        (await AsAsync(ann, "GET", $"/users/{ann}/blocked")).ShouldBeJson($$"""{"user_ids":["{{carol}}"]}""");

        // an approval outlives a deletion too
        (await AsAsync(ann, "PUT", $"/users/{ann}/visibility", """{"online":"followers-approved"}""")).Status.ShouldBe(200);
        (await AsAsync(ann, "POST", $"/users/{ann}/approved", $"{{\"user_ids\":[\"{dave}\"]}}")).Status.ShouldBe(200);
        (await AsAsync(dave, "DELETE", $"/users/{dave}")).Status.ShouldBe(204);
        (await _server.CallAsync(NewerToken(dave), "POST", "/heartbeat")).Status.ShouldBe(200);
        (await _server.CallAsync(NewerToken(dave), "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeTrue();
    }

    [Fact]
    public async Task Somebody_can_be_blocked_or_approved_before_they_first_come()
    {
        var ann = await ArriveAsync("ann");
        var large = Random.Shared.NextInt64(1L << 31, long.MaxValue / 10);
        string[] strangers = [SharedServer.NewKey("stranger"), $"{SharedServer.NewUsers()}", $"{large}"];
        foreach (var stranger in strangers)
        {
            await AsAsync(ann, "PUT", $"/users/{ann}/visibility", """{"online":"everyone"}""");
            (await AsAsync(ann, "POST", $"/users/{ann}/blocked", $"{{\"user_ids\":[\"{stranger}\"]}}")).Status.ShouldBe(200);
            (await _server.CallAsync(shared.Keys["read"], "GET", $"/users/{stranger}")).ShouldBeProblem(404);
            (await AsAsync(stranger, "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeFalse(stranger);
            (await AsAsync(stranger, "POST", "/heartbeat")).Status.ShouldBe(200);
            (await AsAsync(stranger, "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeFalse(stranger);
            (await AsAsync(ann, "DELETE", $"/users/{ann}/blocked", $"{{\"user_ids\":[\"{stranger}\"]}}"))
                .ShouldBeJson("""{"user_ids":[]}""");
            (await AsAsync(stranger, "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeTrue(stranger);

            var friend = stranger + "7";
            await AsAsync(ann, "PUT", $"/users/{ann}/visibility", """{"online":"followers-approved"}""");
            (await AsAsync(ann, "POST", $"/users/{ann}/approved", $"{{\"user_ids\":[\"{friend}\"]}}")).Status.ShouldBe(200);
            (await AsAsync(friend, "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeTrue(friend);
        }
    }

    [Fact]
    public async Task The_last_number_of_all_is_a_user_like_others_and_stands_for_no_strangers()
    {
        var ann = await ArriveAsync("ann");
        await AsAsync(ann, "PUT", $"/users/{ann}/visibility", """{"online":"followers-approved"}""");
        (await AsAsync(ann, "POST", $"/users/{ann}/approved", """{"user_ids":[4294967295]}"""))
            .ShouldBeJson("""{"user_ids":["4294967295"]}""");
        (await AsAsync(SharedServer.NewKey("stranger"), "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeFalse();
        (await _server.CallAsync(shared.Keys["read"], "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeFalse();
        (await AsAsync("4294967295", "GET", $"/status/{ann}")).Json["is_online"]!.GetValue<bool>().ShouldBeTrue();
    }

    // ---- durable ------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task What_was_acknowledged_is_there_after_a_kill()
    {
        var folder = AglowProcess.NewFolder();
        var key = await TokenServer.AddKeyAsync(folder, "all", "heartbeat,read,users,operate");
        await using (var server = await AglowProcess.StartAsync(folder, Token.ServerFlags))
        {
            async Task DoAsync(int status, string method, string path, string? json = null) =>
                (await server.CallAsync(key, method, path, json)).Status.ShouldBe(status, path);
            const string Imported =
                """{"users":[{"user_id":"ann","user_name":"Ann"},{"user_id":7,"user_name":"B"},{"user_id":5105550123,"user_name":"C"}]}""";
            await DoAsync(200, "POST", "/users/batch", Imported);
            await DoAsync(200, "PATCH", "/users/ann", """{"user_name":"Anna","display_name":"A."}""");
            await DoAsync(201, "PUT", "/users/dave", """{"user_name":"Ann"}""");
            await DoAsync(200, "POST", "/heartbeat", """{"user_ids":["ann",7,5105550123,"dave","gone","out","off"]}""");
            await DoAsync(200, "POST", "/users/ann/blocked", """{"user_ids":["never came",8]}""");
            await DoAsync(204, "DELETE", "/users/gone");
            await DoAsync(204, "POST", "/users/out/revoke");
            await DoAsync(200, "PUT", "/users/off/access", """{"disabled":true}""");
            await server.KillAsync();
        }

        for (var round = 0; round < 2; round++)
        {
            await using var again = await AglowProcess.StartAsync(folder, Token.ServerFlags);
            async Task<JsonNode> UserAsync(string id) => (await again.CallAsync(key, "GET", $"/users/{id}")).Json;
            (await UserAsync("ann"))["user_name"]!.GetValue<string>().ShouldBe("Anna");
            (await UserAsync("ann"))["display_name"]!.GetValue<string>().ShouldBe("A.");
            (await UserAsync("7"))["user_name"]!.GetValue<string>().ShouldBe("B");
            (await UserAsync("5105550123"))["user_name"]!.GetValue<string>().ShouldBe("C");
            (await UserAsync("dave"))["user_name"]!.GetValue<string>().ShouldBe("Ann");
            (await again.CallAsync(key, "GET", "/users/ann/blocked")).ShouldBeJson("""{"user_ids":[8,"never came"]}""");
            (await again.CallAsync(Token.Of("never came"), "GET", "/status/ann")).Json["last_seen"].ShouldBeNull();
            (await again.CallAsync(key, "GET", "/users/gone")).ShouldBeProblem(404);
            foreach (var ended in new[] { "gone", "out" })
            {
                var old = Token.Signed(Token.Claims(ended, static c => c["iat"] = Token.Now - 300), Token.Secret);
                Title(await again.CallAsync(old, "POST", "/heartbeat"), 401).ShouldBe("Token revoked");
            }

            Title(await again.CallAsync(Token.Of("off"), "POST", "/heartbeat"), 403).ShouldBe("User disabled");
            (await UserAsync("off"))["disabled"]!.GetValue<bool>().ShouldBeTrue();
            (await UserAsync("off"))["is_online"]!.GetValue<bool>().ShouldBeFalse();
            (await again.CallAsync(key, "PUT", "/users/elsewhere", """{"user_name":"ANNA"}""")).ShouldBeProblem(409);
            await again.KillAsync();
        }

        Directory.Delete(folder, recursive: true);
    }
}
