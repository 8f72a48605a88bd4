using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Stores.Tests;

public class MemoryPlaneStoreTests : PlaneStoreContract
{
    protected override ValueTask<IPlaneStore> CreateAsync() => new(new MemoryPlaneStore(new PageBudget(1024)));

    [Fact]
    public async Task Beyond_the_budget_pages_are_refused_and_those_there_are_go_on_working()
    {
        await using var store = new MemoryPlaneStore(new PageBudget(2));
        var old = new uint[4];
        store.Exchange(Plane.Pulse, [0, 1, 2, 256], [100, 100, 100, 100], old);
        old.ShouldBe([Pulse.Never, Pulse.Never, Pulse.Refused, Pulse.Never]);
        store.Exchange(Plane.Activity, 0, 100).ShouldBe(Pulse.Refused);
        store.Exchange(Plane.Pulse, 1, 101).ShouldBe(100u);
        store.Read(Plane.Pulse, 2).ShouldBe(Pulse.Never);
        store.Budget.Taken.ShouldBe(2);
        await store.EraseAsync(Plane.Pulse, 3);
        store.Budget.Taken.ShouldBe(2);
    }

    [Fact]
    public async Task Threads_that_make_the_same_pages_share_them()
    {
        await using var store = new MemoryPlaneStore(new PageBudget(256));
        // All 256 pages are new to each thread. If a page were created twice, a user's word would be lost.
        await Task.WhenAll(Enumerable.Range(0, 4).Select(thread => Task.Run(() =>
        {
            for (var page = 0u; page < 256; page++)
                store.Exchange(Plane.Pulse, ((uint)thread << 8) | page, 100 + (uint)thread);
        })));
        for (var user = 0u; user < 1024; user++)
            store.Read(Plane.Pulse, user).ShouldBe(100 + (user >> 8));
        store.Registered.ShouldBe(1024);
        store.Budget.Taken.ShouldBe(256);
    }

    [Fact]
    public async Task A_user_is_registered_once()
    {
        await using var store = new MemoryPlaneStore(new PageBudget(16));
        store.Exchange(Plane.Pulse, [1, 2, 1, 2], [5, 6, 7, 4], new uint[4]);
        store.Exchange(Plane.Pulse, 1, 9);
        store.Registered.ShouldBe(2);
    }

    [Fact]
    public async Task An_erased_user_who_returns_is_registered_once()
    {
        await using var store = new MemoryPlaneStore(new PageBudget(16));
        store.Exchange(Plane.Pulse, [1, 2], [5, 6], new uint[2]);
        for (var time = 0; time < 3; time++)
        {
            await store.EraseAsync(Plane.Pulse, 1);
            await store.EraseAsync(Plane.Pulse, 1);
            await store.EraseAsync(Plane.Pulse, 3);
            store.Registered.ShouldBe(1);
            store.Exchange(Plane.Pulse, 1, 7);
            store.Registered.ShouldBe(2);
        }
    }

    [Fact]
    public async Task An_exchange_allocates_nothing()
    {
        await using var store = new MemoryPlaneStore(new PageBudget(16));
        uint[] users = [.. Enumerable.Range(0, 100).Select(i => (uint)i * 256)];
        var (words, old) = (new uint[users.Length], new uint[users.Length]);
        Exchange(1);
        var before = GC.GetAllocatedBytesForCurrentThread();
        Exchange(2);
        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBe(0);

        void Exchange(uint second)
        {
            words.AsSpan().Fill(second);
            store.Exchange(Plane.Pulse, users, words, old);
            store.Exchange(Plane.Pulse, 7, second);
        }
    }

    [Fact]
    public async Task Arrays_of_different_lengths_are_refused()
    {
        await using var store = new MemoryPlaneStore(new PageBudget(16));
        Should.Throw<ArgumentException>(() => store.Exchange(Plane.Pulse, [1, 2], [1], new uint[2]));
        Should.Throw<ArgumentException>(() => store.Exchange(Plane.Pulse, [1, 2], [1, 2], new uint[1]));
    }
}
