using System.Buffers;

namespace Aglow.Heartbeats;

/// <summary>Writes leaves, of whole users and of single devices. They complete when they are durable.</summary>
/// <remarks>Threading: any thread, no lock.</remarks>
internal sealed class LeaveWriter(
    IPlaneStore store,
    ITransitionBus bus,
    Clock clock,
    Definition online,
    AheadWords ahead,
    RenewalLoop? renewals,
    RecentDevices? devices,
    AglowMetrics metrics)
{
    /// <summary>Makes these users leave now. Users who are offline do not change. Returns how many left.</summary>
    /// <exception cref="StoreUnavailableException">
    /// Not every leave could be written. Those that were are published. The caller may send all again.
    /// </exception>
    public async ValueTask<int> LeaveAsync(ReadOnlyMemory<uint> users, bool everywhere = true, Plane? kind = null)
    {
        if (users.IsEmpty)
            return 0;
        var scratch = ArrayPool<uint>.Shared.Rent(users.Length * 3);
        try
        {
            var old = scratch.AsMemory(0, users.Length);
            await store.ReadAsync(Plane.Pulse, users, old);
            var at = clock.Moment;
            var leaving = scratch.AsMemory(users.Length, users.Length);
            var count = 0;
            for (var i = 0; i < users.Length; i++)
            {
                if (online.IsMet(old.Span[i], Pulse.Never, at))
                    leaving.Span[count++] = users.Span[i];
            }

            var failure = await TryLeaveKindsAsync(users, at, kind);
            if (count > 0)
                count = await LeaveOnlineAsync(leaving[..count], scratch.AsMemory(users.Length * 2, count), old[..count], at, everywhere);
            if (failure is not null)
                throw failure;
            // even if nothing changed: an earlier leave of these users may not be durable yet
            await store.KeptAsync();
            await store.ReplicatedAsync(users, isLeave: true);
            return count;
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    /// <summary>Makes one device of a user leave now; see <see cref="HeartbeatWriter"/>.</summary>
    public async ValueTask LeaveAsync(uint user, Device device, IReadOnlyList<Device> others, bool mayReturn = false)
    {
        var at = clock.Moment;
        uint[] one = [user];
        var plane = device.Kind is { } kind ? Planes.Of(kind) : (Plane?)null;
        if (others.Count == 0 && !mayReturn && !clock.Guard.IsInForceAnywhere(at) && devices?.IsOnly(user, device, at.Now) == true)
        {
            await LeaveAsync(one, everywhere: false, plane);
            return;
        }

        var leave = at.Now | Pulse.DeviceLeftBit;
        var isKindLeft = plane is not null && !others.Any(other => other.Kind == device.Kind);
        if (isKindLeft)
            await LeaveKindsAsync(one, leave, at, plane);
        var isLeft = others.Count == 0 && online.IsMet(await store.ReadOneAsync(Plane.Pulse, user), Pulse.Never, at);
        if (isLeft)
        {
            renewals?.OfPulse.Forget(one);
            var old = await store.ExchangeAsync(Plane.Pulse, user, leave);
            // all devices left in the meantime, so put that leave back
            if (Pulse.Left(old) && Pulse.Second(old) == at.Now)
                await store.ExchangeAsync(Plane.Pulse, user, old);
            if (AheadWords.IsAhead(old, at))
                await ahead.ReplaceAsync(Plane.Pulse, one, leave, at);
            store.Keep(Plane.Pulse, one);
            metrics.Left(HasLeft(old, at) ? 1 : 0);
        }

        if (isLeft || isKindLeft)
            bus.Publish(TransitionKind.DeviceLeft, one);
        await store.KeptAsync();
        await store.ReplicatedAsync(one, isLeave: true);
    }

    // Writes leaves of users who are online, and publishes them. Returns how many left; they are moved to the front.
    private async ValueTask<int> LeaveOnlineAsync(
        Memory<uint> leaving, Memory<uint> words, Memory<uint> old, Moment at, bool everywhere)
    {
        words.Span.Fill(at.Now | Pulse.LeftBit);
        // waiting renewals of these users are older than the leave
        renewals?.Forget(leaving.Span);
        try
        {
            await store.ExchangeAsync(Plane.Pulse, leaving, words, old);
            if (AheadWords.MayBeAmong(old.Span, at))
                await ahead.ReplaceAsync(Plane.Pulse, leaving, at.Now | Pulse.LeftBit, at);
        }
        catch (StoreUnavailableException)
        {
            // publish the users who were written now, because a retry finds them offline and publishes nothing
            foreach (ref var word in old.Span)
                word = AheadWords.IsAhead(word, at) ? Pulse.Refused : word;
            Publish(leaving.Span, old.Span, at, everywhere);
            throw;
        }

        return Publish(leaving.Span, old.Span, at, everywhere);
    }

    private int Publish(Span<uint> users, ReadOnlySpan<uint> old, Moment at, bool everywhere)
    {
        store.Keep(Plane.Pulse, users);
        var left = users[..MoveLeftToFront(users, old, at)];
        if (left.IsEmpty)
            return 0;
        if (everywhere)
            bus.Publish(TransitionKind.LeftEverywhere, left);
        bus.Publish(TransitionKind.Left, left);
        metrics.Left(left.Length);
        return left.Length;
    }

    // Whether a leave at this moment that returned this old word made its user leave. It did not if a heartbeat of a later second came
    // first, or another leave.
    private static bool HasLeft(uint old, Moment at) =>
        AheadWords.IsAhead(old, at) || (!Pulse.Left(old) && Pulse.Supersedes(at.Now, old));

    // Moves the users who left to the front; returns how many did.
    private static int MoveLeftToFront(Span<uint> users, ReadOnlySpan<uint> old, Moment at)
    {
        var count = 0;
        for (var i = 0; i < users.Length; i++)
        {
            if (HasLeft(old[i], at))
                users[count++] = users[i];
        }

        return count;
    }

    // The failure, if not all kinds could be written. It does not keep users of other pages from leaving.
    private async ValueTask<StoreUnavailableException?> TryLeaveKindsAsync(ReadOnlyMemory<uint> users, Moment at, Plane? only)
    {
        try
        {
            await LeaveKindsAsync(users, at.Now | Pulse.LeftBit, at, only);
            return null;
        }
        catch (StoreUnavailableException failure)
        {
            return failure;
        }
    }

    // Writes leaves on the planes of kinds. Words of users who are not online on a kind do not change.
    private async ValueTask LeaveKindsAsync(ReadOnlyMemory<uint> users, uint leave, Moment at, Plane? only = null)
    {
        for (var plane = Plane.Desktop; plane <= Plane.Other; plane++)
        {
            if (!store.IsInUse(plane) || (only is { } one && one != plane))
                continue;
            renewals?.OfKind(plane).Forget(users.Span);
            var old = new uint[users.Length];
            await store.ReadAsync(plane, users, old);
            uint[] leaving = [.. users.ToArray().Where((_, i) => online.IsMet(old[i], Pulse.Never, at))];
            if (leaving.Length == 0)
                continue;
            var words = new uint[leaving.Length];
            words.AsSpan().Fill(leave);
            await store.ExchangeAsync(plane, leaving, words, old.AsMemory(0, leaving.Length));
            if (AheadWords.MayBeAmong(old.AsSpan(0, leaving.Length), at))
                await ahead.ReplaceAsync(plane, leaving, leave, at);
        }
    }
}
