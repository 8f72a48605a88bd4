using System.Buffers;
using System.Runtime.CompilerServices;
using Aglow.Diagnostics;

namespace Aglow.AspNetCore.Http;

/// <summary>
/// Lends the arrays of bodies and answers from a pool. A budget limits all large arrays together, with the unfinished messages of sockets.
/// Beyond it a call gets 503.
/// </summary>
/// <remarks>
/// The answer to a call with ten thousand users has a megabyte, which a slow reader holds. Without a budget, a thousand such readers hold a
/// gigabyte. A refused call may be sent again, because calls that take or return lists may run twice. Small calls, such as heartbeats and
/// queries about a few users, are never refused. The process has one budget, as it has one array pool. Threading: any thread, no lock.
/// </remarks>
internal sealed class CallMemory(long most)
{
    /// <summary>Arrays up to this size do not count: answers with a few hundred users.</summary>
    public const int Small = 64 * 1024;

    private const long AtLeast = 64 << 20;

    private long _taken;

    /// <summary>The budget of the process: a sixteenth of the memory that it may use, at least 64 MB.</summary>
    public static CallMemory Shared { get; } = new(Math.Max(AtLeast, GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 16));

    /// <summary>Bytes in large arrays and in unfinished messages now.</summary>
    public long Taken => Volatile.Read(ref _taken);

    public void AddTo(AglowMetrics metrics)
    {
        metrics.Gauge(
            "aglow.calls.bytes",
            "Memory of bodies and answers of large calls that are under way, and of socket messages that are not whole.",
            () => Taken);
        metrics.Gauge(
            "aglow.calls.bytes.budget",
            "How much of it there may be; beyond it large calls are answered 503, and such sockets are closed.",
            () => most);
    }

    /// <summary>Borrows an array of at least this many elements; its contents are undefined.</summary>
    /// <exception cref="ProblemException">It would exceed the budget (503).</exception>
    public T[] Rent<T>(int length)
        where T : unmanaged
    {
        // checks the requested length before the array is borrowed, and counts its true length afterwards
        if (Bytes<T>(length) > Small && Taken + Bytes<T>(length) > most)
            throw Problems.TooBusy();
        var array = ArrayPool<T>.Shared.Rent(length);
        if (Bytes<T>(array.Length) > Small)
            Interlocked.Add(ref _taken, Bytes<T>(array.Length));
        return array;
    }

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

    /// <summary>Counts bytes that are held elsewhere, of any size; false if they would exceed the budget.</summary>
    public bool TryCount(long bytes)
    {
        if (Taken + bytes > most)
            return false;
        Interlocked.Add(ref _taken, bytes);
        return true;
    }

    /// <summary>Ends the count of bytes that are no longer held.</summary>
    public void Uncount(long bytes) => Interlocked.Add(ref _taken, -bytes);

    private static long Bytes<T>(int length) => (long)length * Unsafe.SizeOf<T>();
}
