using Aglow.Model;
using Aglow.Storage;
using Aglow.Watching;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Stores.Tests;

/// <summary>
/// The contract of every backend of <see cref="IPlaneStore"/>. Derive a class from this one to run it on your own backend.
/// </summary>
public abstract class PlaneStoreContract : IAsyncLifetime
{
    // both ends of the number range, both sides of 2^31, neighbours (256 pages), and numbers that share a page
    private static readonly uint[] People =
        [0, 1, 255, 256, 512, 65_280, (65_280 << 8) - 1, 65_280 << 8, int.MaxValue, 1u << 31, uint.MaxValue - 256, uint.MaxValue - 1];

    private IPlaneStore _store = null!;

    /// <summary>An empty store of the backend under test.</summary>
    protected abstract ValueTask<IPlaneStore> CreateAsync();

    /// <summary>
    /// Whether the store puts back an overwritten newer word a moment later. Readers may see the older word meanwhile.
    /// </summary>
    protected virtual bool PutsNewerBack => false;

    public async Task InitializeAsync() => _store = await CreateAsync();

    public async Task DisposeAsync() => await _store.DisposeAsync();

    [Fact]
    public async Task Nobody_was_seen_in_an_empty_store()
    {
        (await ReadAsync(People)).ShouldAllBe(word => word == Pulse.Never);
        (await _store.PagesAsync(Plane.Pulse)).ShouldBeEmpty();
        (await _store.ReadPageAsync(Plane.Pulse, 7, new uint[PageLayout.Slots])).IsEmpty.ShouldBeTrue();
    }

    [Fact]
    public async Task The_old_word_comes_back()
    {
        (await _store.ExchangeAsync(Plane.Pulse, 42, 100)).ShouldBe(Pulse.Never);
        (await _store.ExchangeAsync(Plane.Pulse, 42, 110)).ShouldBe(100u);
        (await ReadAsync(42)).ShouldBe([110u]);
    }

    [Fact]
    public async Task A_word_never_goes_back_in_time()
    {
        await _store.ExchangeAsync(Plane.Pulse, 42, 100);
        (await _store.ExchangeAsync(Plane.Pulse, 42, 99)).ShouldBe(100u);
        (await _store.ExchangeAsync(Plane.Pulse, 42, 99 | Pulse.LeftBit)).ShouldBe(100u);
        (await ReadAsync(42)).ShouldBe([100u]);
    }

    [Fact]
    public async Task In_one_second_the_later_arrival_counts()
    {
        await _store.ExchangeAsync(Plane.Pulse, 42, 100);
        (await _store.ExchangeAsync(Plane.Pulse, 42, 100 | Pulse.LeftBit)).ShouldBe(100u);
        (await _store.ExchangeAsync(Plane.Pulse, 42, 100)).ShouldBe(100 | Pulse.LeftBit);
        (await ReadAsync(42)).ShouldBe([100u]);
    }

    [Fact]
    public async Task An_erased_number_can_be_seen_again()
    {
        await _store.ExchangeAsync(Plane.Pulse, 42, 100);
        await _store.EraseAsync(Plane.Pulse, 42);
        (await ReadAsync(42)).ShouldBe([Pulse.Never]);
        (await _store.ExchangeAsync(Plane.Pulse, 42, 50)).ShouldBe(Pulse.Never);
        (await ReadAsync(42)).ShouldBe([50u]);
    }

    [Fact]
    public async Task A_user_named_twice_is_written_twice_in_order()
    {
        (await WriteAsync([7, 7, 7], [100, 102, 101])).ShouldBe([Pulse.Never, 100u, 102u]);
        (await ReadAsync(7)).ShouldBe([102u]);
    }

    [Fact]
    public async Task Planes_are_apart()
    {
        await _store.ExchangeAsync(Plane.Pulse, 42, 100);
        (await _store.ExchangeAsync(Plane.Activity, 42, 90)).ShouldBe(Pulse.Never);
        (await ReadAsync(42)).ShouldBe([100u]);
    }

    [Fact]
    public async Task A_batch_may_span_any_pages()
    {
        // larger than any block into which a backend may split batches, over many pages, unordered
        var users = Enumerable.Range(0, 5000).Select(i => (uint)((i * 7919L) % 5000 * 13_001)).ToArray();
        (await WriteAsync(users, [.. users.Select((_, i) => 1000 + (uint)i)])).ShouldAllBe(old => old == Pulse.Never);
        (await ReadAsync(users)).ShouldBe(users.Select((_, i) => 1000 + (uint)i));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(31)]
    [InlineData(32)]
    [InlineData(33)]
    [InlineData(1000)]
    public async Task Batches_of_any_length_are_whole(int length)
    {
        var users = Enumerable.Range(0, length).Select(i => (uint)i).ToArray();
        await WriteAsync(users, [.. users.Select(user => user + 10)]);
        (await ReadAsync(users)).ShouldBe(users.Select(user => user + 10));
        (await ReadAsync((uint)length)).ShouldBe([Pulse.Never]);
    }

    [Fact]
    public async Task Pages_list_what_was_written_ascending()
    {
        await WriteAsync([uint.MaxValue - 1, 3, 2, 3 + 256], [100, 100, 100, 100]);
        (await _store.PagesAsync(Plane.Pulse)).ShouldBe([2, 3, PageLayout.Page(uint.MaxValue - 1)]);
        (await _store.PagesAsync(Plane.Activity)).ShouldBeEmpty();
    }

    [Fact]
    public async Task An_ID_without_an_index_was_never_seen()
    {
        // the first shares the page of the index that is never given
        uint[] users = [uint.MaxValue - 256, 3];
        await WriteAsync(users, [100, 101]);
        (await ReadAsync(UserId.Nobody, users[0], UserId.Nobody, users[1])).ShouldBe([Pulse.Never, 100u, Pulse.Never, 101u]);
    }

    [Fact]
    public async Task Reading_makes_no_pages()
    {
        await ReadAsync(People);
        (await _store.PagesAsync(Plane.Pulse)).ShouldBeEmpty();
    }

    [Fact]
    public async Task A_page_holds_its_users_words_in_whole_groups()
    {
        uint[] slots = [0, 63, 64, 1000, PageLayout.Slots - 1];
        foreach (var slot in slots)
        {
            await _store.ExchangeAsync(Plane.Pulse, (slot << 8) | 9, 100 + slot);
            var words = await _store.ReadPageAsync(Plane.Pulse, 9, new uint[PageLayout.Slots]);
            (words.Length % 64).ShouldBe(0);
            for (var i = 0; i < words.Length; i++)
                words.Span[i].ShouldBe(slots.Contains((uint)i) && i <= slot ? 100 + (uint)i : Pulse.Never);
            words.Length.ShouldBeGreaterThan((int)slot);
        }
    }

    [Fact]
    public void Any_order_of_writes_agrees_with_a_naive_model()
    {
        var word = Gen.OneOf(
            Gen.Choose(1, 20).Select(second => (uint)second),
            Gen.Choose(1, 20).Select(second => (uint)second | Pulse.LeftBit),
            Gen.Elements(1u, Pulse.SecondMask - 1, (Pulse.SecondMask - 1) | Pulse.LeftBit));
        var write = from user in Gen.Elements(People) from w in word select (User: user, Word: w);
        // a batch, or the erasure of its first user if Erase is set
        var step = from writes in Gen.NonEmptyListOf(write) from erase in Gen.Choose(0, 9) select (Writes: writes.ToArray(), Erase: erase);
        Check.One(
            Config.QuickThrowOnFailure.WithMaxTest(100),
            Prop.ForAll(Arb.From(Gen.ListOf(step)), steps => AgreesAsync(steps).GetAwaiter().GetResult()));

        async Task AgreesAsync(IEnumerable<((uint User, uint Word)[] Writes, int Erase)> steps)
        {
            await using var store = await CreateAsync();
            var model = new Dictionary<uint, uint>();
            foreach (var (writes, erase) in steps)
            {
                if (erase <= 1)
                {
                    await store.EraseAsync(Plane.Pulse, writes[0].User);
                    model[writes[0].User] = Pulse.Never;
                    continue;
                }

                var expected = new List<uint>();
                foreach (var (user, w) in writes)
                {
                    var old = model.GetValueOrDefault(user);
                    expected.Add(old);
                    if ((w & Pulse.SecondMask) >= (old & Pulse.SecondMask))
                        model[user] = w;
                }

                var olds = new uint[writes.Length];
                await store.ExchangeAsync(Plane.Pulse, writes.Select(x => x.User).ToArray(), writes.Select(x => x.Word).ToArray(), olds);
                olds.ShouldBe(expected);
            }

            var words = new uint[People.Length];
            await store.ReadAsync(Plane.Pulse, People, words);
            words.ShouldBe(People.Select(user => model.GetValueOrDefault(user)));
        }
    }

    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task Of_many_writers_exactly_one_sees_a_user_arrive(bool batched)
    {
        // In each round, all writers send heartbeats of all users in the same second. The writer that gets back the second of the previous
        // round has the arrival.
        const int writers = 4, users = 50, rounds = 50;
        uint[] everybody = [.. Enumerable.Range(0, users).Select(i => (uint)i)];
        for (var second = 1u; second <= rounds; second++)
        {
            var arrivals = new int[users];
            await Task.WhenAll(Enumerable.Range(0, writers).Select(_ => Task.Run(() => WriteAllAsync(second, arrivals))));
            arrivals.ShouldAllBe(count => count == 1, $"second {second}");
        }

        (await ReadAsync(everybody)).ShouldAllBe(word => word == rounds);

        async Task WriteAllAsync(uint second, int[] arrivals)
        {
            var old = new uint[users];
            if (batched)
                old = await WriteAsync(everybody, [.. Enumerable.Repeat(second, users)]);
            for (var i = 0; i < users; i++)
            {
                if (!batched)
                    old[i] = await _store.ExchangeAsync(Plane.Pulse, everybody[i], second);
                if (old[i] < second)
                    Interlocked.Increment(ref arrivals[i]);
            }
        }
    }

    [Fact]
    public async Task Of_many_writers_none_moves_a_word_back()
    {
        const int writers = 4, users = 64, rounds = 200;
        uint[] everybody = [.. Enumerable.Range(0, users).Select(i => (uint)i)];
        var latest = new uint[users];
        var done = false;
        var watcher = Task.Run(WatchAsync);
        await Task.WhenAll(Enumerable.Range(0, writers).Select(writer => Task.Run(() => WriteRoundsAsync(writer))));
        Volatile.Write(ref done, true);
        await watcher;
        (await ReadAsync(everybody)).ShouldBe(latest);

        async Task WriteRoundsAsync(int writer)
        {
            var random = new Random(writer);
            var words = new uint[users];
            for (var round = 1; round <= rounds; round++)
            {
                for (var i = 0; i < users; i++)
                {
                    words[i] = (uint)Math.Max(1, round - random.Next(10));
                    InterlockedMax(ref latest[i], words[i]);
                }

                await WriteAsync(everybody, words);
            }
        }

        async Task WatchAsync()
        {
            var highest = new uint[users];
            while (!Volatile.Read(ref done))
            {
                var now = await ReadAsync(everybody);
                for (var i = 0; i < users && !PutsNewerBack; i++)
                {
                    now[i].ShouldBeGreaterThanOrEqualTo(highest[i]);
                    highest[i] = now[i];
                }
            }
        }

        static void InterlockedMax(ref uint at, uint value)
        {
            for (var seen = Volatile.Read(ref at); seen < value;)
            {
                var found = Interlocked.CompareExchange(ref at, value, seen);
                if (found == seen)
                    return;
                seen = found;
            }
        }
    }

    private async Task<uint[]> ReadAsync(params uint[] users)
    {
        var words = new uint[users.Length];
        await _store.ReadAsync(Plane.Pulse, users, words);
        return words;
    }

    private async Task<uint[]> WriteAsync(uint[] users, uint[] words)
    {
        var old = new uint[users.Length];
        await _store.ExchangeAsync(Plane.Pulse, users, words, old);
        return old;
    }
}
