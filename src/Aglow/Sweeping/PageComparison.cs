using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using System.Runtime.Intrinsics.X86;
using Aglow.Heartbeats;

namespace Aglow.Sweeping;

/// <summary>Compares the words of a page with a belief, 64 users at a time, and corrects the users who differ.</summary>
/// <remarks>
/// The <see cref="Sweep"/> reads the pages and passes them here. Words may change meanwhile; each is read whole. The sweep's loop owns it.
/// </remarks>
internal sealed class PageComparison(IPlaneStore store, Clock clock, Beliefs beliefs)
{
    /// <summary>With at most this many believed users, a group is checked word by word. A whole group takes four cache lines.</summary>
    public const int Few = 4;

    // groups to prefetch, so that cache misses of distant groups overlap
    private const int Ahead = 8;

    private readonly uint[] _came = new uint[PageLayout.Slots];
    private readonly uint[] _went = new uint[PageLayout.Slots];

    /// <summary>Users whose expired lease was found.</summary>
    public long Lapses { get; private set; }

    /// <summary>
    /// Compares the words of these groups with the believed bits, and corrects the belief. Returns what the corrections cost: this part of
    /// the cost does not come again with the next pass.
    /// </summary>
    public TimeSpan Compare(
        Belief belief,
        int page,
        ReadOnlySpan<ushort> groups,
        ReadOnlySpan<uint> pulse,
        ReadOnlySpan<uint> activity,
        ReadOnlySpan<ulong> believed,
        Moment at,
        bool full)
    {
        var rule = new Threshold(belief.Definition, at);
        int came = 0, went = 0;
        var correcting = TimeSpan.Zero;
        ref var pulses = ref MemoryMarshal.GetReference(pulse);
        ref var activities = ref MemoryMarshal.GetReference(activity);
        for (var i = 0; i < groups.Length; i++)
        {
            if (i + Ahead < groups.Length && groups[i + Ahead] * 64 < pulse.Length)
                Prefetch(ref Unsafe.Add(ref pulses, groups[i + Ahead] * 64), full ? ulong.MaxValue : believed[groups[i + Ahead]]);
            var group = (int)groups[i];
            var truth = 0UL;
            if (!full && BitOperations.PopCount(believed[group]) <= Few)
            {
                truth = rule.BitsOf(believed[group], group, pulse, activity);
            }
            else if (group * 64 < pulse.Length)
            {
                truth = rule.PulseBits(ref Unsafe.Add(ref pulses, group * 64));
                if (rule.NeedsActivity && truth != 0)
                    truth = group * 64 < activity.Length ? truth & rule.ActivityBits(ref Unsafe.Add(ref activities, group * 64)) : 0;
            }

            var differ = truth ^ believed[group];
            if (differ == 0)
                continue;
            var beganAt = clock.Time.GetTimestamp();
            Correct(belief, page, group, differ, pulse, activity, at, ref came, ref went);
            correcting += clock.Time.GetElapsedTime(beganAt);
        }

        if (came + went == 0)
            return TimeSpan.Zero;
        var reportedFrom = clock.Time.GetTimestamp();
        Report(belief, came, went);
        return correcting + clock.Time.GetElapsedTime(reportedFrom);
    }

    private void Report(Belief belief, int came, int went)
    {
        if (belief == beliefs.Default)
            beliefs.CountSwept(came, went);
        if (went > 0)
        {
            if (belief == beliefs.Default)
            {
                Lapses += went;
                store.Keep(Plane.Pulse, _went.AsSpan(0, went));
            }

            beliefs.Report(belief.Definition, TransitionKind.Lapsed, _went.AsSpan(0, went));
        }

        if (came > 0)
        {
            if (belief == beliefs.Default)
                store.Keep(Plane.Pulse, _came.AsSpan(0, came));
            beliefs.Report(belief.Definition, TransitionKind.Arrived, _came.AsSpan(0, came));
        }
    }

    // Prefetches the cache lines of a group's words that will be read: those of a few users, or all four.
    private static unsafe void Prefetch(ref uint words, ulong users)
    {
        if (!Sse.IsSupported)
            return;
        var at = (uint*)Unsafe.AsPointer(ref words);
        if (BitOperations.PopCount(users) <= Few)
        {
            for (; users != 0; users &= users - 1)
                Sse.Prefetch0(at + BitOperations.TrailingZeroCount(users));
            return;
        }

        Sse.Prefetch0(at);
        Sse.Prefetch0(at + 16);
        Sse.Prefetch0(at + 32);
        Sse.Prefetch0(at + 48);
    }

    // Rare. For each user who differs, this reads the word again after it read the belief. It reads the word once more after it changed the
    // belief: a heartbeat in between wrote its word first and then found that its hint changed nothing.
    private void Correct(
        Belief belief,
        int page,
        int group,
        ulong differ,
        ReadOnlySpan<uint> pulse,
        ReadOnlySpan<uint> activity,
        Moment at,
        ref int came,
        ref int went)
    {
        for (; differ != 0; differ &= differ - 1)
        {
            var slot = (group * 64) + BitOperations.TrailingZeroCount(differ);
            var bit = differ & (0 - differ);
            var online = IsMet(belief.Definition, pulse, activity, slot, at);
            if (belief.Set(page, group, bit, online) == 0)
                continue;
            if (IsMet(belief.Definition, pulse, activity, slot, at) != online)
                belief.Set(page, group, bit, !online);
            else if (online)
                _came[came++] = PageLayout.User(page, slot);
            else
                _went[went++] = PageLayout.User(page, slot);
        }
    }

    private static bool IsMet(Definition definition, ReadOnlySpan<uint> pulse, ReadOnlySpan<uint> activity, int slot, Moment at) =>
        definition.IsMet(
            slot < pulse.Length ? Volatile.Read(in pulse[slot]) : Pulse.Never,
            slot < activity.Length ? Volatile.Read(in activity[slot]) : Pulse.Never,
            at);
}
