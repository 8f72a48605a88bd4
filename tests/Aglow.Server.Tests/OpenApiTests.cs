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

    private static IEnumerable<string> References(JsonElement element) => element.ValueKind switch
    {
        JsonValueKind.Object =>
            element.EnumerateObject().SelectMany(static p => p.Name == "$ref" ? [p.Value.GetString()!] : References(p.Value)),
        JsonValueKind.Array => element.EnumerateArray().SelectMany(References),
        _ => [],
    };
}
