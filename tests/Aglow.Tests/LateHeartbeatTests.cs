namespace Aglow.Tests;

/// <summary>A connection may deliver a heartbeat after presence has closed. Such a heartbeat must not end the process.</summary>
public class LateHeartbeatTests
{
    [Fact]
    public async Task A_heartbeat_into_a_closed_store_touches_nobody_elses_memory()
    {
        var store = new MemoryPlaneStore(new PageBudget(8));
        await store.ExchangeAsync(Plane.Pulse, 7, 1000);
        await store.DisposeAsync();
        await store.DisposeAsync();
        // the memory was freed, so the word is gone
        (await store.ExchangeAsync(Plane.Pulse, 7, 1001)).ShouldBe(Pulse.Never);
        await Should.ThrowAsync<ObjectDisposedException>(async () => await store.ExchangeAsync(Plane.Pulse, 70_000_000, 1001));
    }

    [Fact]
    public void A_bit_of_a_closed_set_is_its_own_still()
    {
        var bits = new UserBits();
        bits.Set(7, present: true);
        bits.Dispose();
        bits.Dispose();
        bits.Set(7, present: false).ShouldBeTrue();
        Should.Throw<ObjectDisposedException>(() => bits.Set(70_000_000, present: true));
    }
}
