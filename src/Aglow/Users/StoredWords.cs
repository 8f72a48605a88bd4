using Aglow.Heartbeats;

namespace Aglow.Users;

/// <summary>The words of a user whose claims or account change: what they showed last, and their erasure.</summary>
/// <remarks>Threading: any thread.</remarks>
internal sealed class StoredWords(IPlaneStore store, HeartbeatWriter heartbeats, Clock clock, Definition online, Action<uint>? note)
{
    public ValueTask<uint> ReadPulseAsync(uint user) => store.ReadOneAsync(Plane.Pulse, user);

    /// <summary>The last seen to show of a user who hides now.</summary>
    public async ValueTask<uint> ShownLastSeenAsync(uint user)
    {
        var pulse = await ReadPulseAsync(user);
        var at = clock.Moment;
        return online.IsMet(pulse, Pulse.Never, at) ? at.Now : Pulse.Second(pulse);
    }

    /// <summary>Records a new status in the feed. Each acknowledged status is a change of its own, like an arrival.</summary>
    public async ValueTask RecordAsync(uint user)
    {
        if (note is null)
            return;
        note(user);
        try
        {
            await store.KeptAsync();
        }
        catch (StoreUnavailableException)
        {
            // the directory has the status; the feed records it when writes work again
        }
    }

    public async ValueTask EraseAsync(uint user)
    {
        heartbeats.Renewals?.Forget([user]);
        for (var plane = Plane.Pulse; plane <= Plane.Other; plane++)
        {
            if (!store.IsInUse(plane))
                continue;
            await store.EraseAsync(plane, user);
            store.Keep(plane, [user]);
        }
    }
}
