using System.Numerics;
using System.Runtime.InteropServices;

namespace Aglow.Model;

/// <summary>
/// A set of users, one bit each: 125 MB at a billion.
/// </summary>
/// <remarks>
/// Laid out like planes: 1,020 groups of 64 bits a page, made when first set. Each method that changes bits returns which it changed. So if
/// several threads change the same bit, exactly one of them sees the change.
/// Threading: any thread; bits change by interlocked operations, pages are made under a lock.
/// </remarks>
public unsafe class UserBits : IDisposable
{
    private readonly nint[] _pages = new nint[PageLayout.Pages];
    private readonly Memory _memory;
    private readonly Lock _gate = new();
    private long _count;
    private bool _disposed;

    /// <summary>An empty set.</summary>
    public UserBits() => _memory = new Memory(_pages);

    /// <summary>How many users are in the set.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>Whether this user is in the set.</summary>
    public bool Contains(uint user)
    {
        var group = Find(PageLayout.Page(user));
        return group != null && (Volatile.Read(ref group[PageLayout.Slot(user) >> 6]) & Bit(user)) != 0;
    }

    /// <summary>Adds or removes this user; returns whether that is a change.</summary>
    public bool Set(uint user, bool present)
    {
        var page = PageLayout.Page(user);
        var groups = present ? FindOrMake(page) : Find(page);
        if (groups == null)
            return false;
        return Flip(ref groups[PageLayout.Slot(user) >> 6], Bit(user), present) != 0;
    }

    /// <summary>Adds or removes the users of <paramref name="bits"/> in a group of 64; returns those that changed.</summary>
    public ulong Set(int page, int group, ulong bits, bool present) => Flip(ref FindOrMake(page)[group], bits, present);

    /// <summary>Adds users of a page, in groups of 64 from the first on.</summary>
    internal void Add(int page, ReadOnlySpan<ulong> groups)
    {
        for (var group = 0; group < groups.Length; group++)
        {
            if (groups[group] != 0)
                Set(page, group, groups[group], present: true);
        }
    }

    /// <summary>The 1,020 groups of a page; empty if no user of it was ever in the set.</summary>
    public ReadOnlySpan<ulong> Groups(int page)
    {
        var groups = Find(page);
        return groups == null ? default : new ReadOnlySpan<ulong>(groups, PageLayout.Groups);
    }

    /// <summary>Makes no more pages. The bits are freed when nobody can reach them any more.</summary>
    public void Dispose()
    {
        Dispose(disposing: true);
        GC.SuppressFinalize(this);
    }

    /// <inheritdoc cref="Dispose()"/>
    protected virtual void Dispose(bool disposing)
    {
        lock (_gate)
        {
            _disposed = true;
            GC.KeepAlive(_memory);
        }
    }

    private static ulong Bit(uint user) => 1UL << (PageLayout.Slot(user) & 63);

    private ulong* Find(int page) => (ulong*)Volatile.Read(ref _pages[page]);

    private ulong* FindOrMake(int page)
    {
        var found = Find(page);
        if (found != null)
            return found;
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (_pages[page] == 0)
                Volatile.Write(ref _pages[page], (nint)NativeMemory.AllocZeroed(PageLayout.Groups, sizeof(ulong)));
            return (ulong*)_pages[page];
        }
    }

    private ulong Flip(ref ulong group, ulong bits, bool present)
    {
        var changed = present ? ~Interlocked.Or(ref group, bits) & bits : Interlocked.And(ref group, ~bits) & bits;
        if (changed != 0)
            Interlocked.Add(ref _count, present ? BitOperations.PopCount(changed) : -BitOperations.PopCount(changed));
        return changed;
    }

    // It outlives Dispose: a late heartbeat of a connection must not write to freed memory.
    private sealed class Memory(nint[] pages) : SafeHandle(invalidHandleValue: 0, ownsHandle: true)
    {
        public override bool IsInvalid => false;

        protected override bool ReleaseHandle()
        {
            foreach (var page in pages)
                NativeMemory.Free((void*)page);
            return true;
        }
    }
}
