using System.Buffers.Binary;
using System.Numerics;

namespace Aglow.Users;

/// <summary>
/// SipHash-2-4 (Aumasson and Bernstein, 2012): a hash with a secret key, so that attackers cannot choose names that collide. Unlike
/// <see cref="HashCode"/>, it is the same in all processes.
/// </summary>
internal readonly struct SipHash(ulong key0, ulong key1)
{
    /// <summary>Creates the hash from 16 secret bytes.</summary>
    public SipHash(ReadOnlySpan<byte> key)
        : this(BinaryPrimitives.ReadUInt64LittleEndian(key), BinaryPrimitives.ReadUInt64LittleEndian(key[8..]))
    {
    }

    public ulong Hash(ReadOnlySpan<byte> bytes)
    {
        var a = key0 ^ 0x736F6D6570736575;
        var b = key1 ^ 0x646F72616E646F6D;
        var c = key0 ^ 0x6C7967656E657261;
        var d = key1 ^ 0x7465646279746573;
        var last = (ulong)bytes.Length << 56;

        while (bytes.Length >= 8)
        {
            Absorb(BinaryPrimitives.ReadUInt64LittleEndian(bytes), ref a, ref b, ref c, ref d);
            bytes = bytes[8..];
        }

        for (var i = 0; i < bytes.Length; i++)
            last |= (ulong)bytes[i] << (8 * i);
        Absorb(last, ref a, ref b, ref c, ref d);

        c ^= 0xFF;
        for (var i = 0; i < 4; i++)
            Round(ref a, ref b, ref c, ref d);
        return a ^ b ^ c ^ d;
    }

    private static void Absorb(ulong word, ref ulong a, ref ulong b, ref ulong c, ref ulong d)
    {
        d ^= word;
        Round(ref a, ref b, ref c, ref d);
        Round(ref a, ref b, ref c, ref d);
        a ^= word;
    }

    private static void Round(ref ulong a, ref ulong b, ref ulong c, ref ulong d)
    {
        a += b;
        b = BitOperations.RotateLeft(b, 13) ^ a;
        a = BitOperations.RotateLeft(a, 32);
        c += d;
        d = BitOperations.RotateLeft(d, 16) ^ c;
        a += d;
        d = BitOperations.RotateLeft(d, 21) ^ a;
        c += b;
        b = BitOperations.RotateLeft(b, 17) ^ c;
        c = BitOperations.RotateLeft(c, 32);
    }
}
