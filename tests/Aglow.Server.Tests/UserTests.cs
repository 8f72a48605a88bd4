namespace Aglow.Server.Tests;

[Collection(Calls.Name)]
public class UserTests(SharedServer shared)
{
    private readonly AglowProcess _server = shared.Server;

    [Fact]
    public async Task A_user_is_created_found_and_deleted()
    {
        var name = SharedServer.NewKey("alice");
        var before = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var made = await _server.PostAsync("/users", $$"""{"user_name":"{{name}}","display_name":"Alice Å"}""");
        made.Status.ShouldBe(201, made.Text);
        made.ContentType.ShouldBe("application/json");
        made.Members.ShouldBe(
            ["user_id", "user_name", "display_name", "created_at", "updated_at", "is_online", "status", "last_seen", "manual"]);
        made.Headers.Location!.OriginalString.ShouldBe($"/users/{name}");
        made.Json["user_id"]!.GetValue<string>().ShouldBe(name);
        made.Json["user_name"]!.GetValue<string>().ShouldBe(name);
        made.Json["display_name"]!.GetValue<string>().ShouldBe("Alice Å");
        made.Json["created_at"]!.GetValue<long>().ShouldBeInRange(before - 1, DateTimeOffset.UtcNow.ToUnixTimeSeconds() + 1);
        made.Json["updated_at"]!.GetValue<long>().ShouldBe(made.Json["created_at"]!.GetValue<long>());
        made.Json["status"]!.GetValue<string>().ShouldBe("offline");
        made.Json["last_seen"].ShouldBeNull();
        made.Json["manual"]!.GetValue<string>().ShouldBe("auto");

        var found = await _server.GetAsync(made.Headers.Location.OriginalString);
        found.Status.ShouldBe(200);
        found.Text.ShouldBe(made.Text);
        (await _server.GetAsync($"/users?user={name}")).Text.ShouldBe(found.Text);

        await _server.PostAsync("/heartbeat", $$"""{"user_id":"{{name}}"}""");
        (await _server.StatusOfAsync(name)).ShouldBe("online");
        (await _server.GetAsync($"/users/{name}")).Json["is_online"]!.GetValue<bool>().ShouldBeTrue();

        var deleted = await _server.DeleteAsync($"/users/{name}");
        deleted.Status.ShouldBe(204);
        deleted.Bytes.ShouldBeEmpty();
        (await _server.GetAsync($"/users/{name}")).ShouldBeProblem(404);
        (await _server.DeleteAsync($"/users/{name}")).ShouldBeProblem(404);
        (await _server.GetAsync($"/status/{name}")).ShouldBeJson(
            $$"""{"user_id":"{{name}}","is_online":false,"status":"offline","last_seen":null}""");
        (await SearchAsync($"q={name}")).ShouldBeEmpty();

        // the ID returns as a new user
        var again = await _server.PostAsync("/users", $$"""{"user_name":"{{name}}"}""");
        again.Status.ShouldBe(201, again.Text);
        again.Json["display_name"].ShouldBeNull();
        again.Json["last_seen"].ShouldBeNull();
    }

    [Fact]
    public async Task An_id_has_one_profile_and_a_name_one_user()
    {
        var name = SharedServer.NewKey();
        (await _server.PostAsync("/users", $$"""{"user_name":"{{name}}"}""")).Status.ShouldBe(201);
        (await TitleOfAsync(_server.PostAsync("/users", $$"""{"user_name":"{{name}}"}"""))).ShouldBe("User taken");
        (await TitleOfAsync(_server.PostAsync("/users", $$"""{"user_name":"{{name}}","user_id":"{{SharedServer.NewKey()}}"}""")))
            .ShouldBe("Name taken");
        // a heartbeat reserves no name, and a user known from heartbeats may get a profile
        var key = SharedServer.NewKey();
        await _server.PostAsync("/heartbeat", $$"""{"user_id":"{{key}}"}""");
        (await _server.GetAsync($"/users/{key}")).Json["user_name"].ShouldBeNull();
        (await SearchAsync($"q={key}")).ShouldBeEmpty();
        (await _server.PostAsync("/users", $$"""{"user_name":"{{key}}","display_name":"Known"}""")).Json["is_online"]!.GetValue<bool>()
            .ShouldBeTrue();
        (await SearchAsync($"q={key}")).ShouldBe([key]);
    }

    private static async Task<string> TitleOfAsync(Task<Answer> refused) =>
        (await refused).ShouldBeProblem(409).Json["title"]!.GetValue<string>();

    public static TheoryData<string, string> BadUsers => new()
    {
        { "", "user_name" },
        { "[]", "user_name" },
        { "{}", "user_name is missing" },
        { """{"user_name":null}""", "user_name is missing" },
        { """{"user_name":5}""", "user_name is a number, and a name is text" },
        { """{"user_name":""}""", "255" },
        { """{"user_name":"a\u0000"}""", "control" },
        { """{"user_name":"a\u007f"}""", "control" },
        { $$"""{"user_name":"{{new string('x', 256)}}"}""", "255" },
        { """{"user_name":"valid","user_id":-1}""", "user_id" },
        { """{"user_name":"valid","user_id":9223372036854775808}""", "user_id" },
        { """{"user_name":"valid","user_id":1.5}""", "user_id" },
        { """{"user_name":"valid","user_id":""}""", "user_id" },
        { """{"user_name":"valid","user_id":null}""", "user_id" },
        { $$"""{"user_name":"valid","user_id":"{{new string('x', 256)}}"}""", "255" },
        { """{"user_name":"valid","number":7}""", "\"number\"" },
        { """{"user_name":"\ud800"}""", "text" },
        { """{"user_name":"x","user_name":"y"}""", "twice" },
        { """{"user_name":"valid","display_name":""}""", "display_name" },
        { """{"user_name":"valid","display_name":7}""", "display_name" },
        { """{"user_name":"valid","display_name":"a\nb"}""", "display_name" },
        { $$"""{"user_name":"valid","display_name":"{{new string('é', 129)}}"}""", "256" },
        { """{"user_name":"x" """, "JSON" },
    };

    [Theory]
    [MemberData(nameof(BadUsers))]
    public async Task What_is_no_user_is_refused(string body, string detail) =>
        (await _server.PostAsync("/users", body)).ShouldBeProblem(400, detail);

    [Fact]
    public async Task Names_that_only_look_like_numbers_are_names()
    {
        var name = $"0{Random.Shared.Next()}";
        (await _server.PostAsync("/users", $$"""{"user_name":"{{name}}","display_name":null}""")).Status.ShouldBe(201);
        (await _server.GetAsync($"/users/{name}")).Json["user_name"]!.GetValue<string>().ShouldBe(name);
    }

    [Fact]
    public async Task Search_finds_a_beginning_and_from_three_letters_on_anything()
    {
        var mark = Guid.NewGuid().ToString("N")[..8];
        foreach (var name in new[] { $"{mark}-ann", $"{mark}-Bob", $"x{mark}" })
            (await _server.PostAsync("/users", $$"""{"user_name":"{{name}}"}""")).Status.ShouldBe(201);
        string[] wanted = [$"{mark}-Bob", $"{mark}-ann", $"x{mark}"];
        (await SearchAsync($"q={mark.ToUpperInvariant()}")).Order(StringComparer.Ordinal).ShouldBe(wanted);
        (await SearchAsync($"q={mark}&limit=1")).Order(StringComparer.Ordinal).ShouldBe(wanted);
        (await SearchAsync($"q={mark[..2]}")).ShouldNotContain($"x{mark}");
        (await SearchAsync("q=no-such-name-anywhere")).ShouldBeEmpty();
    }

    // Reads all pages. A page may be short or empty without being the last.
    private async Task<List<string>> SearchAsync(string query)
    {
        var found = new List<string>();
        for (string? cursor = ""; cursor is not null;)
        {
            var page = await _server.GetAsync($"/users?{query}{(cursor.Length == 0 ? "" : $"&cursor={cursor}")}");
            page.Status.ShouldBe(200, page.Text);
            page.Members.ShouldBe(["users", "next"]);
            foreach (var user in page.Json["users"]!.AsArray())
            {
                user!.AsObject().Select(static m => m.Key).ShouldBe(
                    ["user_id", "user_name", "display_name", "created_at", "updated_at", "is_online", "status", "last_seen"]);
                found.Add(user["user_name"]!.GetValue<string>());
            }

            cursor = page.Json["next"]?.GetValue<string>();
            if (cursor is not null)
                Uri.EscapeDataString(cursor).ShouldBe(cursor);
        }

        return found;
    }

    [Theory]
    [InlineData("/users?limit=0")]
    [InlineData("/users?limit=101")]
    [InlineData("/users?limit=-1")]
    [InlineData("/users?limit=1.5")]
    [InlineData("/users?limit=x")]
    [InlineData("/users?limit=")]
    [InlineData("/users?limit=1&limit=2")]
    [InlineData("/users?cursor=nonsense!")]
    [InlineData("/users?cursor=")]
    [InlineData("/online?limit=0")]
    [InlineData("/online?limit=10001")]
    [InlineData("/online?limit=x")]
    [InlineData("/online?cursor=nonsense")]
    [InlineData("/online?cursor=")]
    public async Task Bad_pages_are_refused(string path) => (await _server.GetAsync(path)).ShouldBeProblem(400);

    [Fact]
    public async Task A_search_has_an_end() => (await _server.GetAsync($"/users?q={new string('q', 300)}")).ShouldBeProblem(400);

    [Theory]
    [InlineData("online", "online")]
    [InlineData("away", "away")]
    [InlineData("busy", "busy")]
    [InlineData("offline", "offline")]
    [InlineData("auto", "online")]
    public async Task A_manual_status_is_what_others_see(string chosen, string seen)
    {
        var user = SharedServer.NewUsers();
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""");
        var answer = await _server.PutAsync($"/users/{user}/status", $$"""{"status":"{{chosen}}"}""");
        answer.Status.ShouldBe(200, answer.Text);
        answer.Members.ShouldBe(["user_id", "is_online", "status", "last_seen", "manual"]);
        answer.Json["user_id"]!.GetValue<uint>().ShouldBe(user);
        answer.Json["manual"]!.GetValue<string>().ShouldBe(chosen);
        answer.Json["status"]!.GetValue<string>().ShouldBe(seen);
        (await _server.StatusOfAsync($"{user}")).ShouldBe(seen);
        // another viewer is not told what was chosen, so not who hides
        (await _server.GetAsync($"/users/{user}?viewer=7")).Members.ShouldNotContain("manual");
        (await _server.GetAsync($"/users/{user}?viewer={user}")).Members.ShouldContain("manual");
        // another heartbeat of the user does not change the chosen status
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}},"active":true}""");
        (await _server.StatusOfAsync($"{user}")).ShouldBe(seen);
        (await _server.PostAsync("/offline", $$"""{"user_id":{{user}}}""")).Status.ShouldBe(200);
        (await _server.StatusOfAsync($"{user}")).ShouldBe("offline");
    }

    [Fact]
    public async Task A_hidden_user_reads_as_one_who_left()
    {
        var user = SharedServer.NewUsers();
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""");
        await _server.PutAsync($"/users/{user}/status", """{"status":"offline"}""");
        var hidden = (await _server.GetAsync($"/status/{user}")).Text;
        await Task.Delay(1100);
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""");
        (await _server.GetAsync($"/status/{user}")).Text.ShouldBe(hidden);
        (await _server.PostPackedAsync("/status/batch", user)).Words[0].ShouldBeLessThan(1u << 31);
        (await _server.PutAsync($"/users/{user}/status", """{"status":"auto"}""")).Json["status"]!.GetValue<string>().ShouldBe("online");
    }

    [Theory]
    [InlineData("{}", "missing")]
    [InlineData("""{"status":null}""", "missing")]
    [InlineData("""{"status":"gone"}""", "gone")]
    [InlineData("""{"status":"Online"}""", "Online")]
    [InlineData("""{"status":1}""", "not a string")]
    [InlineData("""{"status":"busy","status":"busy"}""", "twice")]
    [InlineData("[]", "not an object")]
    [InlineData("", "empty")]
    public async Task What_is_no_manual_status_is_refused(string body, string detail) =>
        (await _server.PutAsync("/users/5/status", body)).ShouldBeProblem(400, detail);

    [Fact]
    public async Task A_status_is_set_before_the_person_first_comes_and_makes_them_known()
    {
        foreach (var user in new[]
        {
            SharedServer.NewKey(), $"{SharedServer.NewUsers()}", $"{Random.Shared.NextInt64(1L << 31, long.MaxValue)}",
        })
        {
            (await _server.GetAsync($"/users/{user}")).ShouldBeProblem(404);
            var answer = await _server.PutAsync($"/users/{user}/status", """{"status":"busy"}""");
            answer.Status.ShouldBe(200, answer.Text);
            answer.Json["user_id"]!.ToString().ShouldBe(user);
            answer.Json["status"]!.GetValue<string>().ShouldBe("offline");
            var known = (await _server.GetAsync($"/users/{user}")).Json;
            known["manual"]!.GetValue<string>().ShouldBe("busy");
            known["user_name"].ShouldBeNull();
            known["created_at"].ShouldBeNull();
            await _server.PostAsync("/heartbeat", $$"""{"user_id":"{{user}}"}""");
            (await _server.StatusOfAsync(user)).ShouldBe("busy");
        }
    }

    [Theory]
    [InlineData("/users/3")]
    [InlineData("/users/4294967294")]
    [InlineData("/users/nobody-by-this-name")]
    public async Task Nobody_is_not_found(string path)
    {
        (await _server.GetAsync(path)).ShouldBeProblem(404);
        (await _server.DeleteAsync(path)).ShouldBeProblem(404);
    }

    [Fact]
    public async Task The_words_of_an_unregistered_user_can_be_deleted()
    {
        var user = SharedServer.NewUsers();
        await _server.PostAsync("/heartbeat", $$"""{"user_id":{{user}}}""");
        (await _server.DeleteAsync($"/users/{user}")).Status.ShouldBe(204);
        (await _server.GetAsync($"/status/{user}")).Json["last_seen"].ShouldBeNull();
    }

    [Fact]
    public async Task Subscriptions_are_saved_and_answered_by_name()
    {
        var me = SharedServer.NewUsers(3);
        var key = SharedServer.NewKey();
        var path = $"/users/{me}/subscriptions";
        (await _server.GetAsync(path)).ShouldBeJson("""{"user_ids":[]}""");
        await _server.PostAsync("/heartbeat", $$"""{"user_id":"{{key}}"}""");
        (await _server.PostAsync(path, $$"""{"user_ids":[{{me + 2}},"{{key}}","{{me + 1}}",{{me + 1}}]}""")).ShouldBeJson(
            $$"""{"user_ids":[{{me + 1}},{{me + 2}},"{{key}}"]}""");
        (await _server.GetAsync(path)).ShouldBeJson($$"""{"user_ids":[{{me + 1}},{{me + 2}},"{{key}}"]}""");
        (await _server.DeleteAsync(path, $$"""{"user_ids":[{{me + 2}},77]}""")).ShouldBeJson($$"""{"user_ids":[{{me + 1}},"{{key}}"]}""");
        // a subscription keeps the ID after the user is deleted
        await _server.DeleteAsync($"/users/{key}");
        (await _server.GetAsync(path)).ShouldBeJson($$"""{"user_ids":[{{me + 1}},"{{key}}"]}""");
    }

    [Fact]
    public async Task A_user_who_never_came_can_be_followed()
    {
        var me = SharedServer.NewUsers();
        var key = SharedServer.NewKey();
        var path = $"/users/{me}/subscriptions";
        // removing a user who is not followed succeeds, and registers no user
        (await _server.DeleteAsync(path, $$"""{"user_ids":["{{key}}"]}""")).ShouldBeJson("""{"user_ids":[]}""");
        (await _server.PostAsync(path, $$"""{"user_ids":["{{key}}",4294967294]}""")).ShouldBeJson(
            $$"""{"user_ids":["{{key}}","4294967294"]}""");
        (await _server.GetAsync($"/users/{key}")).ShouldBeProblem(404);
        (await _server.GetAsync($"/users/{key}/subscriptions")).ShouldBeJson("""{"user_ids":[]}""");
        (await _server.PostAsync($"/users/{key}/subscriptions", """{"user_ids":[1]}""")).ShouldBeJson("""{"user_ids":[1]}""");
        (await _server.GetAsync(path)).ShouldBeJson($$"""{"user_ids":["{{key}}","4294967294"]}""");
    }

    [Fact]
    public async Task A_user_follows_at_most_10000()
    {
        var path = $"/users/{SharedServer.NewUsers()}/subscriptions";
        string List(int from, int count) => JsonSerializer.Serialize(new { user_ids = Enumerable.Range(from, count) });
        (await _server.PostAsync(path, List(0, 10_001))).ShouldBeProblem(413, "10000");
        (await _server.PostAsync(path, List(0, 10_000))).Json["user_ids"]!.AsArray().Count.ShouldBe(10_000);
        (await _server.PostAsync(path, List(9_999, 2))).ShouldBeProblem(413, "10000");
        (await _server.GetAsync(path)).Json["user_ids"]!.AsArray().Count.ShouldBe(10_000);
        (await _server.DeleteAsync(path, List(0, 10_000))).ShouldBeJson("""{"user_ids":[]}""");
    }

    [Theory]
    [InlineData("{}", "user_ids")]
    [InlineData("[1]", "user_ids")]
    [InlineData("""{"user_id":1}""", "user_ids")]
    [InlineData("""{"user_ids":[-1]}""", "-1 is not a user")]
    [InlineData("", "user_ids")]
    public async Task What_is_no_list_is_refused(string body, string detail)
    {
        (await _server.PostAsync("/users/5/subscriptions", body)).ShouldBeProblem(400, detail);
        (await _server.DeleteAsync("/users/5/subscriptions", body)).ShouldBeProblem(400, detail);
    }
}
