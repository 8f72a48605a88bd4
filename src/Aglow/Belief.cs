using System.Numerics;
using System.Runtime.InteropServices;

namespace Aglow;

/// <summary>
/// What this node believes: one bit a user, for one definition. 125 MB at a billion users.
/// </summary>
/// <remarks>
/// Stands between those who hear (hints from the <see cref="ITransitionBus"/>, pages from the <see cref="Sweep"/>) and those who tell
/// watchers. A bit that flips is a transition, and whoever flips it, and nobody else, tells of it: each method returns whether
/// (or which bits) it changed. Beliefs may be wrong for as long as a sweep takes; what decides is a read of the store.
/// Laid out as the planes are: 1,020 groups of 64 bits a page, made when first set.
/// Threading: any thread; bits change by interlocked operations, pages are made under a lock.
/// </remarks>
public sealed unsafe class Belief : IDisposable
{
    private readonly nint[] _pages = new nint[PageLayout.Pages];
    private readonly Lock _gate = new();
    private long _online;
    private bool _disposed;

    /// <summary>No one is believed online.</summary>
    public Belief(Definition definition) => Definition = definition;

    /// <summary>What "online" means here.</summary>
    public Definition Definition { get; }

    /// <summary>How many users are believed online.</summary>
    public long Online => Volatile.Read(ref _online);

    /// <summary>Whether this user is believed online.</summary>
    public bool Contains(uint user)
    {
        var group = Find(PageLayout.Page(user));
        return group != null && (Volatile.Read(ref group[PageLayout.Slot(user) >> 6]) & Bit(user)) != 0;
    }

    /// <summary>Believes this user online, or offline; returns whether that is a change.</summary>
    public bool Set(uint user, bool online)
    {
        var page = PageLayout.Page(user);
        var groups = online ? FindOrMake(page) : Find(page);
        if (groups == null)
            return false;
        return Flip(ref groups[PageLayout.Slot(user) >> 6], Bit(user), online) != 0;
    }

    /// <summary>Believes the users of <paramref name="bits"/> in a group of 64 online, or offline; returns those that changed.</summary>
    public ulong Set(int page, int group, ulong bits, bool online) => Flip(ref FindOrMake(page)[group], bits, online);

    /// <summary>The 1,020 groups of a page; empty where nobody on it was ever believed online.</summary>
    public ReadOnlySpan<ulong> Groups(int page)
    {
        var groups = Find(page);
        return groups == null ? default : new ReadOnlySpan<ulong>(groups, PageLayout.Groups);
    }

    /// <summary>Frees the bits. Nobody may be using this any more.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            foreach (var page in _pages)
                NativeMemory.Free((void*)page);
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

    private ulong Flip(ref ulong group, ulong bits, bool online)
    {
        var changed = online ? ~Interlocked.Or(ref group, bits) & bits : Interlocked.And(ref group, ~bits) & bits;
        if (changed != 0)
            Interlocked.Add(ref _online, online ? BitOperations.PopCount(changed) : -BitOperations.PopCount(changed));
        return changed;
    }
}
