using System.Collections.Concurrent;
using System.Security.Claims;
using System.Text.Encodings.Web;
using Aglow.Changes;
using Aglow.Client.Tests;
using Aglow.Model;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Aglow.Hubs.Tests;

/// <summary>Somebody's own app with hubs, and what tests ask of it over and over.</summary>
internal static class HubApp
{
    public const int Lease = 8;
    public static readonly TimeSpan Patience = Aglow.Client.Tests.Watching.Patience;

    public static ValueTask<Presence> StatusAsync(this OwnApp app, string user) => app.Presence.StatusAsync(UserId.Parse(user));

    public static Task<OwnApp> StartAsync(
        Action<AglowOptions>? options = null, Action<ISignalRServerBuilder>? hubs = null, Action<WebApplicationBuilder>? build = null) =>
        OwnApp.StartAsync(
            (builder, folder) =>
            {
                builder.Services.AddAglow(o =>
                {
                    (o.DataDirectory, o.HeartbeatSeconds, o.LeaseSeconds) = (folder, 1, Lease);
                    options?.Invoke(o);
                });
                (build ?? SignedIn.Add)(builder);
                var signalR = builder.Services.AddSignalR(static o => o.ClientTimeoutInterval = TimeSpan.FromSeconds(Lease));
                signalR.AddAglowPresence();
                hubs?.Invoke(signalR);
            },
            static app =>
            {
                app.MapHub<Room>("/room");
                app.MapHub<Other>("/other");
                app.MapHub<Failing>("/failing");
            });

    public static async Task<HubConnection> ConnectAsync(
        this OwnApp app,
        string? user,
        string hub = "/room",
        HttpTransportType transport = HttpTransportType.WebSockets,
        TimeSpan? pingsEvery = null)
    {
        var connection = Client(app, user, hub, transport);
        connection.KeepAliveInterval = pingsEvery ?? TimeSpan.FromSeconds(1);
        await connection.StartAsync();
        // StartAsync may return before the hub runs OnConnectedAsync; a call completes after that
        if (pingsEvery is null)
            await connection.InvokeAsync<string>("Say", "hello");
        else
            await Eventually.TrueAsync(async () => (await app.StatusAsync(user!)).IsOnline, "they come online");
        return connection;
    }

    private static HubConnection Client(OwnApp app, string? user, string hub, HttpTransportType transport) =>
        new HubConnectionBuilder().WithUrl(new Uri(app.Address, hub), transport, o =>
        {
            if (user is not null)
                o.Headers[SignedIn.User] = user;
        }).Build();

    // Connects when there is room: the server frees a place a moment after the client of the last connection has heard of its end.
    public static async Task<HubConnection> ConnectWhenThereIsRoomAsync(this OwnApp app, string user, string hub)
    {
        HubConnection? connection = null;
        await Eventually.TrueAsync(
            async () =>
            {
                try
                {
                    connection = await app.ConnectAsync(user, hub);
                }
                catch (Exception refused) when (refused is HubException or InvalidOperationException or OperationCanceledException)
                {
                    // no room yet
                }

                return connection is not null;
            },
            "there is room");
        return connection!;
    }

    // Why a connection is closed as it begins, when there is room.
    public static async Task<string> RefusedWhenThereIsRoomAsync(this OwnApp app, string user, string hub)
    {
        var why = "";
        await Eventually.TrueAsync(
            async () =>
            {
                why = await app.RefusedAsync(user, hub);
                return !why.Contains("Too many connections", StringComparison.Ordinal);
            },
            "there is room");
        return why;
    }

    // Why a connection is closed as it begins.
    public static async Task<string> RefusedAsync(this OwnApp app, string user, string hub = "/room")
    {
        await using var connection = Client(app, user, hub, HttpTransportType.WebSockets);
        var closed = connection.ClosedAsync();
        await connection.StartAsync();
        return (await closed.WaitAsync(Patience))!.Message;
    }

    public static Task<Exception?> ClosedAsync(this HubConnection connection)
    {
        var closed = new TaskCompletionSource<Exception?>(TaskCreationOptions.RunContinuationsAsynchronously);
        connection.Closed += why =>
        {
            closed.TrySetResult(why);
            return Task.CompletedTask;
        };
        return closed.Task;
    }

    // Online without a break until they were heard this many seconds later than now.
    public static async Task HeardForAsync(this OwnApp app, string user, uint seconds)
    {
        var first = await app.StatusAsync(user);
        await Eventually.TrueAsync(
            async () =>
            {
                var now = await app.StatusAsync(user);
                now.Status.ShouldBe(PresenceStatus.Online, $"{now.LastSeen - first.LastSeen} s later");
                return now.LastSeen >= first.LastSeen + seconds;
            },
            "they are heard");
    }

    public static Task OfflineAsync(this OwnApp app, string user) =>
        Eventually.TrueAsync(async () => !(await app.StatusAsync(user)).IsOnline, $"{user} is offline");

    // The changes of a user from now on: the enumeration has begun when this returns.
    public static ConcurrentQueue<PresenceChange> Changes(this OwnApp app, string user)
    {
        var changes = new ConcurrentQueue<PresenceChange>();
        _ = CollectAsync(app.Services.GetRequiredService<IPresenceEvents>(), UserId.Parse(user), changes);
        return changes;
    }

    private static async Task CollectAsync(IPresenceEvents events, UserId user, ConcurrentQueue<PresenceChange> changes)
    {
        await foreach (var change in events.ConfigureAwait(false))
        {
            if (change.User == user)
                changes.Enqueue(change);
        }
    }
}

/// <summary>A hub.</summary>
internal class Room : Hub
{
    public const string Group = "room";

    public override Task OnConnectedAsync() => Groups.AddToGroupAsync(Context.ConnectionId, Group);

    public string Say(string text) => text;
}

internal sealed class Other : Room;

internal sealed class Failing : Hub
{
    public override Task OnConnectedAsync() => throw new HubException("It fails.");
}

/// <summary>Signs in by a token in the query, because pages cannot set headers, and only on the path of a hub.</summary>
internal sealed class SignedInByQuery(
    IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logs, UrlEncoder encoder, Func<bool> isGood)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logs, encoder)
{
    public static void Add(WebApplicationBuilder builder, Func<bool> isGood)
    {
        builder.Services.AddSingleton(isGood);
        builder.Services.AddAuthentication("query").AddScheme<AuthenticationSchemeOptions, SignedInByQuery>("query", null);
    }

    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (!isGood() || !Request.Path.StartsWithSegments("/room") || Request.Query["access_token"] is not [{ } user])
            return Task.FromResult(AuthenticateResult.NoResult());
        var identity = new ClaimsIdentity([new(ClaimTypes.NameIdentifier, user)], Scheme.Name);
        return Task.FromResult(AuthenticateResult.Success(new AuthenticationTicket(new ClaimsPrincipal(identity), Scheme.Name)));
    }
}
