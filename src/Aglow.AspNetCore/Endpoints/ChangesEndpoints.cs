using System.Text.Json;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Sockets;
using Aglow.Changes;
using Aglow.Storage;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>The feed of changes, for backends: <c>GET /changes</c> as pages, as a long poll and as an event stream.</summary>
internal sealed class ChangesEndpoints(PresenceHost host, Callers callers, Gate gate)
{
    /// <summary>How many changes a page has if the request gives no limit.</summary>
    private const int PageDefault = 1000;

    private const int MaxWaitSeconds = 60;
    private static readonly TimeSpan CommentInterval = TimeSpan.FromSeconds(15);
    private static readonly TimeSpan RetryInterval = TimeSpan.FromSeconds(1);

    public void Map(IEndpointRouteBuilder routes) => routes.MapCalls(
        gate,
        new Call(HttpMethods.Get, Routes.Changes, "changes",
            "What changed, in order for each user; as an event stream where that is accepted", ReadAsync)
        {
            Access = CallAccess.Backends(Scopes.Read),
            Query =
            [
                new(
                    Routes.AfterQuery,
                    "The \"next\" of the page before, or a change's \"id\"; \"latest\": from now on; without it, from the oldest."),
                new(Routes.LimitQuery, "1 to 10,000; 1,000 where it is not given. A page may hold fewer.", IsNumber: true),
                new(Routes.DefinitionQuery, "What online means: \"chat\", whose changes are the ones recorded."),
                new(Routes.WaitQuery, "Seconds to wait for a change where there is none, 0 to 60; 0 where it is not given.",
                    IsNumber: true),
            ],
            Answers = [new(Routes.Json, typeof(ChangesDocument)), new(Routes.EventStream)],
            Problems = [501],
        });

    private Task ReadAsync(HttpContext context)
    {
        var feed = host.Presence.Changes ?? throw host.NoFeed();
        RequireRecorded(RequestParameters.Definition(context, host.Presence.Definitions).Name);
        var isStream = context.Request.Headers.Accept.Any(
            static accept => accept?.Contains(Routes.EventStream, StringComparison.OrdinalIgnoreCase) == true);
        return isStream ? StreamAsync(context, feed) : PageAsync(context, feed);
    }

    /// <summary>Refuses a definition whose changes are not recorded.</summary>
    public static void RequireRecorded(string definition)
    {
        if (definition != Definition.DefaultName)
            throw Problems.Malformed(
                $"Changes under \"{Problems.Shorten(definition)}\" are not recorded: ask for \"{Definition.DefaultName}\", or for none.");
    }

    private async Task PageAsync(HttpContext context, IChangeFeed feed)
    {
        var limit = RequestParameters.Limit(context, Limits.ListedUsers, PageDefault);
        var after = RequestParameters.Text(context, Routes.AfterQuery);
        var wait = TimeSpan.FromSeconds(RequestParameters.Integer(context, Routes.WaitQuery, 0, MaxWaitSeconds, otherwise: 0));
        var page = await FirstAsync(context, feed, after, limit);
        if (wait > TimeSpan.Zero && page is { Changes.Count: 0, IsGap: false })
        {
            await WaitAsync(context, feed, page.Next, wait);
            page = await feed.ReadAsync(page.Next, limit, context.RequestAborted);
            await callers.RequireStillAsync(context);
        }

        gate.Charge(context, Cost.Users(page.Changes.Count));
        await Answers.JsonAsync(context, ChangesDocument.Of(page), Documents.Sent.ChangesDocument);
    }

    // A slow client slows down only this loop.
    private async Task StreamAsync(HttpContext context, IChangeFeed feed)
    {
        foreach (var ofPages in new[] { Routes.LimitQuery, Routes.WaitQuery })
        {
            if (RequestParameters.Text(context, ofPages) is not null)
                throw Problems.Malformed(
                    $"{ofPages} is for pages, and Accept: {Routes.EventStream} asks for a stream: send one of them. A stream sends all "
                        + "changes as they come.");
        }

        var after = context.Request.Headers["Last-Event-ID"] is [{ Length: > 0 } last, ..]
            ? last
            : RequestParameters.Text(context, Routes.AfterQuery);
        var page = await FirstAsync(context, feed, after, PageDefault);
        if (!await EventStream.BeginAsync(context))
            return;
        var (caller, session) = (Callers.Current(context), callers.SessionOf(context));
        var left = () => session?.Left() ?? TimeSpan.MaxValue;
        var mayRead = () => left() != TimeSpan.Zero && caller?.Left(host.Sockets.Tokens!.Now) != TimeSpan.Zero;
        var output = context.Response.BodyWriter;
        while (!context.RequestAborted.IsCancellationRequested && !host.Lifetime.ApplicationStopping.IsCancellationRequested && mayRead())
        {
            if (page.IsGap)
                output.Put("event: gap\ndata: {\"gap\":true}\n\n"u8);
            foreach (var change in page.Changes)
            {
                output.Put("id: "u8);
                output.Put(System.Text.Encoding.ASCII.GetBytes(change.Id));
                output.Put("\nevent: change\ndata: "u8);
                output.Put(JsonSerializer.SerializeToUtf8Bytes(ChangeDocument.Of(change), Documents.Sent.ChangeDocument));
                output.Put("\n\n"u8);
            }

            if (page is { Changes.Count: 0, IsGap: false })
                output.Put(":\n\n"u8);
            if ((await output.FlushAsync(context.RequestAborted)).IsCompleted)
                return;
            if (page.Changes.Count == 0)
                await WaitAsync(context, feed, page.Next, left() is var soon && soon < CommentInterval ? soon : CommentInterval);
            page = await NextAsync(context, feed, page.Next);
        }

        // when the server stops, jitter spreads the reconnects of its clients
        output.Put(System.Text.Encoding.ASCII.GetBytes($"retry: {Random.Shared.Next(1_000, 10_000)}\n\n"));
        await output.FlushAsync(context.RequestAborted);
    }

    private static async ValueTask<ChangePage> FirstAsync(HttpContext context, IChangeFeed feed, string? after, int limit)
    {
        try
        {
            return await feed.ReadAsync(after, limit, context.RequestAborted);
        }
        catch (FormatException)
        {
            throw Problems.Malformed(
                "The cursor is not one of this feed. Send the \"next\" of the page before, the \"id\" of a change, \"latest\", or none.");
        }
    }

    // While the store is away, the stream stays open and has no changes.
    private async ValueTask<ChangePage> NextAsync(HttpContext context, IChangeFeed feed, string after)
    {
        try
        {
            return await feed.ReadAsync(after, PageDefault, context.RequestAborted);
        }
        catch (StoreUnavailableException)
        {
            await Task.Delay(RetryInterval, host.Presence.Clock.Time, context.RequestAborted);
            return new ChangePage([], after, IsGap: false);
        }
    }

    // Ends early if the client disconnects, the server stops, or the caller's key is revoked.
    private async Task WaitAsync(HttpContext context, IChangeFeed feed, string after, TimeSpan most)
    {
        using var timeout = new CancellationTokenSource(most, host.Presence.Clock.Time);
        using var end = CancellationTokenSource.CreateLinkedTokenSource(
            [timeout.Token, context.RequestAborted, host.Lifetime.ApplicationStopping, Callers.Current(context)?.Revoked ?? default]);
        try
        {
            await feed.WaitAsync(after, end.Token);
        }
        catch (OperationCanceledException)
        {
            // the code that waits reads the feed again, and checks whether to go on
        }
    }
}
