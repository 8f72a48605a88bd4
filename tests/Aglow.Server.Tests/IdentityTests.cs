using System.Globalization;
using System.Text.RegularExpressions;

namespace Aglow.Server.Tests;

/// <summary>Identity: an ID means one user on every path in. The server's own index of a user is never shown and never accepted.</summary>
public sealed partial class IdentityTests : IAsyncLifetime
{
    /// <summary>In a new data folder, the index of the first ID from 2^31 up, or of the first text ID.</summary>
    private const uint FirstIndex = 1u << 31;

    private AglowProcess _server = null!;

    public async Task InitializeAsync() => _server = await AglowProcess.StartAsync();

    public Task DisposeAsync() => _server.DisposeAsync().AsTask();

    // ---- one person on every way in -------------------------------------------------------------------------------------------

    [Fact]
    public async Task Numbers_on_both_sides_of_2_to_the_31_and_2_to_the_32_behave_the_same()
    {
        string? first = null;
        long[] numbers =
            [2125550123, 2147483647, 2147483648, 3105550123, 4294967294, 4294967295, 4294967296, 5105550123, 9223372036854775807];
        foreach (var number in numbers)
        {
            var told = await EverythingAsync(number);
            first ??= told;
            told.ShouldBe(first, $"{number}");
        }
    }

    // All answers about a number, with ID in place of the number and T in place of times.
    private async Task<string> EverythingAsync(long number)
    {
        var told = new StringBuilder();
        void Tell(string what, string text)
        {
            foreach (var form in new[] { $"\\\"{number}\\\"", $"\"{number}\"", $"{number}" })
                text = text.Replace(form, "ID");
            told.AppendLine($"{what} {Times().Replace(text, "T")}");
        }

        async Task CallAsync(string method, string path, string? json = null)
        {
            var answer = await _server.CallAsync(token: null, method, path.Replace("ID", $"{number}"), json?.Replace("ID", $"{number}"));
            Tell($"{method} {path} {json}: {answer.Status}", answer.Text);
        }

        await CallAsync("GET", "/status/ID");
        await CallAsync("GET", "/users/ID");
        await using var watcher = await RawSocket.OpenAsync(_server.Address, "1");
        await watcher.SendAsync($$"""{"type":"watch","users":[{{number}},"{{number}}"]}""");
        Tell("watch", (await watcher.ReadMessageAsync()).GetRawText());
        await CallAsync("POST", "/heartbeat", """{"user_id":ID}""");
        Tell("told", (await watcher.ReadMessageAsync()).GetRawText());
        await CallAsync("GET", "/status/ID");
        await CallAsync("GET", "/status?user=ID");
        await CallAsync("GET", "/status/users?ids=ID");
        await CallAsync("POST", "/status/batch", """{"user_ids":[ID,"ID"]}""");
        await CallAsync("POST", "/status/batch", """[{"user_id":ID},{"user_id":"ID"}]""");
        var why = (await _server.GetAsync($"/status/{number}/explain")).Json["reason"]!.GetValue<string>();
        Tell("explain", Seconds().Replace(why, "N s ago"));
        await CallAsync("POST", "/users", """{"user_name":"called","user_id":ID}""");
        await CallAsync("POST", "/users", """{"user_name":"called","user_id":"ID"}""");
        await CallAsync("GET", "/users/ID");
        await CallAsync("GET", "/users?q=called");
        await CallAsync("PATCH", "/users/ID", """{"display_name":"Somebody"}""");
        await CallAsync("PUT", "/users/ID/status", """{"status":"busy"}""");
        Tell("told", (await watcher.ReadMessageAsync()).GetRawText());
        await CallAsync("PUT", "/users/ID/visibility", """{"last_seen":"coarse"}""");
        await CallAsync("POST", "/users/2/blocked", """{"user_ids":[ID]}""");
        await CallAsync("DELETE", "/users/2/blocked", """{"user_ids":["ID"]}""");
        await CallAsync("POST", "/users/ID/subscriptions", """{"user_ids":[ID,3]}""");
        await CallAsync("GET", "/online");
        await using (var own = await RawSocket.HandshakeAsync(_server.Address, $"/ws?user_id={number}"))
        {
            Tell("own", (await own.ReadHeadAsync()).Split("\r\n")[0]);
            Tell("own", (await own.ReadMessageAsync()).GetRawText());
            await own.SendAsync("""{"type":"leave"}""");
            // closed with 1000, whatever was sent before
            await own.ReadCloseAsync();
        }

        await CallAsync("POST", "/offline", """{"user_ids":["ID"]}""");
        await CallAsync("GET", "/status/ID");
        await CallAsync("DELETE", "/users/ID");
        await CallAsync("GET", "/users/ID");
        await CallAsync("POST", "/offline", """{"user_id":1}""");
        return told.ToString();
    }

    [GeneratedRegex(@"\b1[5-9]\d{8}\b", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Times();

    [GeneratedRegex(@"\d+ s ago", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Seconds();

    [Theory]
    [InlineData("5002")]
    [InlineData("\"5002\"")]
    [InlineData("5000000000")]
    [InlineData("\"5000000000\"")]
    [InlineData("9223372036854775807")]
    [InlineData("\"042\"")]
    [InlineData("\"ann\"")]
    public async Task A_body_names_a_user_in_one_form_and_the_answer_repeats_it(string id)
    {
        var created = await _server.PostAsync("/users", $"{{\"user_name\":\"somebody\",\"user_id\":{id}}}");
        created.Status.ShouldBe(201, created.Text);
        created.Json["user_id"]!.ToJsonString().ShouldBe(id);
        (await _server.PostAsync("/status/batch", $"{{\"user_ids\":[{id}]}}")).Json[0]!["user_id"]!.ToJsonString().ShouldBe(id);
        (await _server.PostAsync("/reach", $"{{\"user_ids\":[{id}]}}")).Json["users"]![0]!["user_id"]!.ToJsonString().ShouldBe(id);
        await _server.PutAsync($"/users/{id.Trim('"')}/access", "{\"disabled\":true}");
        (await _server.PostAsync("/heartbeat", $"{{\"user_ids\":[1,{id}]}}")).Json["disabled"]![0]!.ToJsonString().ShouldBe(id);
    }

    [Fact]
    public async Task Digits_that_are_no_integers_canonical_form_are_somebody_else()
    {
        await _server.PostAsync("/heartbeat", """{"user_id":42}""");
        string[] others = ["042", "+42", "42.0", " 42", "42 ", "0x2a", "\u0664\u0662", "-42", "18446744073709551658", "4294967338"];
        foreach (var other in others)
        {
            (await _server.StatusOfAsync(Uri.EscapeDataString(other))).ShouldBe("offline", other);
            (await _server.PostAsync("/users", JsonSerializer.Serialize(new { user_name = $"name of {other}", user_id = other })))
                .Status.ShouldBe(201, other);
        }

        (await _server.GetAsync("/users/42")).Json["user_name"].ShouldBeNull();
        (await _server.GetAsync("/users/042")).Json["user_id"]!.ToJsonString().ShouldBe("\"042\"");
        (await _server.GetAsync("/users/42")).Json["user_id"]!.ToJsonString().ShouldBe("42");
        await _server.DeleteAsync("/users/042");
        (await _server.StatusOfAsync("42")).ShouldBe("online");
    }

    public static TheoryData<string> LongIds => new(
        $"@{new string('m', 200)}:example.org",
        new string('x', 255),
        string.Concat(Enumerable.Repeat("é", 127)) + "x",
        string.Concat(Enumerable.Repeat("🌞", 63)) + "abc");

    [Theory]
    [MemberData(nameof(LongIds))]
    public async Task An_id_of_up_to_255_bytes_is_taken_everywhere(string id)
    {
        Encoding.UTF8.GetByteCount(id).ShouldBeInRange(200, 255);
        var (path, json) = (Uri.EscapeDataString(id), JsonSerializer.Serialize(id));
        (await _server.PostAsync("/users", $$"""{"user_name":{{json}}}""")).Json["user_id"]!.GetValue<string>().ShouldBe(id);
        (await _server.PutAsync($"/users/{path}/status", """{"status":"busy"}""")).Status.ShouldBe(200);
        (await _server.PostAsync($"/users/{path}/subscriptions", $$"""{"user_ids":[{{json}}]}""")).Json["user_ids"]![0]!.GetValue<string>()
            .ShouldBe(id);
        await using var socket = await RawSocket.OpenAsync(_server.Address, id);
        (await socket.ReadMessageAsync()).GetProperty("users")[0].GetProperty("user_id").GetString().ShouldBe(id);
        (await _server.GetAsync($"/status?user={path}")).Json["status"]!.GetValue<string>().ShouldBe("busy");
        (await _server.GetAsync($"/status/{path}/explain")).Json["user_id"]!.GetValue<string>().ShouldBe(id);
        (await _server.GetAsync($"/users?q={Uri.EscapeDataString(id[..20])}")).Json["users"]![0]!["user_id"]!.GetValue<string>()
            .ShouldBe(id);
        (await _server.GetAsync("/online?limit=10")).Json["users"]!.AsArray().Select(static user => user!.GetValue<string>())
            .ShouldContain(id);
        (await _server.PostAsync($"/users/{path}/revoke", "")).Status.ShouldBe(204);
        (await _server.DeleteAsync($"/users/{path}")).Status.ShouldBe(204);
    }

    [Theory]
    [InlineData(".")]
    [InlineData("..")]
    [InlineData("users")]
    [InlineData("batch")]
    [InlineData("a/b?c#d")]
    public async Task An_id_that_no_path_can_name_is_reached_by_query(string id)
    {
        var path = $"/users?user={Uri.EscapeDataString(id)}";
        (await _server.PutAsync(path, $$"""{"user_name":"name of {{id}}"}""")).Status.ShouldBe(201);
        (await _server.CallAsync(token: null, "PATCH", path, """{"display_name":"Somebody"}""")).Status.ShouldBe(200);
        var user = (await _server.GetAsync(path)).Json;
        user["user_id"]!.GetValue<string>().ShouldBe(id);
        user["user_name"]!.GetValue<string>().ShouldBe($"name of {id}");
        user["display_name"]!.GetValue<string>().ShouldBe("Somebody");
        (await _server.DeleteAsync(path)).Status.ShouldBe(204);
        (await _server.GetAsync(path)).Status.ShouldBe(404);
    }

    [Fact]
    public async Task A_packed_word_from_2_to_the_31_up_is_nobody()
    {
        await _server.PostAsync("/heartbeat", """{"user_ids":["first","second",7]}""");
        await _server.PostAsync("/offline", """{"user_ids":["first","second"]}""");
        uint[] words = [FirstIndex, FirstIndex + 1, FirstIndex + 2, uint.MaxValue - 1, uint.MaxValue];
        (await _server.PostPackedAsync("/heartbeat", [.. words, 8])).ShouldBeJson("""{"status":"success","accepted":1}""");
        foreach (var somebody in new[] { "first", "second" })
            (await _server.StatusOfAsync(somebody)).ShouldBe("offline");
        (await _server.PostPackedAsync("/status/batch", [.. words])).Words.ShouldAllBe(static word => word == 0);
        await _server.PostAsync("/heartbeat", """{"user_ids":["first","second"]}""");
        (await _server.PostPackedAsync("/offline", [.. words, 8])).Status.ShouldBe(200);
        foreach (var somebody in new[] { "first", "second", "7" })
            (await _server.StatusOfAsync(somebody)).ShouldBe("online");
        (await _server.StatusOfAsync("8")).ShouldBe("offline");
    }

    // ---- no index is shown ----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task No_call_message_cursor_log_line_metric_or_page_shows_an_index()
    {
        string[] people = [.. Enumerable.Range(0, 12).Select(static i => $"person-{i}"), "5105550123", "9223372036854775807"];
        await _server.PostAsync("/heartbeat", JsonSerializer.Serialize(new { user_ids = people, active = true }));
        foreach (var person in people)
        {
            (await _server.PutAsync($"/users/{person}", $$"""{"user_name":"name of {{person}}","display_name":"Somebody"}"""))
                .Status.ShouldBe(201);
            (await _server.PostAsync($"/users/{person}/subscriptions", """{"user_ids":["person-0","person-1","unknown"]}"""))
                .Status.ShouldBe(200);
            (await _server.PostAsync($"/users/{person}/approved", """{"user_ids":["person-2","unknown",5105550123]}"""))
                .Status.ShouldBe(200);
        }

        var heard = new StringBuilder();
        await _server.PutAsync("/users/person-0/visibility", """{"online":"followers-approved"}""");
        // cursors of every list, and pages of one list
        string[] paged =
        [
            "/users?q=&limit=1", "/users?q=name&limit=1", "/users?q=ame&limit=1", "/users?q=somebody&limit=1",
            "/online?limit=1", "/users/person-0/waiting?limit=1",
        ];
        foreach (var path in paged)
            await PageThroughAsync(path, heard);

        await using var watcher = await RawSocket.OpenAsync(_server.Address, "person-0");
        await using var own = await RawSocket.OpenAsync(_server.Address, "person-1");
        using var stop = new CancellationTokenSource();
        var listening = new[] { watcher, own }
            .Select(socket => socket.StayAsync(message => Add(heard, message.GetRawText()), stop.Token))
            .ToArray();
        using var stream = new StreamReader(await _server.Http.GetStreamAsync($"/watch?users={string.Join(',', people)}"));
        var streaming = Task.Run(async () =>
        {
            while (!stop.IsCancellationRequested && await stream.ReadLineAsync(stop.Token) is { } line)
                Add(heard, line);
        });
        foreach (var message in Messages("person-3"))
        {
            await watcher.SendAsync(message);
            await own.SendAsync(message);
        }

        foreach (var call in Calls("person-2"))
            Add(heard, await TellAsync(_server, call));
        // and the answers to invalid calls
        foreach (var call in Calls("person-4\u0001"))
            Add(heard, await TellAsync(_server, call));
        foreach (var call in Calls("nobody"))
            Add(heard, await TellAsync(_server, call));
        Add(heard, (await _server.GetAsync("/")).Text);
        await _server.PostAsync("/heartbeat", """{"user_id":"person-3"}""");
        await Eventually.TrueAsync(() => Task.FromResult(Count(heard, "person-3") > 3), 60, "watchers are told");
        Add(heard, (await _server.GetAsync("/metrics")).Text);
        await stop.CancelAsync();
        await own.SendAsync("""{"type":"leave"}""");
        (await _server.StopAsync()).ShouldBe(0);
        await Task.WhenAll([.. listening, streaming.ContinueWith(static _ => { }, TaskScheduler.Default)]);
        Add(heard, _server.Output + _server.Errors);

        var text = heard.ToString();
        text.Length.ShouldBeGreaterThan(20_000);
        for (var index = FirstIndex; index < FirstIndex + 100; index++)
            text.ShouldNotContain(index.ToString(CultureInfo.InvariantCulture));
    }

    [Fact]
    public async Task The_calls_of_these_tests_are_all_there_are()
    {
        var described = (await _server.GetAsync("/openapi/v1.json")).Json["paths"]!.AsObject()
            .SelectMany(static path => path.Value!.AsObject().Select(call => $"{call.Key.ToUpperInvariant()} {path.Key}"))
            // the socket has its own tests, and a webhook belongs to no user
            .Where(static call => call != "GET /ws" && !call.Contains("/webhooks", StringComparison.Ordinal));
        Calls("{user}").Select(static call => $"{call.Method} {Uri.UnescapeDataString(call.Path).Split('?')[0]}").Distinct().Order()
            .ShouldBe(described.Order());
    }

    internal sealed record Made(string Method, string Path, string? Json = null, byte[]? Packed = null);

    // Every call about this user, with the user in every possible place: the path, the query, the body.
    internal static List<Made> Calls(string user)
    {
        var (path, json) = (Uri.EscapeDataString(user), JsonSerializer.Serialize(user));
        var packed = uint.TryParse(user, out var word) ? Calling.Pack([word]) : Calling.Pack([FirstIndex]);
        var calls = new List<Made>
        {
            new("GET", "/docs"),
            new("GET", "/health/live"),
            new("GET", "/health/ready"),
            new("GET", "/metrics"),
            new("GET", "/online"),
            new("GET", $"/online?viewer={path}"),
            new("GET", $"/online?cursor={path}"),
            new("GET", "/online/count"),
            new("GET", $"/status?user={path}"),
            new("GET", $"/status/users?ids={path},1"),
            new("GET", $"/status/users?ids=1&viewer={path}"),
            new("GET", $"/status/{path}"),
            new("GET", $"/status/{path}/explain"),
            new("GET", $"/users?user={path}"),
            new("GET", $"/users?q={path}"),
            new("GET", $"/users?cursor={path}"),
            new("GET", $"/users/{path}"),
            new("GET", $"/changes?after={path}"),
            new("GET", $"/users/{path}/approved"),
            new("GET", $"/users/{path}/blocked"),
            new("GET", $"/users/{path}/quiet-hours"),
            new("GET", $"/users/{path}/status"),
            new("GET", $"/users/{path}/subscriptions"),
            new("GET", $"/users/{path}/visibility"),
            new("GET", $"/users/{path}/waiting"),
            new("GET", $"/users/{path}/waiting?cursor={path}"),
            new("GET", $"/watch?users={path}"),
            new("POST", "/heartbeat", Packed: packed),
            new("POST", "/status/batch", Packed: packed),
            new("POST", "/offline", Packed: packed),
            new("PUT", $"/users/{path}", """{"user_name":"mine"}"""),
            new("PUT", $"/users?user={path}", """{"user_name":"mine"}"""),
            new("PATCH", $"/users?user={path}", """{"display_name":"Mine"}"""),
            new("PATCH", $"/users/{path}", """{"display_name":"Mine"}"""),
            new("PUT", $"/users/{path}/quiet-hours", """{"days":["mon"],"from":"22:00","to":"07:00","time_zone":"UTC"}"""),
            new("DELETE", $"/users/{path}/quiet-hours"),
            new("PUT", $"/users/{path}/status", """{"status":"busy"}"""),
            new("DELETE", $"/users/{path}/status"),
            new("PUT", $"/users/{path}/status", """{"status":"away"}"""),
            new("PUT", $"/users/{path}/visibility", """{"online":"nobody","last_seen":"hidden"}"""),
        };
        // text, and the number if it can be one
        foreach (var id in long.TryParse(user, out _) ? new[] { json, user } : [json])
        {
            calls.Add(new("POST", "/heartbeat", $$"""{"user_id":{{id}},"active":true}"""));
            calls.Add(new("POST", "/heartbeat", $$"""{"user_ids":[{{id}},1]}"""));
            calls.Add(new("POST", "/status/update", $$"""{"user_id":{{id}},"timestamp":1763763300}"""));
            calls.Add(new("POST", "/status/batch", $$"""[{"user_id":{{id}}}]"""));
            calls.Add(new("POST", "/status/batch", $$"""{"user_ids":[{{id}},2]}"""));
            calls.Add(new("POST", "/reach", $$"""{"user_ids":[{{id}},2]}"""));
            calls.Add(new("POST", "/users", $$"""{"user_name":"mine","user_id":{{id}}}"""));
            calls.Add(new("POST", "/users/batch", $$"""{"users":[{"user_id":{{id}},"user_name":"mine"}]}"""));
            foreach (var list in new[] { "approved", "blocked", "subscriptions" })
            {
                calls.Add(new("POST", $"/users/{path}/{list}", $$"""{"user_ids":[{{id}},1]}"""));
                calls.Add(new("DELETE", $"/users/{path}/{list}", $$"""{"user_ids":[{{id}},1]}"""));
            }

            calls.Add(new("POST", "/offline", $$"""{"user_id":{{id}}}"""));
        }

        // these calls end a user's access
        calls.Add(new("PUT", $"/users/{path}/access", """{"disabled":true}"""));
        calls.Add(new("DELETE", $"/users/{path}"));
        calls.Add(new("DELETE", $"/users?user={path}"));
        calls.Add(new("POST", $"/users/{path}/revoke"));
        return calls;
    }

    private static IEnumerable<string> Messages(string user)
    {
        var json = JsonSerializer.Serialize(user);
        yield return $$"""{"type":"watch","users":[{{json}},1]}""";
        yield return $$"""{"type":"watch","users":[{{json}}],"definition":"reachable"}""";
        yield return $$"""{"type":"unwatch","users":[{{json}}],"definition":"reachable"}""";
        yield return """{"type":"active"}""";
        yield return """{"type":"status","status":"busy"}""";
        yield return """{"type":"token","token":"none"}""";
        yield return """{"type":"dance"}""";
        yield return $$"""{"type":"watch","users":[{{json}},-1]}""";
    }

    private static async Task<string> TellAsync(AglowProcess server, Made call, string? token = null)
    {
        using var request = new HttpRequestMessage(HttpMethod.Parse(call.Method), call.Path);
        if (call.Packed is not null)
            request.Content = new ByteArrayContent(call.Packed) { Headers = { ContentType = new(Calling.Packed) } };
        else if (call.Json is not null)
            request.Content = new StringContent(call.Json, Encoding.UTF8, "application/json");
        if (token is not null)
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
        using var answer = await server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        var told = $"{call.Method} {(int)answer.StatusCode} {answer.Headers}{answer.Content.Headers}";
        if (answer.Content.Headers.ContentType?.MediaType == Calling.Packed)
        {
            var words = (await answer.Content.ReadAsByteArrayAsync()).Chunk(4).Select(static four => BitConverter.ToUInt32(four));
            return told + string.Join(' ', words);
        }

        if (answer.Content.Headers.ContentType?.MediaType != "text/event-stream")
            return told + await answer.Content.ReadAsStringAsync();
        using var stream = new StreamReader(await answer.Content.ReadAsStreamAsync());
        return $"{told}{await stream.ReadLineAsync()} {await stream.ReadLineAsync()}";
    }

    private async Task PageThroughAsync(string path, StringBuilder heard)
    {
        string? cursor = null;
        for (var pages = 0; pages < 30; pages++)
        {
            var answer = await _server.GetAsync(path + (cursor is null ? "" : $"&cursor={cursor}"));
            answer.Status.ShouldBe(200, answer.Text);
            Add(heard, answer.Text);
            cursor = answer.Json["next"]?.GetValue<string>();
            if (cursor is null)
            {
                pages.ShouldBeGreaterThan(1, path);
                return;
            }

            // what a reader can find in a cursor by decoding base64, as text and as numbers
            var bytes = System.Buffers.Text.Base64Url.DecodeFromChars(cursor);
            Add(heard, Encoding.Latin1.GetString(bytes));
            for (var at = 0; at + 4 <= bytes.Length; at++)
            {
                var four = bytes[at..(at + 4)];
                BitConverter.ToUInt32(four).ShouldNotBeInRange(FirstIndex, FirstIndex + 100, path);
                BitConverter.ToUInt32([.. four.Reverse()]).ShouldNotBeInRange(FirstIndex, FirstIndex + 100, path);
            }
        }
    }

    private static void Add(StringBuilder heard, string text)
    {
        lock (heard)
            heard.AppendLine(text);
    }

    private static int Count(StringBuilder heard, string text)
    {
        lock (heard)
            return heard.ToString().Split(text).Length - 1;
    }

    // ---- no index is taken ----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task An_index_of_somebody_else_reaches_nobody_in_any_call()
    {
        string[] people = ["ann", "ben", "cleo"];
        var before = await PeopleAsync(_server, people);
        for (var index = FirstIndex; index < FirstIndex + people.Length; index++)
        {
            foreach (var call in Calls($"{index}"))
            {
                var told = await TellAsync(_server, call);
                foreach (var person in people)
                    told.ShouldNotContain($"\"{person}\"", customMessage: $"{call}");
            }

            (await FactsAsync(_server, people)).ShouldBe(before, $"{index}");
            await using var socket = await RawSocket.OpenAsync(_server.Address, $"{index}");
            foreach (var message in Messages($"{index}"))
                await socket.SendAsync(message);
            await socket.SendAsync("""{"type":"leave"}""");
            (await socket.ReadCloseAsync()).ShouldBe(1000);
            (await FactsAsync(_server, people)).ShouldBe(before, $"a socket of {index}");
        }
    }

    [Fact]
    public async Task Heartbeats_of_an_index_bring_nobody_online_and_watchers_of_somebody_hear_nothing()
    {
        await _server.PostAsync("/heartbeat", """{"user_id":"5216580805"}""");
        await _server.PostAsync("/offline", """{"user_id":"5216580805"}""");
        await using var watcher = await RawSocket.OpenAsync(_server.Address, "1");
        await watcher.SendAsync("""{"type":"watch","users":["5216580805"]}""");
        (await watcher.ReadPresenceAsync()).ShouldBe("\"5216580805\":offline");
        foreach (var id in new[] { "2147483648", "\"2147483648\"" })
            (await _server.PostAsync("/heartbeat", $$"""{"user_id":{{id}}}""")).Status.ShouldBe(200);
        (await _server.StatusOfAsync("5216580805")).ShouldBe("offline");
        (await _server.StatusOfAsync("2147483648")).ShouldBe("online");
        // the watcher's next message is about the user with this ID
        await _server.PostAsync("/heartbeat", """{"user_id":5216580805}""");
        (await watcher.ReadPresenceAsync()).ShouldBe("\"5216580805\":online");
    }

    [Fact]
    public async Task A_token_of_an_index_is_nobody_else()
    {
        string[] flags = [.. Token.ServerFlags, "--rate-limit", "0", "--rate-limit-address", "0"];
        await using var server = await AglowProcess.StartAsync(null, flags);
        string[] people = ["ann", "ben"];
        var before = await PeopleAsync(server, people, static user => Token.Of(user));
        for (var index = FirstIndex; index < FirstIndex + people.Length; index++)
        {
            foreach (var subject in new JsonNode[] { $"{index}", index })
            {
                // later than the revocations of the calls before
                var token = Token.Signed(Token.Claims("", c => (c["sub"], c["iat"]) = (subject, Token.Now + 2)), Token.Secret);
                // about the users by their names, and about the index
                foreach (var call in people.SelectMany(Calls).Concat(Calls($"{index}")))
                {
                    var told = await TellAsync(server, call, token);
                    if (call.Path.Contains("/users/ann") || call.Path.Contains("/users/ben"))
                        told.ShouldMatch("^[A-Z]+ (403|200|404)", customMessage: $"{call}");
                    told.ShouldNotContain("secret friend", customMessage: $"{call}");
                }
            }

            (await FactsAsync(server, people, static user => Token.Of(user))).ShouldBe(before, $"{index}");
        }
    }

    // Creates users who have everything that a user can have, and are offline. They are the first of a folder, in this order.
    private static async Task<string> PeopleAsync(AglowProcess server, string[] people, Func<string, string>? token = null)
    {
        foreach (var person in people)
        {
            foreach (var (method, path, json) in new[]
            {
                ("POST", "/heartbeat", $$"""{"user_id":"{{person}}","active":true}"""),
                ("PUT", $"/users/{person}", $$"""{"user_name":"name of {{person}}","display_name":"Somebody"}"""),
                ("PUT", $"/users/{person}/status", """{"status":"busy"}"""),
                ("PUT", $"/users/{person}/visibility", """{"last_seen":"coarse"}"""),
                ("POST", $"/users/{person}/subscriptions", """{"user_ids":["ann",7]}"""),
                ("POST", $"/users/{person}/approved", """{"user_ids":["ann",8]}"""),
                ("POST", $"/users/{person}/blocked", """{"user_ids":["secret friend",9]}"""),
                ("POST", "/offline", $$"""{"user_id":"{{person}}"}"""),
            })
            {
                (await server.CallAsync(token?.Invoke(person), method, path, json)).Status.ShouldBeInRange(200, 201, $"{method} {path}");
            }
        }

        return await FactsAsync(server, people, token);
    }

    private static async Task<string> FactsAsync(AglowProcess server, string[] people, Func<string, string>? token = null)
    {
        var facts = new StringBuilder();
        foreach (var person in people)
        {
            foreach (var what in new[] { "", "/subscriptions", "/approved", "/blocked", "/visibility" })
                facts.AppendLine((await server.CallAsync(token?.Invoke(person), "GET", $"/users/{person}{what}")).Text);
            facts.AppendLine((await server.CallAsync(token?.Invoke(person), "GET", $"/status/{person}")).Text);
        }

        return facts.ToString();
    }
}
