using System.Buffers;
using System.Runtime.CompilerServices;

namespace Aglow.AspNetCore.Http;

/// <summary>
/// The arrays that bodies and answers are in: borrowed, as any, but all large ones together within a budget. Beyond it a call is answered 503, and may be sent again: calls that take or give lists do nothing more the second time.
/// What sockets keep of messages that are not whole is counted in it, too.
/// </summary>
/// <remarks>
/// A call of ten thousand users has an answer of a megabyte, and a slow reader keeps it: without a budget, a thousand of them keep a
/// gigabyte. Small calls, such as heartbeats and questions about a few users, are never refused. There is one budget for the process, as
/// there is one array pool. Threading: any thread, no lock.
/// </remarks>
/// <param name="most">Bytes in large arrays at a time.</param>
internal sealed class CallMemory(long most)
{
    /// <summary>What is not larger is not counted: answers of some hundred users.</summary>
    public const int Small = 64 * 1024;

    private const long AtLeast = 64 << 20;

    private long _taken;

    /// <summary>The process's: a sixteenth of the memory that it may have, 64 MB at least.</summary>
    public static CallMemory Shared { get; } = new(Math.Max(AtLeast, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 16));

    /// <summary>Bytes there may be.</summary>
    public long Most => most;

    /// <summary>Bytes in large arrays, and in messages that are not whole, now.</summary>
    public long Taken => Volatile.Read(ref _taken);

    /// <summary>Borrows an array of so many elements, or some more; what is in it is not said.</summary>
    /// <exception cref="ProblemException">It would be more than there may be (503).</exception>
    public T[] Rent<T>(int length)
        where T : unmanaged
    {
        // before it is made, by what was asked for; when it is there, by what it is
        if (Bytes<T>(length) > Small && Taken + Bytes<T>(length) > most)
            throw Problems.TooBusy();
        var array = ArrayPool<T>.Shared.Rent(length);
        if (Bytes<T>(array.Length) > Small)
            Interlocked.Add(ref _taken, Bytes<T>(array.Length));
        return array;
    }

    /// <summary>Gives a borrowed array back.</summary>
    public void Return<T>(T[] array)
        where T : unmanaged
    {
        if (Bytes<T>(array.Length) > Small)
            Interlocked.Add(ref _taken, -Bytes<T>(array.Length));
        ArrayPool<T>.Shared.Return(array);
    }

    /// <summary>Borrows a larger array, twice as large at least, takes over what is in the first elements, and gives the smaller one back.</summary>
    public void Grow<T>(ref T[] array, int used, int atLeast)
        where T : unmanaged
    {
        var larger = Rent<T>(Math.Max(atLeast, array.Length * 2));
        array.AsSpan(0, used).CopyTo(larger);
        Return(array);
        array = larger;
    }

    /// <summary>Counts bytes that are kept elsewhere, whatever their size; false where it would be more than there may be.</summary>
    public bool TryCount(long bytes)
    {
        if (Taken + bytes > most)
            return false;
        Interlocked.Add(ref _taken, bytes);
        return true;
    }

    /// <summary>What was counted is kept no more.</summary>
    public void Uncount(long bytes) => Interlocked.Add(ref _taken, -bytes);

    private static long Bytes<T>(int length) => (long)length * Unsafe.SizeOf<T>();
}
