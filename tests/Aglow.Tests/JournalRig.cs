using Aglow.Changes;
using Aglow.Durable;

namespace Aglow.Tests;

/// <summary>
/// A store in its own folder, with a clock that the test advances. The store can be stopped or crashed, and started again.
/// </summary>
internal sealed class JournalRig : IAsyncDisposable
{
    public const uint Lease = 30;

    private JournalRig(string folder, ManualTimeProvider time, bool records)
    {
        Folder = folder;
        Time = time;
        Journal = Journal.Open(PresencePath, new AglowLog(NullLogger.Instance));
        Guard = new StallGuard(20);
        Clock = new Clock(time, Guard, Journal.LastAlive);
        Store = new JournaledPlaneStore(new PageBudget(4096), Journal);
        if (records)
            Changes = EmbeddedChanges.Open(
                PresencePath, new FakeDirectory(), Journal, Store, Clock, new AglowOptions { LeaseSeconds = (int)Lease });
    }

    /// <summary>The feed of changes; null: the rig records none.</summary>
    public EmbeddedChanges? Changes { get; }

    public string Folder { get; }

    public string PresencePath => Path.Combine(Folder, "presence.db");

    public ManualTimeProvider Time { get; }

    public Journal Journal { get; }

    public StallGuard Guard { get; }

    public Clock Clock { get; }

    public MemoryPlaneStore Store { get; }

    public Recovery Recovery { get; private set; } = null!;

    public Definition Online { get; } = new Definitions(new AglowOptions { LeaseSeconds = (int)Lease }).Default;

    public uint Now => Clock.Now;

    /// <summary>Begins with a new folder, or with the folder of an earlier rig.</summary>
    public static JournalRig Begin(string? folder = null, ManualTimeProvider? time = null, bool started = false, bool records = false)
    {
        folder ??= Directory.CreateTempSubdirectory("aglow-tests-").FullName;
        var rig = new JournalRig(folder, time ?? new ManualTimeProvider(), records);
        try
        {
            rig.Recovery = rig.Journal.Load(rig.Store, rig.Clock, Lease);
        }
        catch
        {
            rig.Store.DisposeAsync().AsTask().Wait();
            throw;
        }

        if (rig.Recovery.IsWithinLease)
            rig.Guard.Stalled(rig.Recovery.LastAlive, rig.Now);
        if (started)
            rig.Journal.Start();
        return rig;
    }

    /// <summary>Begins with these users online, and their words committed.</summary>
    public static JournalRig BeginWith(params uint[] users)
    {
        var rig = Begin();
        foreach (var user in users)
            rig.Heartbeat(user);
        rig.Journal.Writer.Commit();
        return rig;
    }

    /// <summary>A heartbeat as <see cref="HeartbeatWriter"/> writes it; returns whether it was an arrival.</summary>
    public bool Heartbeat(uint user)
    {
        var at = Clock.Moment;
        var old = Store.Exchange(Plane.Pulse, user, at.Now);
        if ((Online.IsMet(old, Pulse.Never, at) && old > Store.EarlierRunEnd) || !Pulse.Supersedes(at.Now, old))
            return false;
        Store.Keep(Plane.Pulse, [user]);
        return true;
    }

    public void Leave(uint user)
    {
        Store.Exchange(Plane.Pulse, user, Now | Pulse.LeftBit);
        Store.Keep(Plane.Pulse, [user]);
    }

    /// <summary>One device leaves while another may be alive.</summary>
    public void LeaveDevice(uint user)
    {
        Store.Exchange(Plane.Pulse, user, Now | Pulse.DeviceLeftBit);
        Store.Keep(Plane.Pulse, [user]);
    }

    public void Erase(uint user)
    {
        Store.EraseAsync(Plane.Pulse, user).AsTask().Wait();
        Store.Keep(Plane.Pulse, [user]);
    }

    public uint Word(uint user) => Store.Read(Plane.Pulse, user);

    public bool IsOnline(uint user) => Online.IsMet(Word(user), Pulse.Never, Clock.Moment);

    /// <summary>Lets seconds pass, with the clock's beats.</summary>
    public void Advance(int seconds)
    {
        for (var i = 0; i < seconds; i++)
        {
            Time.Advance(TimeSpan.FromSeconds(1));
            Clock.Beat();
        }
    }

    /// <summary>Shorter lists of what a property does, to find the shortest that fails.</summary>
    public static IEnumerable<T[]> Shorter<T>(T[] steps)
    {
        for (var length = steps.Length / 2; length >= 1; length /= 2)
        {
            for (var from = 0; from + length <= steps.Length; from += length)
                yield return [.. steps[..from], .. steps[(from + length)..]];
        }
    }

    /// <summary>Ends as a crash does, and begins again on the same folder this many seconds later.</summary>
    public async Task<JournalRig> CrashAsync(int downSeconds, bool started = false)
    {
        if (Changes is not null)
            await Changes.DisposeAsync();
        await Journal.AbandonAsync();
        await Store.DisposeAsync();
        Time.Advance(TimeSpan.FromSeconds(downSeconds));
        return Begin(Folder, Time, started, Changes is not null);
    }

    /// <summary>Stops cleanly, and begins again on the same folder this many seconds later.</summary>
    public async Task<JournalRig> RestartAsync(int downSeconds, bool started = false)
    {
        await StopAsync();
        Time.Advance(TimeSpan.FromSeconds(downSeconds));
        return Begin(Folder, Time, started, Changes is not null);
    }

    /// <summary>Stops cleanly, and keeps the folder.</summary>
    public async Task StopAsync()
    {
        if (Changes is not null)
            await Changes.DisposeAsync();
        if (!Journal.IsStarted)
            Journal.Writer.CommitLast();
        await Store.DisposeAsync();
    }

    public async ValueTask DisposeAsync()
    {
        if (Changes is not null)
            await Changes.DisposeAsync();
        await Journal.AbandonAsync();
        await Store.DisposeAsync();
        Directory.Delete(Folder, recursive: true);
    }
}
