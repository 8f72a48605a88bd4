using System.Buffers;
using Aglow.Users;

namespace Aglow.Queries;

/// <summary>
/// Reads statuses: takes words from the <see cref="IPlaneStore"/> and applies a definition.
/// </summary>
/// <remarks>
/// Answers always come from the store, never from a belief. Planes of device kinds are read only if a device ever named one.
/// Threading: any thread, no state. Batches borrow arrays from the shared pool.
/// </remarks>
/// <param name="store">The words.</param>
/// <param name="claims">All claims.</param>
/// <param name="clock">Store time.</param>
/// <param name="options">The lease, and when users are away.</param>
/// <param name="metrics">Counts statuses.</param>
public sealed class StatusReader(IPlaneStore store, Claims claims, Clock clock, AglowOptions options, AglowMetrics metrics)
{
    private readonly Definition _chat = new Definitions(options).Default;
    private readonly uint _awaySeconds = (uint)options.AwaySeconds;

    /// <summary>
    /// Reads the statuses of these users under a definition, in the same order. A user never seen is offline, even without an index.
    /// </summary>
    /// <exception cref="StoreUnavailableException">The words cannot be read now, so no status is known.</exception>
    public async ValueTask ReadAsync(ReadOnlyMemory<uint> users, Definition definition, Memory<Presence> statuses)
    {
        using var span = AglowTraces.Within("read words");
        var count = users.Length;
        var scratch = ArrayPool<uint>.Shared.Rent(Math.Max(1, count * 2));
        try
        {
            var pulses = scratch.AsMemory(0, count);
            var activities = scratch.AsMemory(count, count);
            await store.ReadAsync(Plane.Pulse, users, pulses);
            await store.ReadAsync(Plane.Activity, users, activities);
            if (!IsAnyKindInUse())
            {
                var now = clock.Moment;
                for (var i = 0; i < count; i++)
                {
                    var user = users.Span[i];
                    var at = clock.Guard.Hold(now, PageLayout.Page(user));
                    var words = new UserWords(
                        pulses.Span[i], definition.Kind is null ? pulses.Span[i] : Pulse.Never, activities.Span[i], DeviceKinds.None);
                    statuses.Span[i] = Presence.Of(words, claims.Of(user, now.Now), definition, at, _awaySeconds);
                }
            }
            else
            {
                await ReadKindsAsync(users, pulses, activities, definition, statuses);
            }

            metrics.Read(count);
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    /// <summary>
    /// Reads packed statuses: bit 31 = online under the definition, bits 0..30 = last seen, seconds since 2020 (0 = never).
    /// <paramref name="packed"/> may be the memory of <paramref name="users"/> itself.
    /// </summary>
    public async ValueTask ReadPackedAsync(ReadOnlyMemory<uint> users, Definition definition, Memory<uint> packed)
    {
        using var span = AglowTraces.Within("read words");
        var count = users.Length;
        var scratch = ArrayPool<uint>.Shared.Rent(Math.Max(1, count * 2));
        try
        {
            var pulses = scratch.AsMemory(0, count);
            var activities = scratch.AsMemory(count, count);
            await store.ReadAsync(Plane.Pulse, users, pulses);
            if (definition.ActivitySeconds is not null)
                await store.ReadAsync(Plane.Activity, users, activities);
            else
                activities.Span.Clear();
            var deciding = definition.Kind is null ? pulses : new uint[count];
            if (definition.Kind is not null)
                await store.ReadAsync(definition.Plane, users, deciding);
            Pack(users.Span, pulses.Span, deciding.Span, activities.Span, definition, packed.Span);
            metrics.Read(count);
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    private bool IsAnyKindInUse()
    {
        foreach (var plane in Planes.OfKinds)
        {
            if (store.IsInUse(plane))
                return true;
        }

        return false;
    }

    // Also reads the words of every kind in use.
    private async ValueTask ReadKindsAsync(
        ReadOnlyMemory<uint> users,
        ReadOnlyMemory<uint> pulses,
        ReadOnlyMemory<uint> activities,
        Definition definition,
        Memory<Presence> statuses)
    {
        const int Kinds = Planes.Count - (int)Plane.Desktop;
        var count = users.Length;
        var scratch = ArrayPool<uint>.Shared.Rent(count * Kinds);
        try
        {
            for (var kind = 0; kind < Kinds; kind++)
            {
                var words = scratch.AsMemory(kind * count, count);
                if (store.IsInUse(Plane.Desktop + (byte)kind))
                    await store.ReadAsync(Plane.Desktop + (byte)kind, users, words);
                else
                    words.Span.Clear();
            }

            var now = clock.Moment;
            for (var i = 0; i < count; i++)
            {
                var user = users.Span[i];
                var at = clock.Guard.Hold(now, PageLayout.Page(user));
                // The leave of one device shortens the lease on the pulse plane, not on the planes of other kinds. So a kind counts only
                // while the user is online.
                var isOnline = _chat.IsMet(pulses.Span[i], Pulse.Never, at);
                var devices = DeviceKinds.None;
                for (var kind = 0; isOnline && kind < Kinds; kind++)
                    devices |= _chat.IsMet(scratch[(kind * count) + i], Pulse.Never, at) ? (DeviceKinds)(1 << kind) : DeviceKinds.None;
                var deciding = definition.Kind is not { } one ? pulses.Span[i] : isOnline ? scratch[((int)one * count) + i] : Pulse.Never;
                statuses.Span[i] = Presence.Of(
                    new UserWords(pulses.Span[i], deciding, activities.Span[i], devices),
                    claims.Of(user, now.Now),
                    definition,
                    at,
                    _awaySeconds);
            }
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }

    private void Pack(
        ReadOnlySpan<uint> users,
        ReadOnlySpan<uint> pulses,
        ReadOnlySpan<uint> deciding,
        ReadOnlySpan<uint> activities,
        Definition definition,
        Span<uint> packed)
    {
        var now = clock.Moment;
        var anyHidden = !claims.IsNobodyHidden;
        for (var i = 0; i < users.Length; i++)
        {
            var at = clock.Guard.Hold(now, PageLayout.Page(users[i]));
            if (anyHidden && claims.Of(users[i], now.Now) is { Status: ClaimStatus.Hidden } hidden)
            {
                var shown = Presence.Of(
                    new UserWords(pulses[i], deciding[i], activities[i], DeviceKinds.None), hidden, definition, at, _awaySeconds);
                packed[i] = shown.LastSeen | (shown.IsOnline ? 1u << 31 : 0);
            }
            else
            {
                var isMet = definition.IsMet(deciding[i], activities[i], at)
                    && (definition.Kind is null || _chat.IsMet(pulses[i], Pulse.Never, at));
                packed[i] = Math.Min(Pulse.Second(pulses[i]), at.Now) | (isMet ? 1u << 31 : 0);
            }
        }
    }
}
