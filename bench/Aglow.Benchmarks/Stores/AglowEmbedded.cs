using Aglow.Benchmarks.Baselines;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Sweeping;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Benchmarks.Stores;

/// <summary>Aglow's embedded store with all its parts: the journal on disk, the beliefs, the sweep.</summary>
internal sealed class AglowEmbedded(EmbeddedPresence presence, TemporaryFolder folder) : PresenceDesign
{
    public override string Name => "Aglow, embedded";

    public override int Callers => 1;

    /// <summary>Reports users who come online and leave.</summary>
    public Beliefs Beliefs => presence.Presence.Beliefs;

    public static async Task<AglowEmbedded> OpenAsync(TimeSpan lease)
    {
        var folder = new TemporaryFolder();
        var presence = await EmbeddedPresence.OpenAsync(Options(lease, folder.Path), TimeProvider.System, NullLoggerFactory.Instance);
        return new AglowEmbedded(presence, folder);
    }

    public static AglowOptions Options(TimeSpan lease, string folder = "") => new()
    {
        LeaseSeconds = (int)lease.TotalSeconds,
        HeartbeatSeconds = Math.Min(10, (int)lease.TotalSeconds / 2),
        MemoryMegabytes = 1024,
        DataDirectory = folder,
    };

    public override double CpuSeconds() => Cpu.OfThisProcess();

    public override Task FillAsync(uint users) => HeartbeatAllAsync(users, 100_000);

    public override async ValueTask HeartbeatAsync(uint user)
    {
        if (await presence.Presence.HeartbeatAsync(user) != Admission.Accepted)
            throw new BenchmarkException("Aglow refused a heartbeat.");
    }

    public override async ValueTask HeartbeatAsync(ReadOnlyMemory<uint> users)
    {
        if (await presence.Presence.HeartbeatPackedAsync(users) != users.Length)
            throw new BenchmarkException("Aglow refused a heartbeat.");
    }

    public override async ValueTask LeaveAsync(uint user) => await presence.Presence.LeaveAsync((uint[])[user]);

    public override async ValueTask ReadAsync(ReadOnlyMemory<uint> users, Memory<Seen> seen)
    {
        var statuses = System.Buffers.ArrayPool<Presence>.Shared.Rent(users.Length);
        await presence.Presence.Statuses.ReadAsync(users, presence.Presence.Definitions.Default, statuses.AsMemory(0, users.Length));
        for (var i = 0; i < users.Length; i++)
            seen.Span[i] = new Seen(statuses[i].IsOnline, Pulse.ToUnix(statuses[i].LastSeen) ?? 0);
        System.Buffers.ArrayPool<Presence>.Shared.Return(statuses);
    }

    public override Task<long> CountAsync() => Task.FromResult(presence.Registered);

    // the bytes of a whole process with nothing else in it
    public override async Task<long> BytesAsync() =>
        await EngineMemory.ResidentAsync(presence.Registered, presence.Registered, activity: false);

    public override async ValueTask DisposeAsync()
    {
        await presence.DisposeAsync();
        folder.Dispose();
    }
}
