// A receiver of webhooks: a message for somebody who is offline becomes a push.
//   WEBHOOK_SECRET=whsec_… dotnet run --project samples/webhooks/dotnet --urls http://127.0.0.1:3000
//   ./aglow webhooks add --url http://127.0.0.1:3000/presence --events online,offline      prints the secret
//   curl -d 'Lunch?' http://127.0.0.1:3000/messages/bob
using System.Collections.Concurrent;
using System.Net.Mime;
using CloudNative.CloudEvents.SystemTextJson;
using StandardWebhooks;
using StandardWebhooks.Diagnostics;

var builder = WebApplication.CreateBuilder(args);
builder.WebHost.ConfigureKestrel(static kestrel => kestrel.Limits.MaxRequestBodySize = 1 << 20);
var app = builder.Build();
var webhook = new StandardWebhook(app.Configuration["WEBHOOK_SECRET"]!);
// keep both in your database: they are lost with this process
var online = new ConcurrentDictionary<string, byte>(StringComparer.Ordinal);
var handled = new ConcurrentDictionary<string, byte>(StringComparer.Ordinal);

app.MapPost("/presence", async (HttpRequest request) =>
{
    using var reader = new StreamReader(request.Body);
    var body = await reader.ReadToEndAsync();
    try
    {
        webhook.Verify(body, request.Headers);
    }
    catch (WebhookVerificationException wrong)
    {
        return Results.BadRequest(wrong.Message);
    }

    var batch = new JsonEventFormatter().DecodeBatchModeMessage(
        System.Text.Encoding.UTF8.GetBytes(body), new ContentType(request.ContentType!), null);
    // events may come twice
    foreach (var change in batch.Where(change => handled.TryAdd(change.Id!, 0)))
    {
        // the events of one user come in order, so the newest is the user's state
        if (change.Type == "aglow.presence.online")
            online[change.Subject!] = 0;
        else if (change.Type == "aglow.presence.offline")
            online.TryRemove(change.Subject!, out _);
        else if (change.Type == "aglow.presence.gap")
            Console.WriteLine("changes were lost: read GET /online again");
        if (change.Subject is not null)
            Console.WriteLine($"{change.Subject} is {((System.Text.Json.JsonElement)change.Data!).GetProperty("status")}");
    }

    return Results.NoContent();
});

app.MapPost("/messages/{user}", async (string user, HttpRequest request) =>
{
    using var reader = new StreamReader(request.Body);
    var text = await reader.ReadToEndAsync();
    if (!online.ContainsKey(user))
        await PushAsync(user, text);
    return Results.NoContent();
});

app.Run();

// Replace this by your push service.
static Task PushAsync(string user, string text)
{
    Console.WriteLine($"push to {user}: {text}");
    return Task.CompletedTask;
}
