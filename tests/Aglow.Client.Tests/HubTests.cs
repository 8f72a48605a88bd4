using System.Collections.Concurrent;
using Aglow.Changes;
using Aglow.Client.Tests;
using Aglow.Model;
using Microsoft.AspNetCore.Http.Connections;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.Hosting;

namespace Aglow.Hubs.Tests;

/// <summary>Connections to the SignalR hubs of somebody's own app are devices of their users.</summary>
public class HubTests
{
    [Fact]
    public async Task A_user_is_online_while_a_client_of_theirs_is_connected_over_any_transport()
    {
        await using var app = await HubApp.StartAsync();
        await Task.WhenAll(
            OnlineAsync(HttpTransportType.WebSockets, "/room"),
            OnlineAsync(HttpTransportType.ServerSentEvents, "/room"),
            OnlineAsync(HttpTransportType.LongPolling, "/other"));

        async Task OnlineAsync(HttpTransportType transport, string hub)
        {
            var user = $"{transport}";
            await using var connection = await app.ConnectAsync(user, hub, transport);
            await app.HeardForAsync(user, HubApp.Lease + 1);
            await connection.StopAsync();
            await app.OfflineAsync(user);
        }
    }

    [Fact]
    public void A_second_registration_keeps_the_options_of_the_first()
    {
        var services = new ServiceCollection();
        services.AddSignalR().AddAglowPresence(static options => options.User = static _ => UserId.Of(7)).AddAglowPresence();
        using var provider = services.BuildServiceProvider();
        provider.GetRequiredService<Aglow.AspNetCore.Hubs.HubPresenceOptions>().User.ShouldNotBeNull();
    }

    [Fact]
    public async Task A_client_that_falls_silent_is_offline_and_was_last_seen_when_it_was_last_heard()
    {
        await using var app = await HubApp.StartAsync();
        await using var connection = await app.ConnectAsync("ann", pingsEvery: TimeSpan.FromHours(1));
        var closed = connection.ClosedAsync();
        var first = await app.StatusAsync("ann");
        await closed.WaitAsync(HubApp.Patience);
        await app.OfflineAsync("ann");
        (await app.StatusAsync("ann")).LastSeen.ShouldBeLessThanOrEqualTo(first.LastSeen + 1);
    }

    [Fact]
    public async Task One_device_that_closes_leaves_the_other()
    {
        await using var app = await HubApp.StartAsync();
        await using var phone = await app.ConnectAsync("ann", "/room?device_kind=mobile");
        await using var page = await app.ConnectAsync("ann", "/room?device_kind=web&device_id=a");
        (await app.StatusAsync("ann")).Devices.ShouldBe(DeviceKinds.Mobile | DeviceKinds.Web);
        await phone.StopAsync();
        await app.HeardForAsync("ann", HubApp.Lease + 1);
        (await app.StatusAsync("ann")).Devices.ShouldBe(DeviceKinds.Web);
        await page.StopAsync();
        await app.OfflineAsync("ann");
    }

    [Fact]
    public async Task A_page_that_is_loaded_again_is_never_shown_offline()
    {
        // it has a heartbeat interval and two seconds to come back
        await using var app = await HubApp.StartAsync(static o => o.HeartbeatSeconds = HubApp.Lease / 2);
        var changes = app.Changes("ann");
        await using (var before = await app.ConnectAsync("ann"))
            await before.StopAsync();
        await using var after = await app.ConnectAsync("ann");
        await app.HeardForAsync("ann", HubApp.Lease + 1);
        await after.StopAsync();
        await app.OfflineAsync("ann");
        await Eventually.TrueAsync(() => changes.Count >= 2, "the change is told");
        changes.Select(static change => change.IsOnline).ShouldBe([true, false]);
    }

    [Fact]
    public async Task A_call_brings_back_a_user_who_left_on_all_devices_and_a_ping_does_not()
    {
        await using var app = await HubApp.StartAsync();
        await using var ann = await app.ConnectAsync("ann");
        await using var bob = await app.ConnectAsync("bob");
        uint[] leaving = [await app.Presence.FindAsync(UserId.Parse("ann"))];
        await app.Presence.LeaveAsync(leaving);
        await app.HeardForAsync("bob", 3);
        (await app.StatusAsync("ann")).IsOnline.ShouldBeFalse();
        await ann.InvokeAsync<string>("Say", "hello");
        await Eventually.TrueAsync(async () => (await app.StatusAsync("ann")).IsOnline, "a call brings them back");
    }

    [Fact]
    public async Task A_connection_of_nobody_is_left_alone_and_the_app_may_say_whose_one_is()
    {
        await using (var app = await HubApp.StartAsync())
        {
            await using var stranger = await app.ConnectAsync(null);
            (await stranger.InvokeAsync<string>("Say", "hello")).ShouldBe("hello");
        }

        await using var open = await OwnApp.StartAsync(
            static (builder, folder) =>
            {
                builder.Services.AddAglow(o => (o.OpenMode, o.DataDirectory) = (true, folder));
                builder.Services.AddSignalR().AddAglowPresence(static o =>
                    o.User = static context => UserId.Parse(context.GetHttpContext()!.Request.Query["me"].ToString()));
            },
            static app => app.MapHub<Room>("/room"));
        await using var ann = await open.ConnectAsync(null, "/room?me=7");
        (await open.StatusAsync("7")).IsOnline.ShouldBeTrue();
    }

    [Fact]
    public async Task Changes_are_pushed_to_a_group_of_the_hub()
    {
        await using var app = await HubApp.StartAsync(
            hubs: static hubs => hubs.AddAglowPresencePush<Room>(static change => change.User.Key == "eve" ? null : Room.Group));
        await using var ann = await app.ConnectAsync("ann");
        var changes = new ConcurrentQueue<string>();
        ann.On<JsonElement>("presence", record => changes.Enqueue(record.GetRawText()));
        await app.Presence.HeartbeatAsync(UserId.Parse("eve"));
        await app.Presence.HeartbeatAsync(UserId.Of(42));
        await using (var bob = await app.ConnectAsync("bob"))
            await bob.StopAsync();
        await Eventually.TrueAsync(() => changes.Any(static text => text.Contains("\"bob\",\"is_online\":false")), "bob left");
        changes.ShouldContain(static text => text.Contains("{\"user_id\":42,\"is_online\":true,\"status\":\"online\",\"last_seen\":1"));
        changes.ShouldContain(static text => text.Contains("{\"user_id\":\"bob\",\"is_online\":true,"));
        changes.ShouldNotContain(static text => text.Contains("eve"));
    }

    [Fact]
    public async Task Pushes_begin_before_the_server_takes_connections()
    {
        var feed = new BegunFeed();
        var isBegun = false;
        await using var app = await HubApp.StartAsync(hubs: hubs =>
        {
            hubs.AddAglowPresencePush<Room>(static _ => Room.Group);
            hubs.Services.AddSingleton<IPresenceEvents>(feed);
            // the web server is the last service that starts
            hubs.Services.AddHostedService(_ => new Started(() => isBegun = feed.IsBegun));
        });
        isBegun.ShouldBeTrue();
    }

    private sealed class BegunFeed : IPresenceEvents
    {
        public bool IsBegun { get; private set; }

        public async IAsyncEnumerator<PresenceChange> GetAsyncEnumerator(CancellationToken cancellationToken = default)
        {
            IsBegun = true;
            await Task.Delay(Timeout.Infinite, cancellationToken);
            yield break;
        }
    }

    private sealed class Started(Action started) : IHostedService
    {
        public Task StartAsync(CancellationToken cancellationToken)
        {
            started();
            return Task.CompletedTask;
        }

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
