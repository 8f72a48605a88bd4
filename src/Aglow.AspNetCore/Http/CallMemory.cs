using System.Buffers;
using System.Runtime.CompilerServices;

namespace Aglow.AspNetCore.Http;

/// <summary>
/// The arrays of bodies and answers, borrowed from a pool. All large ones together have a budget. Beyond it a call gets 503 and may be sent
/// again, because calls that take or give lists may run twice. The unfinished messages of sockets count, too.
/// </summary>
/// <remarks>
/// A call of ten thousand users has an answer of a megabyte, and a slow reader keeps it: without a budget, a thousand of them keep a
/// gigabyte. Small calls, such as heartbeats and questions about a few users, are never refused. There is one budget for the process, as
/// there is one array pool. Threading: any thread, no lock.
/// </remarks>
/// <param name="most">Bytes in large arrays at a time.</param>
internal sealed class CallMemory(long most)
{
    /// <summary>Smaller arrays do not count: answers of some hundred users.</summary>
    public const int Small = 64 * 1024;

    private const long AtLeast = 64 << 20;

    private long _taken;

    /// <summary>The budget of the process: a sixteenth of the memory that it may have, at least 64 MB.</summary>
    public static CallMemory Shared { get; } = new(Math.Max(AtLeast, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 16));

    /// <summary>The most bytes.</summary>
    public long Most => most;

    /// <summary>Bytes in large arrays and in unfinished messages now.</summary>
    public long Taken => Volatile.Read(ref _taken);

    /// <summary>Borrows an array of at least this many elements; its contents are undefined.</summary>
    /// <exception cref="ProblemException">It would exceed the budget (503).</exception>
    public T[] Rent<T>(int length)
        where T : unmanaged
    {
        // counts the request before the array is made, and its true length afterwards
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

    /// <summary>Borrows an array at least twice as large, copies the first elements, and returns the smaller array.</summary>
    public void Grow<T>(ref T[] array, int used, int atLeast)
        where T : unmanaged
    {
        var larger = Rent<T>(Math.Max(atLeast, array.Length * 2));
        array.AsSpan(0, used).CopyTo(larger);
        Return(array);
        array = larger;
    }

    /// <summary>Counts bytes that are kept elsewhere, of any size; false if they would exceed the budget.</summary>
    public bool TryCount(long bytes)
    {
        if (Taken + bytes > most)
            return false;
        Interlocked.Add(ref _taken, bytes);
        return true;
    }

    /// <summary>Bytes that were counted are no longer kept.</summary>
    public void Uncount(long bytes) => Interlocked.Add(ref _taken, -bytes);

    private static long Bytes<T>(int length) => (long)length * Unsafe.SizeOf<T>();
}
