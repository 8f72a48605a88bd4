using Aglow.Heartbeats;
using Aglow.Users;

namespace Aglow.Demo;

/// <summary>
/// <c>--demo N</c>: named users who come online, are busy or away, leave or vanish, so that a new deployment is not empty. Off by default.
/// </summary>
/// <remarks>
/// <code>
///   DemoScript (who does what now) ─► DemoLoop (each second) ─► HeartbeatWriter ─► DemoPlaneStore.Words ─► sweep and watchers as usual
/// </code>
/// Readers see them like other users, but they exist only in memory: names in <see cref="DemoDirectory"/>, words in
/// <see cref="DemoPlaneStore"/>. The demo has its own <see cref="HeartbeatWriter"/>; the one for all other heartbeats refuses their
/// indexes. One loop serves all of them.
/// </remarks>
internal sealed class DemoLoop(AglowOptions options, DemoPeople people, DemoPlaneStore store, DemoDirectory directory) : IAsyncDisposable
{
    // a fixed seed: a demo runs as it was rehearsed
    private const int Seed = 20_200_101;

    private static readonly TimeSpan Beat = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;

    /// <summary>The store to use instead of the one behind it; disposing it disposes that one.</summary>
    public DemoPlaneStore Store { get; } = store;

    /// <summary>The directory to use instead of the one behind it; disposing it disposes that one.</summary>
    public DemoDirectory Directory { get; } = directory;

    /// <summary>Puts the demo's people in front of a store and a directory. A name that a real user has stays that user's.</summary>
    public static async Task<DemoLoop> PrepareAsync(
        AglowOptions options, MemoryPlaneStore store, IUserDirectory directory, TimeProvider time)
    {
        string[] names = [.. DemoPeople.Names(options.DemoPeople)];
        var numbers = new uint[names.Length];
        await directory.FindIndexesAsync(names, numbers);
        var taken = names.Where((_, i) => numbers[i] != 0).ToHashSet(StringComparer.Ordinal);
        var people = new DemoPeople(names.Length, taken);
        return new DemoLoop(
            options, people, new DemoPlaneStore(store), new DemoDirectory(directory, people, time.GetUtcNow().ToUnixTimeSeconds()));
    }

    /// <summary>Starts the demo. The service must be started and use <see cref="Store"/> and <see cref="Directory"/>.
    /// <paramref name="choose"/> sets the status that a person chooses.</summary>
    public void Start(
        ITransitionBus bus,
        Clock clock,
        Definitions definitions,
        Claims claims,
        Func<uint, ClaimStatus, ValueTask<Presence>> choose,
        AglowMetrics metrics,
        AglowLog log)
    {
        log.DemoIsOn(people.All.Count);
        // a writer that accepts their indexes and writes only to memory; its heartbeats count in the metrics
        var anyNumber = new AglowOptions { MaxUserNumber = UserId.Nobody - 1, AwaySeconds = options.AwaySeconds };
        var heartbeats = new HeartbeatWriter(Store.Words, bus, clock, definitions, anyNumber, metrics);
        var script = new DemoScript(people.All.Count, Seed, clock.Now);
        _loop = Task.Run(async () =>
        {
            await using (heartbeats)
            {
                foreach (var person in people.All)
                    await heartbeats.WriteLateAsync(person.Number, script.SeenBefore(clock.Now));
                await BeatAsync();
                await BackgroundLoop.RunAsync("demo", Beat, clock.Time, log, BeatAsync, _stop.Token);
            }
        });

        ValueTask BeatAsync() => this.BeatAsync(heartbeats, script, claims, choose, clock.Now);
    }

    /// <summary>Stops the loop. The people's leases then expire.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private async ValueTask BeatAsync(
        HeartbeatWriter heartbeats, DemoScript script, Claims claims, Func<uint, ClaimStatus, ValueTask<Presence>> choose, uint now)
    {
        List<(int Person, DemoDeed Deed)> deeds = [];
        script.Until(now, deeds);
        List<uint> arriving = [], leaving = [], beating = [];
        foreach (var (person, deed) in deeds)
        {
            var number = people.All[person].Number;
            if (deed == DemoDeed.Come)
                arriving.Add(number);
            else if (deed == DemoDeed.Leave)
                leaving.Add(number);
        }

        // each person has a second of their own
        for (var i = 0; i < people.All.Count; i++)
        {
            if (script.IsHere(i) && (now + i) % options.HeartbeatSeconds == 0)
                beating.Add(people.All[i].Number);
        }

        await heartbeats.WriteAsync(beating.ToArray(), active: false, durable: false);
        await heartbeats.WriteAsync(arriving.ToArray(), active: true, durable: false);
        await heartbeats.LeaveAsync(leaving.ToArray());
        foreach (var (person, deed) in deeds)
        {
            if (Chosen(deed) is { } kind && claims.ChosenBy(people.All[person].Number, now) != kind)
                await choose(people.All[person].Number, kind);
        }
    }

    // a person who vanishes keeps their chosen status
    private static ClaimStatus? Chosen(DemoDeed deed) => deed switch
    {
        DemoDeed.ChooseBusy => ClaimStatus.Busy,
        DemoDeed.ChooseAway => ClaimStatus.Away,
        DemoDeed.Vanish => null,
        _ => ClaimStatus.Auto,
    };
}
