using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

public class KeyCacheTests
{
    [Fact]
    public void An_id_is_known_by_its_whole_text()
    {
        var cache = new KeyCache(100);
        cache.TryGet("alice"u8, out _).ShouldBeFalse();
        cache.Add("alice"u8, 7);
        cache.Add("alic"u8, 8);
        cache.TryGet("alice"u8, out var number).ShouldBeTrue();
        number.ShouldBe(7u);
        cache.Add("alice"u8, 9);
        cache.TryGet("alice"u8, out number).ShouldBeTrue();
        number.ShouldBe(9u);
        cache.TryGet("alic"u8, out number).ShouldBeTrue();
        number.ShouldBe(8u);
    }

    [Fact]
    public void A_full_cache_holds_no_more_than_its_capacity_and_keeps_those_who_are_looked_up()
    {
        var cache = new KeyCache(1000);
        for (uint i = 0; i < 10_000; i++)
        {
            cache.Add(Key(i), i);
            cache.TryGet(Key(3), out var number).ShouldBe(i >= 3);
            number.ShouldBe(i >= 3 ? 3u : 0u);
        }

        cache.Count.ShouldBeInRange(500, 1000);
        Enumerable.Range(9_600, 400).Count(i => cache.TryGet(Key((uint)i), out _)).ShouldBe(400);
        cache.TryGet(Key(5_000), out _).ShouldBeFalse();
    }

    [Fact]
    public void A_uuid_costs_well_under_120_bytes_with_its_word()
    {
        const int Keys = 300_000;
        var cache = new KeyCache(Keys * 2);
        Span<byte> key = stackalloc byte[36];
        var random = new Random(5);
        var bytes = new byte[16];
        for (uint i = 0; i < Keys; i++)
        {
            random.NextBytes(bytes);
            new Guid(bytes).TryFormat(key, out _);
            cache.Add(key, i);
        }

        (((double)cache.Bytes / Keys) + sizeof(uint)).ShouldBeLessThan(80);
    }

    [Fact]
    public void A_lookup_makes_no_garbage()
    {
        var cache = new KeyCache(100);
        cache.Add("alice"u8, 7);
        cache.TryGet("alice"u8, out _);
        cache.TryGet("bob"u8, out _);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            cache.TryGet("alice"u8, out _);
            cache.TryGet("bob"u8, out _);
        }

        (GC.GetAllocatedBytesForCurrentThread() - before).ShouldBe(0);
    }

    [Fact]
    public void Agrees_with_a_dictionary()
    {
        // few IDs, so that operations often use the same one; kind 0: look up, else add
        var operation = Gen.Choose(0, 3)
            .SelectMany(kind => Gen.Choose(0, 40).SelectMany(key => Gen.Choose(0, 5).Select(number => (kind, key, number))));
        Prop.ForAll(
            operation.ListOf().ToArbitrary(),
            operations =>
            {
                var cache = new KeyCache(10_000);
                var model = new Dictionary<int, uint>();
                foreach (var (kind, key, number) in operations)
                {
                    if (kind > 0)
                    {
                        cache.Add(Key((uint)key), (uint)number);
                        model[key] = (uint)number;
                    }

                    for (var k = 0; k <= 40; k++)
                    {
                        if (cache.TryGet(Key((uint)k), out var found) != model.TryGetValue(k, out var expected) || found != expected)
                            return false;
                    }
                }

                return true;
            }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public void A_small_cache_forgets_but_never_lies()
    {
        var operation = Gen.Choose(0, 4).SelectMany(kind => Gen.Choose(0, 40).Select(key => (kind, key)));
        Prop.ForAll(
            operation.ListOf().ToArbitrary(),
            operations =>
            {
                var cache = new KeyCache(16);
                var model = new Dictionary<int, uint>();
                uint next = 1;
                foreach (var (kind, key) in operations)
                {
                    if (kind > 2)
                    {
                        cache.Add(Key((uint)key), next);
                        model[key] = next++;
                        if (!cache.TryGet(Key((uint)key), out _))
                            return false;
                    }

                    if (cache.TryGet(Key((uint)key), out var found) && (!model.TryGetValue(key, out var expected) || found != expected))
                        return false;
                }

                return true;
            }).QuickCheckThrowOnFailure();
    }

    [Fact]
    public async Task Readers_see_whole_entries_while_ids_are_added()
    {
        const uint Keys = 200_000;
        var cache = new KeyCache(60_000);
        var done = 0;
        var readers = Enumerable.Range(0, 2).Select(seed => Task.Run(() =>
        {
            var random = new Random(seed);
            var hits = 0;
            while (Volatile.Read(ref done) == 0 || hits == 0)
            {
                var key = (uint)random.Next((int)Keys);
                if (!cache.TryGet(Key(key), out var number))
                    continue;
                hits++;
                number.ShouldBe(key * 3);
            }
        })).ToArray();
        for (uint i = 0; i < Keys; i++)
            cache.Add(Key(i), i * 3);

        Volatile.Write(ref done, 1);
        await Task.WhenAll(readers);
    }

    // keys of different lengths with common prefixes
    private static byte[] Key(uint i) => Encoding.UTF8.GetBytes($"key-{new string('x', (int)(i % 7))}-{i}");
}
