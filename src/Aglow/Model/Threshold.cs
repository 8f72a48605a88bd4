using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.Intrinsics;

namespace Aglow.Model;

/// <summary>
/// Computes <see cref="Definition.IsMet"/> for 64 words at a time.
/// </summary>
/// <remarks>
/// The leave bit makes a word negative as a signed number. So if a leave counts, "not left and not too old" is one signed compare. A word
/// with the device-left bit always passes that compare. For such words a second compare, with the bit flipped, applies the shorter limit.
/// Plain words pass the second compare because the flip sets their bit.
/// </remarks>
internal readonly struct Threshold
{
    private readonly int _pulse;
    private readonly int _deviceLeft;
    private readonly int _activity;
    private readonly int _mask;

    public Threshold(Definition definition, Moment at)
    {
        _pulse = (int)at.Oldest(definition.PulseSeconds) - 1;
        _deviceLeft = definition.EndedByLeave ? (int)at.Oldest(definition.DeviceLeftSeconds) - 1 : 0;
        _activity = (int)at.Oldest(definition.ActivitySeconds ?? 0) - 1;
        _mask = definition.EndedByLeave ? -1 : (int)Pulse.SecondMask;
        NeedsActivity = definition.ActivitySeconds is not null;
    }

    private Threshold(uint oldest) => (_pulse, _deviceLeft, _mask) = ((int)oldest - 1, (int)Pulse.SecondMask, -1);

    public bool NeedsActivity { get; }

    /// <summary>Matches heartbeats of this second or later. Matches no leave, not even of one device.</summary>
    public static Threshold Heartbeats(uint oldest) => new(oldest);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong PulseBits(ref uint words) => PulseBits(ref words, _pulse, _deviceLeft, _mask);

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public ulong ActivityBits(ref uint words) => Bits(ref words, _activity, (int)Pulse.SecondMask);

    /// <summary>Which of 64 words have a later second than this one.</summary>
    public static ulong LaterThan(uint second, ref uint words) => Bits(ref words, (int)second, (int)Pulse.SecondMask);

    /// <summary>The result for these users of a group only.</summary>
    public ulong BitsOf(ulong users, int group, ReadOnlySpan<uint> pulse, ReadOnlySpan<uint> activity)
    {
        var met = 0UL;
        for (var left = users; left != 0; left &= left - 1)
        {
            var slot = (group * 64) + BitOperations.TrailingZeroCount(left);
            if (slot < pulse.Length
                && ((int)pulse[slot] & _mask) is var word
                && word > _pulse
                && (word ^ DeviceLeft) > _deviceLeft
                && (!NeedsActivity || IsActive(slot, activity)))
                met |= left & (0 - left);
        }

        return met;
    }

    private const int DeviceLeft = (int)Pulse.DeviceLeftBit;

    private bool IsActive(int slot, ReadOnlySpan<uint> activity) =>
        slot < activity.Length && ((int)activity[slot] & (int)Pulse.SecondMask) > _activity;

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

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private static ulong PulseBits(ref uint words, int above, int deviceLeftAbove, int mask)
    {
        ref var at = ref Unsafe.As<uint, int>(ref words);
        var bits = 0UL;
        if (Vector512.IsHardwareAccelerated)
        {
            var (limit, deviceLeft, bit, keep) = (
                Vector512.Create(above), Vector512.Create(deviceLeftAbove), Vector512.Create(DeviceLeft), Vector512.Create(mask));
            for (var i = 0; i < 4; i++)
            {
                var word = Vector512.LoadUnsafe(ref at, (nuint)(i * 16)) & keep;
                bits |= (Vector512.GreaterThan(word, limit) & Vector512.GreaterThan(word ^ bit, deviceLeft))
                    .ExtractMostSignificantBits() << (i * 16);
            }

            return bits;
        }

        var (limits, devicesLeft, theBit, keeps) = (
            Vector256.Create(above), Vector256.Create(deviceLeftAbove), Vector256.Create(DeviceLeft), Vector256.Create(mask));
        for (var i = 0; i < 8; i++)
        {
            var word = Vector256.LoadUnsafe(ref at, (nuint)(i * 8)) & keeps;
            ulong eight = (Vector256.GreaterThan(word, limits) & Vector256.GreaterThan(word ^ theBit, devicesLeft))
                .ExtractMostSignificantBits();
            bits |= eight << (i * 8);
        }

        return bits;
    }
}
