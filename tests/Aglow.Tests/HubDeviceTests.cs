using System.Security.Claims;
using Aglow.AspNetCore.Hubs;
using Aglow.AspNetCore.Sockets;
using Aglow.Diagnostics;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.SignalR;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Tests;

/// <summary>A connection to a hub as a device.</summary>
public sealed class HubDeviceTests
{
    private const uint User = 7;

    [Fact]
    public async Task What_arrives_after_the_end_was_decided_brings_nobody_back()
    {
        var time = new ManualTimeProvider();
        var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
        await using var presence = new PresenceService(
            new MemoryPlaneStore(PageBudget.Of(options)), null, new LocalTransitionBus(), new Clock(time, new StallGuard(20)), options,
            new AglowMetrics(), new AglowLog(NullLogger.Instance));
        var host = new SocketHost(presence, options, tokens: null, gate: null);
        var client = new Client(Caller: null, Address: null, Device.Unnamed());
        var device = new HubDevice(new Arrival(UserId.Of(User), User, client), new Caller(), host);

        device.Hear(byPerson: true);
        (await presence.StatusAsync(User)).IsOnline.ShouldBeTrue();
        await LeaveAsync();
        device.Hear(byPerson: true);
        (await presence.StatusAsync(User)).IsOnline.ShouldBeTrue();
        await LeaveAsync();
        device.Ignore();
        device.Hear(byPerson: true);
        (await presence.StatusAsync(User)).IsOnline.ShouldBeFalse();

        // a heartbeat does not undo a leave of the same second
        async Task LeaveAsync()
        {
            await presence.LeaveAsync(new[] { User });
            time.Advance(TimeSpan.FromSeconds(2));
            (await presence.StatusAsync(User)).IsOnline.ShouldBeFalse();
        }
    }

    private sealed class Caller : HubCallerContext
    {
        public override string ConnectionId => "1";

        public override string? UserIdentifier => null;

        public override ClaimsPrincipal? User => null;

        public override IDictionary<object, object?> Items { get; } = new Dictionary<object, object?>();

        public override IFeatureCollection Features { get; } = new FeatureCollection();

        public override CancellationToken ConnectionAborted => CancellationToken.None;

        public override void Abort()
        {
        }
    }
}
