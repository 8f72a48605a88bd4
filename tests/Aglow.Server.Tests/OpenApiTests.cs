using System.Net.Http.Json;

namespace Aglow.Server.Tests;

public class OpenApiTests
{
    [Fact]
    public async Task Every_call_is_described_with_its_answers_and_every_shape_it_names_is_there()
    {
        await using var server = await AglowProcess.StartAsync();
        var document = await server.Http.GetFromJsonAsync<JsonElement>("/openapi/v1.json");
        document.GetProperty("openapi").GetString().ShouldStartWith("3.1");
        var calls = document.GetProperty("paths").EnumerateObject()
            .SelectMany(static path => path.Value.EnumerateObject().Select(call => $"{call.Name} {path.Name}"))
            .Order(StringComparer.Ordinal);
        calls.ShouldBe(
        [
            "delete /users", "delete /users/{user}", "delete /users/{user}/approved", "delete /users/{user}/blocked",
            "delete /users/{user}/quiet-hours",
            "delete /users/{user}/status", "delete /users/{user}/subscriptions", "delete /webhooks/{webhook}", "get /changes",
            "get /docs", "get /health/live", "get /health/ready", "get /metrics", "get /online", "get /online/count", "get /status",
            "get /status/users", "get /status/{user}", "get /status/{user}/explain", "get /users", "get /users/{user}",
            "get /users/{user}/approved", "get /users/{user}/blocked", "get /users/{user}/quiet-hours", "get /users/{user}/status",
            "get /users/{user}/subscriptions", "get /users/{user}/visibility", "get /users/{user}/waiting", "get /watch",
            "get /webhooks", "get /webhooks/{webhook}", "get /webhooks/{webhook}/log", "get /ws", "patch /users", "patch /users/{user}",
            "post /heartbeat", "post /offline", "post /reach", "post /status/batch", "post /status/update", "post /users",
            "post /users/batch", "post /users/{user}/approved", "post /users/{user}/blocked", "post /users/{user}/revoke",
            "post /users/{user}/subscriptions", "post /webhooks", "post /webhooks/{webhook}/pause", "post /webhooks/{webhook}/resume",
            "post /webhooks/{webhook}/rotate", "post /webhooks/{webhook}/test", "put /users", "put /users/{user}",
            "put /users/{user}/access",
            "put /users/{user}/quiet-hours", "put /users/{user}/status", "put /users/{user}/visibility",
        ]);
        // which calls a generated client sends its token with
        var schemes = document.GetProperty("components").GetProperty("securitySchemes");
        schemes.GetProperty("token").GetProperty("scheme").GetString().ShouldBe("bearer");
        document.GetProperty("paths").EnumerateObject()
            .Where(static path => !path.Value.EnumerateObject().All(static call => call.Value.TryGetProperty("security", out _)))
            .Select(static path => path.Name).ShouldBe(["/health/live", "/health/ready", "/docs"], ignoreOrder: true);
        var schemas = document.GetProperty("components").GetProperty("schemas");
        foreach (var reference in References(document.GetProperty("paths")))
            schemas.TryGetProperty(reference["#/components/schemas/".Length..], out _).ShouldBeTrue(reference);
        schemas.GetProperty("StatusUpdateBody").GetProperty("required").GetArrayLength().ShouldBe(2);
        schemas.GetProperty("HeartbeatBody").GetProperty("required").GetArrayLength().ShouldBe(0);
        schemas.GetProperty("NewUserBody").GetProperty("required").EnumerateArray().Select(static name => name.GetString())
            .ShouldBe(["user_name"]);
        schemas.GetProperty("NamesBody").GetProperty("required").GetArrayLength().ShouldBe(0);
        schemas.GetProperty("StatusBody").GetProperty("required").EnumerateArray().Select(static name => name.GetString())
            .ShouldBe(["status"]);
        schemas.GetProperty("AccessBody").GetProperty("required").GetArrayLength().ShouldBe(1);
    }

    [Fact]
    public async Task Every_answer_is_declared_and_has_the_members_that_its_shape_requires()
    {
        await using var server = await AglowProcess.StartAsync();
        await server.PostAsync("/heartbeat", "{\"user_ids\":[1,2]}");
        (await server.PutAsync("/users/1", "{\"user_name\":\"ann\"}")).Status.ShouldBe(201);
        var hook = (await server.PostAsync("/webhooks", "{\"url\":\"https://hooks.example/\"}")).Json["id"]!.GetValue<string>();
        var document = (await server.GetAsync("/openapi/v1.json")).Json;
        var wrong = new List<string>();
        foreach (var (path, methods) in document["paths"]!.AsObject())
        {
            foreach (var (method, call) in methods!.AsObject())
            {
                // these do not end, and a test of a webhook leaves the machine
                if (path is "/ws" or "/watch" or "/webhooks/{webhook}/test")
                    continue;
                var target = path.Replace("{user}", "1", StringComparison.Ordinal).Replace("{webhook}", hook, StringComparison.Ordinal);
                foreach (var query in Queries(path, call!))
                {
                    await SendAsync(method, call!, target + query, null, null);
                    if (method == "get")
                        continue;
                    foreach (var type in new[] { "text/plain", "application/json", "application/octet-stream" })
                    {
                        foreach (var body in new[]
                        {
                            "", "{", "{}", "{\"user_ids\":[2]}", "{\"user_id\":2}", "{\"status\":\"busy\"}", "1234",
                        })
                            await SendAsync(method, call!, target + query, body, type);
                    }
                }
            }
        }

        wrong.ShouldBeEmpty();

        // what it requires, each way to name one user, and a query that is too long
        IEnumerable<string> Queries(string path, JsonNode call)
        {
            var needed = call["parameters"]?.AsArray().Where(static p => p!["in"]!.GetValue<string>() == "query") ?? [];
            var required = needed.Where(static p => p!["required"]!.GetValue<bool>()).Select(static p => $"{p!["name"]}=1");
            yield return $"?{string.Join('&', required)}".TrimEnd('?');
            yield return $"?x={new string('x', 100_000)}";
            if (path == "/users")
            {
                yield return "?user=1";
                yield return "?user=nobody";
            }
        }

        async Task SendAsync(string method, JsonNode call, string target, string? body, string? type)
        {
            // deleting is for the end, if at all
            if (method == "delete" && (target.StartsWith("/users/1?", StringComparison.Ordinal) || target is "/users/1" or "/users?user=1"
                || target == $"/webhooks/{hook}"))
                return;
            var answer = await server.SendAsync(
                HttpMethod.Parse(method), target, body is null ? null : Encoding.UTF8.GetBytes(body), type);
            var what = $"{method} {(target.Length > 80 ? target[..80] : target)} {type} {body}: {answer.Status}";
            if (call["responses"]![$"{answer.Status}"] is not { } declared)
            {
                wrong.Add($"{what} is not declared");
                return;
            }

            if (answer.ContentType?.Split(';')[0] is not ("application/json" or "application/problem+json"))
                return;
            var schema = declared["content"]![answer.ContentType]?["schema"];
            JsonNode?[] shapes = schema?["oneOf"] is JsonArray several ? [.. several] : [schema];
            if (answer.Json is JsonObject given && !shapes.Any(shape => Fits(shape, given)))
                wrong.Add($"{what} lacks a required member: {answer.Text}");
        }

        bool Fits(JsonNode? shape, JsonObject given)
        {
            if (shape?["$ref"]?.GetValue<string>() is not { } name)
                return false;
            var schema = document["components"]!["schemas"]![name["#/components/schemas/".Length..]]!;
            var required = schema["required"]?.AsArray().Select(static one => one!.GetValue<string>()) ?? [];
            // a shape that lists its members has no others
            return required.All(given.ContainsKey)
                && (schema["properties"] is not JsonObject properties || given.All(one => properties.ContainsKey(one.Key)));
        }
    }

    private static IEnumerable<string> References(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object =>
            element.EnumerateObject().SelectMany(static p => p.Name == "$ref" ? [p.Value.GetString()!] : References(p.Value)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(References),
        _ => [],
    };
}
