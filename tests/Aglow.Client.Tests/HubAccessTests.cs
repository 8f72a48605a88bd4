using Aglow.Client.Tests;
using Aglow.Model;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;

namespace Aglow.Hubs.Tests;

/// <summary>Who may connect to the SignalR hubs of somebody's own app, and for how long.</summary>
public class HubAccessTests
{
    [Theory]
    [InlineData("revoked", false)]
    [InlineData("disabled", false)]
    [InlineData("deleted", false)]
    [InlineData("disconnected", true)]
    public async Task Connections_of_a_user_who_may_not_connect_any_more_are_aborted(string what, bool staysOnline)
    {
        await using var app = await HubApp.StartAsync();
        var ann = UserId.Parse("ann");
        await using var page = await app.ConnectAsync("ann");
        await using var phone = await app.ConnectAsync("ann", "/other", HttpTransportType.LongPolling);
        await using var bob = await app.ConnectAsync("bob");
        var closed = Task.WhenAll(page.ClosedAsync(), phone.ClosedAsync());
        await (what switch
        {
            "revoked" => app.Presence.RevokeAsync(ann).AsTask(),
            "disabled" => app.Presence.DisableAsync(ann).AsTask(),
            "deleted" => app.Presence.DeleteUserAsync(ann).AsTask(),
            _ => app.Presence.DisconnectAsync(ann).AsTask(),
        });
        await closed.WaitAsync(HubApp.Patience);
        // an application that ends a connection does not make the user leave
        (await app.StatusAsync("ann")).IsOnline.ShouldBe(staysOnline);
        bob.State.ShouldBe(HubConnectionState.Connected);
        (await bob.InvokeAsync<string>("Say", "hello")).ShouldBe("hello");
        if (what == "disabled")
            (await app.RefusedAsync("ann")).ShouldContain("User disabled");
    }

    [Fact]
    public async Task A_connection_lives_no_longer_than_the_sign_in_behind_it()
    {
        var isGood = true;
        await using var app = await HubApp.StartAsync(build: builder => SignedInByQuery.Add(builder, () => Volatile.Read(ref isGood)));
        await using var connection = await app.ConnectAsync(null, "/room?access_token=ann");
        var closed = connection.ClosedAsync();
        // the token in the query is checked at each tick, and taken
        await app.HeardForAsync("ann", 3);
        connection.State.ShouldBe(HubConnectionState.Connected);
        Volatile.Write(ref isGood, false);
        await closed.WaitAsync(HubApp.Patience);
    }

    [Fact]
    public async Task A_hub_that_fails_frees_the_place_before_its_client_sees_the_end()
    {
        var held = new HeldEnd();
        await using var app = await HubApp.StartAsync(
            options: static o => o.MaxConnectionsPerUser = 1,
            build: builder =>
            {
                SignedIn.Add(builder);
                // it is the first, so it hears of the failure last
                builder.Services.Configure<HubOptions>(o => o.AddFilter(held));
            });
        var refused = app.RefusedAsync("ann", "/failing");
        await held.Failed.WaitAsync(HubApp.Patience);
        await using var other = await app.ConnectAsync("ann");
        held.Release();
        (await refused).ShouldContain("Connection closed with an error");
    }

    /// <summary>Holds a connection whose hub has failed before SignalR closes it.</summary>
    private sealed class HeldEnd : IHubFilter
    {
        private readonly TaskCompletionSource _failed = new(TaskCreationOptions.RunContinuationsAsynchronously);
        private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Failed => _failed.Task;

        public void Release() => _released.SetResult();

        public async Task OnConnectedAsync(HubLifetimeContext context, Func<HubLifetimeContext, Task> next)
        {
            try
            {
                await next(context);
            }
            catch when (_failed.TrySetResult())
            {
                await _released.Task;
                throw;
            }
        }
    }

    [Fact]
    public async Task Connections_of_a_user_to_hubs_and_sockets_have_one_limit()
    {
        await using var app = await HubApp.StartAsync(options: static o => o.MaxConnectionsPerUser = 2);
        await using var one = await app.ConnectAsync("ann");
        await using (var other = await app.ConnectAsync("ann", "/other"))
        {
            (await app.RefusedAsync("ann")).ShouldContain("Too many connections: This user has 2 connections");
            await other.StopAsync();
        }

        (await app.RefusedWhenThereIsRoomAsync("ann", "/failing")).ShouldContain("Connection closed with an error");
        await using var again = await app.ConnectWhenThereIsRoomAsync("ann", "/other");
        (await again.InvokeAsync<string>("Say", "hello")).ShouldBe("hello");
        (await app.RefusedAsync("ann", "/room?device_kind=toaster")).ShouldContain("device_kind is \"toaster\"");
        foreach (var (query, detail) in new[]
        {
            ("device_id=a&device_id=b", "device_id is given twice"),
            ("device_kind=web&device_kind=web", "device_kind is given twice"),
        })
        {
            (await app.RefusedAsync("ann", $"/room?{query}")).ShouldContain(detail);
        }
    }

    [Fact]
    public async Task Presence_that_is_added_twice_counts_each_connection_once()
    {
        await using var app = await HubApp.StartAsync(static o => o.MaxConnectionsPerUser = 2, static hubs => hubs.AddAglowPresence());
        await using var one = await app.ConnectAsync("ann");
        await using var other = await app.ConnectAsync("ann", "/other");
        (await app.RefusedAsync("ann")).ShouldContain("This user has 2 connections");
    }

    [Theory]
    [InlineData("presence", "call builder.Services.AddAglow()")]
    [InlineData("users", "Connections to the hubs have no user")]
    [InlineData("silence", "ClientTimeoutInterval of SignalR (30 s) is longer than LeaseSeconds (8 s)")]
    [InlineData("feed", "set AglowOptions.ChangesHours to 1 or more")]
    public async Task An_app_in_which_hubs_cannot_be_presence_does_not_start(string lacks, string says)
    {
        var refused = await Should.ThrowAsync<InvalidOperationException>(() => OwnApp.StartAsync(
            (builder, folder) =>
            {
                if (lacks != "presence")
                {
                    builder.Services.AddAglow(o =>
                    {
                        (o.DataDirectory, o.HeartbeatSeconds, o.LeaseSeconds) = (folder, 1, lacks == "silence" ? HubApp.Lease : 60);
                        (o.OpenMode, o.ChangesHours) = (lacks == "users", lacks == "feed" ? 0 : 1);
                    });
                }

                if (lacks != "users")
                    SignedIn.Add(builder);
                var hubs = builder.Services.AddSignalR().AddAglowPresence();
                if (lacks == "feed")
                    hubs.AddAglowPresencePush<Room>(static _ => Room.Group);
            },
            static app => app.MapHub<Room>("/room")));
        refused.Message.ShouldContain(says);
    }
}
