namespace Aglow.Tests;

/// <summary>A node with a slow start shows the same as its peers.</summary>
public sealed class SlowStartTests : IAsyncDisposable
{
    private const uint Gone = 1, Online = 2;

    private readonly ManualTimeProvider _time = new();
    private readonly RiggedStore _store = new(isRemote: true);
    private readonly AglowMetrics _metrics = new();

    public async ValueTask DisposeAsync()
    {
        await _store.DisposeAsync();
        _metrics.Dispose();
    }

    [Fact]
    public async Task A_node_that_is_held_up_while_it_starts_shows_nobody_whose_lease_has_ended()
    {
        var clock = new Clock(_time, new StallGuard(20), storeSeconds: 1_000_000);
        await _store.ExchangeAsync(Plane.Pulse, Gone, clock.Now - 28);
        await _store.ExchangeAsync(Plane.Pulse, Online, clock.Now - 5);
        await using var presence = new PresenceService(
            _store, null, new LocalTransitionBus(), clock, new AglowOptions(), _metrics, new AglowLog(NullLogger.Instance));
        // the machine is busy: a page takes five seconds
        _store.OnPageRead = () =>
        {
            _store.OnPageRead = static () => { };
            _time.Advance(TimeSpan.FromSeconds(5));
        };
        await presence.StartAsync();
        for (var beat = 0; beat < 3; beat++)
        {
            (await presence.StatusAsync(Gone)).IsOnline.ShouldBeFalse();
            (await presence.StatusAsync(Online)).IsOnline.ShouldBeTrue();
            presence.Beliefs.Default.Contains(Gone).ShouldBeFalse();
            presence.Beliefs.Default.Contains(Online).ShouldBeTrue();
            clock.Beat();
        }

        // a pause after the start does hold leases back
        _time.Jump(TimeSpan.FromSeconds(28));
        (await presence.StatusAsync(Online)).IsOnline.ShouldBeTrue();
        await presence.StopAsync();
    }
}
