using System.Security.Claims;
using Aglow.AspNetCore.Hubs;
using Aglow.AspNetCore.Sockets;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.SignalR;

namespace Aglow.Tests;

/// <summary>A connection to a hub as a device.</summary>
public sealed class HubDeviceTests
{
    private const uint User = 7;

    private readonly ManualTimeProvider _time = new();
    private readonly PresenceService _presence;
    private readonly SocketHost _host;
    private readonly HubDevice _device;

    public HubDeviceTests()
    {
        var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
        _presence = new PresenceService(
            new MemoryPlaneStore(PageBudget.Of(options)), null, new LocalTransitionBus(), new Clock(_time, new StallGuard(20)), options,
            new AglowMetrics(), new AglowLog(NullLogger.Instance));
        _host = new SocketHost(_presence, options, tokens: null, gate: null);
        var client = new Client(Caller: null, Address: null, Device.Unnamed());
        _device = new HubDevice(new Arrival(UserId.Of(User), User, client), new Caller(), _host);
    }

    [Fact]
    public async Task What_arrives_after_the_end_was_decided_brings_nobody_back()
    {
        _device.OnReceived(byPerson: true);
        (await IsOnlineAsync()).ShouldBeTrue();
        await LeaveAsync();
        _device.OnReceived(byPerson: true);
        (await IsOnlineAsync()).ShouldBeTrue();
        await LeaveAsync();
        _device.Ignore();
        _device.OnReceived(byPerson: true);
        (await IsOnlineAsync()).ShouldBeFalse();

        // a heartbeat does not undo a leave of the same second
        async Task LeaveAsync()
        {
            await _presence.LeaveAsync(new[] { User });
            _time.Advance(TimeSpan.FromSeconds(2));
            (await IsOnlineAsync()).ShouldBeFalse();
        }
    }

    // The application calls this in its own process.
    [Fact]
    public async Task A_device_that_leaves_by_a_call_is_not_kept_online_by_its_own_connection()
    {
        _host.Sockets.TryEnter(User, most: 20).ShouldBeTrue();
        _host.Sockets.Add(_device, caller: null);
        _device.OnReceived(byPerson: false);
        _host.Sockets.Present(User).ShouldBe([_device.Device]);
        _time.Advance(TimeSpan.FromSeconds(2));
        await _presence.LeaveAsync(User, _device.Device);
        _host.Sockets.Present(User).ShouldBeEmpty();
        // the bound of a provisional leave
        _time.Advance(TimeSpan.FromSeconds(20));
        (await IsOnlineAsync()).ShouldBeFalse();

        _device.OnReceived(byPerson: false);
        _host.Sockets.Present(User).ShouldBe([_device.Device]);
        (await IsOnlineAsync()).ShouldBeTrue();
    }

    private async Task<bool> IsOnlineAsync() => (await _presence.StatusAsync(User)).IsOnline;

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
