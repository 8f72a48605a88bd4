using Aglow.Model;
using Aglow.Redis;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.SignalR;
using Microsoft.AspNetCore.SignalR.Client;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Aglow.Stores.Tests;

/// <summary>Servers of one application that share a Redis. Connections to their SignalR hubs are devices of the same users.</summary>
[Collection(RedisCollection.Name)]
public sealed class HubNodeTests(RedisServers servers)
{
    // on a busy machine, a client and a server in this one process may be late by seconds
    private const int Lease = 12;
    private static readonly UserId Ann = UserId.Of(42);

    [Fact]
    public async Task One_device_that_closes_on_one_server_leaves_another_elsewhere()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        await using var one = await ServerAsync(servers.Alone);
        await using var other = await ServerAsync(servers.Alone);
        await using var phone = await ConnectAsync(one);
        await using var laptop = await ConnectAsync(other);
        (await StatusAsync(one)).IsOnline.ShouldBeTrue();
        (await StatusAsync(other)).IsOnline.ShouldBeTrue();
        var first = (await StatusAsync(one)).LastSeen;
        await phone.StopAsync();
        await Eventually.HoldsAsync(async () =>
        {
            var now = await StatusAsync(one);
            now.IsOnline.ShouldBeTrue();
            return now.LastSeen > first + Lease + 2;
        });
        await laptop.StopAsync();
        await Eventually.HoldsAsync(async () => !(await StatusAsync(one)).IsOnline && !(await StatusAsync(other)).IsOnline);
    }

    [Fact]
    public async Task A_user_is_disconnected_from_every_server_and_a_server_that_stops_is_no_leave()
    {
        await servers.Alone.CallAsync("FLUSHALL", "SYNC");
        await using var one = await ServerAsync(servers.Alone);
        await using var other = await ServerAsync(servers.Alone);
        await using var connection = await ConnectAsync(other);
        var closed = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);
        connection.Closed += _ => Task.FromResult(closed.TrySetResult());
        await PresenceOf(one).DisconnectAsync(Ann);
        await closed.Task.WaitAsync(TimeSpan.FromSeconds(30));

        await connection.StartAsync();
        (await connection.InvokeAsync<string>("Say", "hello")).ShouldBe("hello");
        await other.StopAsync();
        var presence = PresenceOf(one);
        (await presence.ExplainAsync(Ann.Number, presence.Definitions.Default)).HasLeft.ShouldBeFalse();
    }

    [Fact]
    public async Task A_hub_is_served_while_the_store_is_away_and_its_users_come_online_afterwards()
    {
        await using var redis = await RedisProcess.StartAsync();
        await using var server = await ServerAsync(redis);
        await redis.KillAsync();
        await using var connection = await ConnectAsync(server);
        await redis.RestartAsync();
        await Eventually.HoldsAsync(async () =>
        {
            connection.State.ShouldBe(HubConnectionState.Connected);
            try
            {
                return (await StatusAsync(server)).IsOnline;
            }
            catch (Storage.StoreUnavailableException)
            {
                return false;
            }
        });
    }

    private static PresenceService PresenceOf(WebApplication server) => server.Services.GetRequiredService<PresenceService>();

    private static ValueTask<Presence> StatusAsync(WebApplication server) => PresenceOf(server).StatusAsync(Ann);

    private static async Task<WebApplication> ServerAsync(RedisProcess redis)
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        var options = new AglowOptions { OpenMode = true, HeartbeatSeconds = 1, LeaseSeconds = Lease, DrainSeconds = 0 };
        builder.Services.AddAglow(
            options, async (time, logs) => await RedisPresence.OpenAsync(options, RedisAddress.Parse($"{redis.Endpoint}"), time, logs));
        builder.Services.AddSignalR(static o => o.ClientTimeoutInterval = TimeSpan.FromSeconds(Lease))
            .AddAglowPresence(static o => o.User = static _ => Ann);
        var app = builder.Build();
        app.Urls.Add("http://127.0.0.1:0");
        app.MapHub<Room>("/room");
        await app.StartAsync();
        return app;
    }

    private static async Task<HubConnection> ConnectAsync(WebApplication server)
    {
        var connection = new HubConnectionBuilder().WithUrl(new Uri(new Uri(server.Urls.Single()), "/room")).Build();
        connection.KeepAliveInterval = TimeSpan.FromSeconds(1);
        await connection.StartAsync();
        (await connection.InvokeAsync<string>("Say", "hello")).ShouldBe("hello");
        return connection;
    }

    private sealed class Room : Hub
    {
        public string Say(string text) => text;
    }
}
