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
    private const int Kinds = Planes.Count - (int)Plane.Desktop;

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
        uint[] kinds = [];
        try
        {
            var pulses = scratch.AsMemory(0, count);
            var activities = scratch.AsMemory(count, count);
            await store.ReadAsync(Plane.Pulse, users, pulses);
            await store.ReadAsync(Plane.Activity, users, activities);
            if (IsAnyKindInUse())
                kinds = await ReadKindsAsync(users);

            var now = clock.Moment;
            for (var i = 0; i < count; i++)
            {
                var user = users.Span[i];
                var at = clock.Guard.Hold(now, PageLayout.Page(user));
                var words = WordsOf(pulses.Span[i], activities.Span[i], kinds, i, count, definition, at);
                statuses.Span[i] = Presence.Of(words, claims.Of(user, now.Now), definition, at, _awaySeconds);
            }

            metrics.Read(count);
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
            if (kinds.Length > 0)
                ArrayPool<uint>.Shared.Return(kinds);
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

    // Borrows an array from the pool: the words of each kind, one kind after the other.
    private async ValueTask<uint[]> ReadKindsAsync(ReadOnlyMemory<uint> users)
    {
        var kinds = ArrayPool<uint>.Shared.Rent(users.Length * Kinds);
        for (var kind = 0; kind < Kinds; kind++)
        {
            var words = kinds.AsMemory(kind * users.Length, users.Length);
            if (store.IsInUse(Plane.Desktop + (byte)kind))
                await store.ReadAsync(Plane.Desktop + (byte)kind, users, words);
            else
                words.Span.Clear();
        }

        return kinds;
    }

    // The leave of one device shortens the lease on the pulse plane, not on the planes of other kinds. So a kind counts only while the user
    // is online.
    private UserWords WordsOf(uint pulse, uint activity, uint[] kinds, int at, int count, Definition definition, Moment moment)
    {
        var isOnline = kinds.Length > 0 && _chat.IsMet(pulse, Pulse.Never, moment);
        var devices = DeviceKinds.None;
        for (var kind = 0; isOnline && kind < Kinds; kind++)
            devices |= _chat.IsMet(kinds[(kind * count) + at], Pulse.Never, moment) ? (DeviceKinds)(1 << kind) : DeviceKinds.None;
        var deciding = definition.Kind is not { } one ? pulse : isOnline ? kinds[((int)one * count) + at] : Pulse.Never;
        return new UserWords(pulse, deciding, activity, devices);
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
