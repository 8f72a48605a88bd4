using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Aglow.Model;

/// <summary>
/// <see cref="Definition.IsMet"/> for 64 words at a time. A goodbye's bit makes a word negative as a signed number, so that where it
/// counts, "not left and not too old" is one signed compare.
/// </summary>
internal readonly struct Threshold(Definition definition, Moment at)
{
    private readonly int _pulse = (int)at.Oldest(definition.PulseSeconds) - 1;
    private readonly int _activity = (int)at.Oldest(definition.ActivitySeconds ?? 0) - 1;
    private readonly int _mask = definition.EndedByLeave ? -1 : (int)Pulse.SecondMask;

    public bool NeedsActivity { get; } = definition.ActivitySeconds is not null;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong PulseBits(ref uint words) => Bits(ref words, _pulse, _mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong ActivityBits(ref uint words) => Bits(ref words, _activity, (int)Pulse.SecondMask);

    /// <summary>Which of 64 words are of a second later than this one.</summary>
    public static ulong LaterThan(uint second, ref uint words) => Bits(ref words, (int)second, (int)Pulse.SecondMask);

    /// <summary>The same for these users of a group alone.</summary>
    public ulong BitsOf(ulong users, int group, ReadOnlySpan<uint> pulse, ReadOnlySpan<uint> activity)
    {
        var met = 0UL;
        for (var left = users; left != 0; left &= left - 1)
        {
            var slot = (group * 64) + BitOperations.TrailingZeroCount(left);
            if (slot < pulse.Length && (int)pulse[slot] is var word && (word & _mask) > _pulse && (!NeedsActivity || IsActive(slot, activity)))
                met |= left & (0 - left);
        }

        return met;
    }

    private bool IsActive(int slot, ReadOnlySpan<uint> activity) => slot < activity.Length && ((int)activity[slot] & (int)Pulse.SecondMask) > _activity;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong Bits(ref uint words, int above, int mask)
    {
        ref var at = ref Unsafe.As<uint, int>(ref words);
        if (Vector512.IsHardwareAccelerated)
        {
            var limit = Vector512.Create(above);
            var keep = Vector512.Create(mask);
            return Vector512.GreaterThan(Vector512.LoadUnsafe(ref at) & keep, limit).ExtractMostSignificantBits()
                | (Vector512.GreaterThan(Vector512.LoadUnsafe(ref at, 16) & keep, limit).ExtractMostSignificantBits() << 16)
                | (Vector512.GreaterThan(Vector512.LoadUnsafe(ref at, 32) & keep, limit).ExtractMostSignificantBits() << 32)
                | (Vector512.GreaterThan(Vector512.LoadUnsafe(ref at, 48) & keep, limit).ExtractMostSignificantBits() << 48);
        }

        var bits = 0UL;
        var limits = Vector256.Create(above);
        var keeps = Vector256.Create(mask);
        for (var i = 0; i < 8; i++)
        {
            ulong eight = Vector256.GreaterThan(Vector256.LoadUnsafe(ref at, (nuint)(i * 8)) & keeps, limits).ExtractMostSignificantBits();
            bits |= eight << (i * 8);
        }

        return bits;
    }
}
