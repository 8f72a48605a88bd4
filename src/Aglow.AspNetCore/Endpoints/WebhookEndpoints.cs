using System.Text.Json;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;
using Aglow.Changes.Webhooks;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>Webhooks, for operators: <c>/webhooks</c> and the paths under it.</summary>
internal sealed class WebhookEndpoints(PresenceHost host, Gate gate)
{
    private const string AddExample =
        "{\"url\": \"https://…\", \"events\": [\"online\", \"offline\", \"status\"], \"users_prefix\": \"…\"}";
    private const string RotateExample = "{\"overlap_hours\": 24}, or nothing";
    private const int OverlapHoursDefault = 24;
    private const int OverlapHoursMost = 24 * 30;

    private static readonly string[] AddMembers = [JsonNames.Url, JsonNames.UsersPrefix, JsonNames.Events, Routes.DefinitionQuery];
    private static readonly string[] RotateMembers = [JsonNames.OverlapHours];

    public void Map(IEndpointRouteBuilder routes) => routes.MapCalls(
        gate,
        Of(HttpMethods.Get, Routes.Webhooks, "webhooks", "All webhooks", ListAsync, typeof(WebhooksDocument)),
        Of(
            HttpMethods.Post, Routes.Webhooks, "add webhook", "A webhook for what changes from now on; the answer has its secret, once",
            AddAsync) with
        {
            Bodies = [new(Routes.Json, typeof(WebhookBody))],
            Answers = [new(Routes.Json, typeof(WebhookSecretDocument), StatusCodes.Status201Created)],
            Problems = [409, 422, 501],
        },
        Of(HttpMethods.Get, Routes.Webhook, "webhook", "One webhook", ReadAsync, typeof(WebhookDocument)),
        Of(HttpMethods.Delete, Routes.Webhook, "remove webhook", "Removes a webhook", RemoveAsync),
        Of(HttpMethods.Post, Routes.WebhookTest, "test webhook", "Sends a test, once", TestAsync, typeof(DeliveryDocument)),
        Of(
            HttpMethods.Post, Routes.WebhookPause, "pause webhook", "Sends nothing until it is resumed",
            context => PauseAsync(context, isPaused: true), typeof(WebhookDocument)),
        Of(
            HttpMethods.Post, Routes.WebhookResume, "resume webhook",
            "Goes on where it stopped, and tries at once what waits to be tried again",
            context => PauseAsync(context, isPaused: false), typeof(WebhookDocument)),
        Of(
            HttpMethods.Post, Routes.WebhookRotate, "rotate webhook", "A new secret, once; the one before signs as well for a while",
            RotateAsync, typeof(WebhookSecretDocument)) with
        {
            Bodies = [new(Routes.Json, typeof(RotateBody))],
            BodyIsOptional = true,
        },
        Of(
            HttpMethods.Get, Routes.WebhookLog, "webhook log", "The newest 100 requests, the newest last", LogAsync,
            typeof(DeliveriesDocument)));

    private static Call Of(string method, string path, string name, string summary, RequestDelegate handle, Type? answer = null) =>
        new(method, path, name, summary, handle)
        {
            Access = CallAccess.Backends(Scopes.Operate),
            Answers = [Content.Of(answer)],
            Problems = [404, 501],
        };

    private async Task ListAsync(HttpContext context) => await Answers.JsonAsync(
        context, new WebhooksDocument([.. (await Webhooks().ListAsync()).Select(WebhookDocument.Of)]), Documents.Sent.WebhooksDocument);

    private async Task AddAsync(HttpContext context)
    {
        var webhooks = Webhooks();
        var (url, events, prefix) = await RequestBodies.ReadAsync(context, AddExample, ReadNew);
        if (webhooks.RefusalOf(url) is { } refusal)
            throw NotATarget($"{refusal}.");
        var (webhook, secret) = await webhooks.AddAsync(url, events, prefix) ?? throw TooMany();
        await Answers.JsonAsync(
            context, WebhookSecretDocument.Of(webhook, secret), Documents.Sent.WebhookSecretDocument, StatusCodes.Status201Created);
    }

    private async Task ReadAsync(HttpContext context) => await SendAsync(context, await Webhooks().FindAsync(Id(context)));

    private async Task RemoveAsync(HttpContext context)
    {
        if (!await Webhooks().RemoveAsync(Id(context)))
            throw NoSuchWebhook();
        context.Response.StatusCode = StatusCodes.Status204NoContent;
    }

    private async Task TestAsync(HttpContext context)
    {
        var delivery = await Webhooks().TestAsync(Id(context), context.RequestAborted) ?? throw NoSuchWebhook();
        await Answers.JsonAsync(context, DeliveryDocument.Of(delivery), Documents.Sent.DeliveryDocument);
    }

    private async Task PauseAsync(HttpContext context, bool isPaused) =>
        await SendAsync(context, await Webhooks().PauseAsync(Id(context), isPaused));

    private async Task RotateAsync(HttpContext context)
    {
        var webhooks = Webhooks();
        var hours = RequestBodies.Kind(context, packed: false) == BodyKind.Empty
            ? OverlapHoursDefault
            : await RequestBodies.ReadAsync(context, RotateExample, ReadOverlap);
        var secret = await webhooks.RotateAsync(Id(context), TimeSpan.FromHours(hours));
        if (secret is null || await webhooks.FindAsync(Id(context)) is not { } webhook)
            throw NoSuchWebhook();
        await Answers.JsonAsync(context, WebhookSecretDocument.Of(webhook, secret), Documents.Sent.WebhookSecretDocument);
    }

    private async Task LogAsync(HttpContext context)
    {
        var log = await Webhooks().LogOfAsync(Id(context)) ?? throw NoSuchWebhook();
        await Answers.JsonAsync(context, new DeliveriesDocument([.. log.Select(DeliveryDocument.Of)]), Documents.Sent.DeliveriesDocument);
    }

    private static Task SendAsync(HttpContext context, Webhook? webhook) =>
        Answers.JsonAsync(context, WebhookDocument.Of(webhook ?? throw NoSuchWebhook()), Documents.Sent.WebhookDocument);

    private WebhookDeliveries Webhooks() => host.Webhooks ?? throw host.NoFeed();

    private static string Id(HttpContext context) => (string)context.Request.RouteValues[Routes.WebhookParameter]!;

    private static ProblemException NotATarget(string detail) =>
        new(StatusCodes.Status422UnprocessableEntity, "Not a target", detail);

    private static ProblemException TooMany() => new(
        StatusCodes.Status409Conflict, "Too many webhooks", $"There are {WebhookDeliveries.Most} webhooks already: remove one.");

    private static ProblemException NoSuchWebhook() =>
        new(StatusCodes.Status404NotFound, "No such webhook", "There is no webhook of this id. GET /webhooks lists them.");

    private static (string Url, WebhookEvents Events, string? Prefix) ReadNew(ReadOnlySpan<byte> json) =>
        MemberReader.ReadObject(json, AddExample, static (ref Utf8JsonReader reader) =>
        {
            (string? url, string? prefix, var events) = (null, null, WebhookEvents.All);
            var given = 0;
            while (MemberReader.Next(ref reader, AddMembers, AddExample, ref given) is { } member)
            {
                switch (member)
                {
                    case JsonNames.Url:
                        url = MemberReader.Text(ref reader, member, AddExample);
                        break;
                    case JsonNames.UsersPrefix:
                        prefix = MemberReader.TextOrNull(ref reader, member, AddExample);
                        break;
                    case JsonNames.Events:
                        events = ReadEvents(ref reader);
                        break;
                    default:
                        ChangesEndpoints.RequireRecorded(MemberReader.Text(ref reader, member, AddExample));
                        break;
                }
            }

            if (url is null)
                throw Problems.Malformed($"url is missing. Send {AddExample}.");
            // a parser of URLs removes or encodes them, so that requests would go to another URL than the one that is shown
            if (url.Any(static c => char.IsControl(c) || char.IsWhiteSpace(c)))
                throw NotATarget("url has spaces or control characters: leave them out, or percent-encode them.");
            return (url, events, prefix);
        });

    private static WebhookEvents ReadEvents(ref Utf8JsonReader reader)
    {
        var events = WebhookEvents.None;
        if (reader.TokenType != JsonTokenType.StartArray)
            throw None();
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            events |= reader.TokenType != JsonTokenType.String ? throw None() : MemberReader.Text(ref reader, JsonNames.Events) switch
            {
                "online" => WebhookEvents.Online,
                "offline" => WebhookEvents.Offline,
                "status" => WebhookEvents.Status,
                _ => throw None(),
            };
        }

        return events == WebhookEvents.None ? throw None() : events;

        static ProblemException None() => Problems.Malformed("events is not a list of some of \"online\", \"offline\", \"status\".");
    }

    private static int ReadOverlap(ReadOnlySpan<byte> json) =>
        MemberReader.ReadObject(json, RotateExample, static (ref Utf8JsonReader reader) =>
        {
            var (hours, given) = (OverlapHoursDefault, 0);
            while (MemberReader.Next(ref reader, RotateMembers, RotateExample, ref given) is not null)
            {
                if (reader.TokenType != JsonTokenType.Number || !reader.TryGetInt32(out hours) || hours is < 0 or > OverlapHoursMost)
                    throw Problems.Malformed($"overlap_hours is not an integer from 0 to {OverlapHoursMost}.");
            }

            return hours;
        });
}
