namespace Aglow.Server.Tests;

/// <summary>Answers to a push-notification service: <c>POST /reach</c>.</summary>
[Collection(TokenCalls.Name)]
public class ReachTests(TokenServer shared)
{
    private readonly AglowProcess _server = shared.Server;

    private Task<Answer> CallAsync(string json) => _server.CallAsync(shared.Keys["read"], "POST", "/reach", json);

    private Task<Answer> SetAsync(string path, string json) => _server.CallAsync(shared.Keys["users"], "PUT", path, json);

    private async Task<string> OfAsync(uint user)
    {
        var answer = await CallAsync($"{{\"user_ids\":[{user}]}}");
        answer.Members.ShouldBe(["users"]);
        var of = answer.Json["users"]![0]!.AsObject();
        of.Select(static m => m.Key).ShouldBe(["user_id", "connected", "devices", "active", "may_be_disturbed", "last_seen"]);
        return string.Join(
            ' ',
            new[] { "connected", "active", "may_be_disturbed" }.Where(word => of[word]!.GetValue<bool>()).Append(
                of["last_seen"] is null ? "never" : "seen"));
    }

    [Fact]
    public async Task Whether_somebody_is_connected_active_and_may_be_disturbed()
    {
        var user = SharedServer.NewUsers();
        (await OfAsync(user)).ShouldBe("may_be_disturbed never");
        await _server.CallAsync(Token.Of($"{user}"), "POST", "/heartbeat");
        (await OfAsync(user)).ShouldBe("connected may_be_disturbed seen");
        await _server.CallAsync(Token.Of($"{user}"), "POST", "/heartbeat", $"{{\"user_id\":{user},\"active\":true}}");
        (await OfAsync(user)).ShouldBe("connected active may_be_disturbed seen");
        await SetAsync($"/users/{user}/status", """{"status":"busy","source":"call","for_seconds":1000}""");
        (await OfAsync(user)).ShouldBe("connected active seen");
        await SetAsync($"/users/{user}/status", """{"status":"offline"}""");
        (await OfAsync(user)).ShouldBe("seen");
        await SetAsync($"/users/{user}/status", """{"status":"auto"}""");
        await SetAsync($"/users/{user}/status", """{"status":"auto","source":"call"}""");

        // Quiet hours, also of a user who hides or is shown to nobody. Such a user is then not connected, as in a batch.
        var now = DateTimeOffset.UtcNow;
        await SetAsync(
            $"/users/{user}/quiet-hours", $$"""{"from":"{{now.AddHours(-1):HH:mm}}","to":"{{now.AddHours(1):HH:mm}}","time_zone":"UTC"}""");
        await SetAsync($"/users/{user}/status", """{"status":"online"}""");
        (await OfAsync(user)).ShouldBe("connected active seen");
        await SetAsync($"/users/{user}/status", """{"status":"offline"}""");
        (await OfAsync(user)).ShouldBe("seen");
        await SetAsync($"/users/{user}/status", """{"status":"auto"}""");
        await SetAsync($"/users/{user}/visibility", """{"online":"nobody"}""");
        (await OfAsync(user)).ShouldBe("never");
        await _server.CallAsync(shared.Keys["users"], "DELETE", $"/users/{user}/quiet-hours");
        (await OfAsync(user)).ShouldBe("may_be_disturbed never");
    }

    [Fact]
    public async Task Ids_are_answered_in_their_order_and_form_and_ten_thousand_at_most()
    {
        var answer = await CallAsync("""{"user_ids":[7,"8","a \"b\" ü",9223372036854775807,7]}""");
        answer.Json["users"]!.AsArray().Select(
            static user =>
                user!["user_id"]!.ToJsonString(new() { Encoder = System.Text.Encodings.Web.JavaScriptEncoder.UnsafeRelaxedJsonEscaping }))
            .ShouldBe(["7", "\"8\"", "\"a \\\"b\\\" ü\"", "9223372036854775807", "7"]);
        (await CallAsync($"{{\"user_ids\":[{string.Join(',', Enumerable.Range(0, 10_000))}]}}"))
            .Json["users"]!.AsArray().Count.ShouldBe(10_000);
        (await CallAsync($"{{\"user_ids\":[{string.Join(',', Enumerable.Range(0, 10_001))}]}}")).ShouldBeProblem(413);
        (await CallAsync("")).ShouldBeProblem(400, "empty");
        (await CallAsync("""{"user_ids":[1],"devices":true}""")).ShouldBeProblem(400, "devices");
        (await _server.CallAsync(Token.Of("somebody"), "POST", "/reach", """{"user_ids":["somebody"]}""")).ShouldBeProblem(403, "backends");
    }
}
