using System.Buffers;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Aglow.Storage;

/// <summary>
/// The memory of one plane: pages of 65,280 words in an anonymous mapping. A page is created at its first write.
/// </summary>
/// <remarks>
/// <code>
///   table     page number -> address (66,048 entries, 0 = not made)
///   mapping   | page | page | page | page | page | page | page | page | ...   in the order they were first written,
///             |&lt;--------------- a region: 2 MiB, 8 pages ------------->|   256 KiB apart (255 used)
/// </code>
/// The whole mapping is reserved: 17 GB of address space, which the kernel fills with memory at the first access. Random stores cost 24 to
/// 28 ns on 4 KiB pages, and 15 to 17 ns on huge ones. But huge pages waste memory in a thinly filled region. So a region becomes huge when
/// half of its words are in use.
/// Rejected: a garbage-collected array, because the collector would count gigabytes that it can never free.
/// Threading: lookups are plain reads; creating a page takes a lock. Memory is never moved or given back until the end.
/// </remarks>
internal sealed unsafe partial class NativePages : IDisposable
{
    private const int PageStride = 256 * 1024;
    private const int PagesPerRegion = 8;
    private const int RegionBytes = PageStride * PagesPerRegion;

    private readonly nint[] _table = GC.AllocateArray<nint>(PageLayout.Pages, pinned: true);
    private readonly PageMemory?[] _views = new PageMemory?[PageLayout.Pages];
    // the words of a page up to the last one ever written, rounded up to 64; by the page's place in the mapping
    private readonly int[] _used = new int[PageLayout.Pages];
    private readonly int[] _registeredByRegion = new int[PageLayout.Pages / PagesPerRegion];
    private readonly Lock _gate = new();
    private readonly PageBudget _budget;
    private readonly Mapping _mapping;
    private readonly nint _first;
    private int[] _pages = [];
    private int _made;
    private long _registered;
    private bool _disposed;

    /// <summary>Reserves address space for every possible page. Pages count against <paramref name="budget"/>.</summary>
    public NativePages(PageBudget budget)
    {
        _budget = budget;
        _mapping = new Mapping(unchecked((nuint)(((long)PageLayout.Pages * PageStride) + RegionBytes)));
        _first = (_mapping.At + RegionBytes - 1) / RegionBytes * RegionBytes;
    }

    /// <summary>Page numbers in use, ascending. The array is new after each new page.</summary>
    public int[] Pages => Volatile.Read(ref _pages);

    /// <summary>Words that are not zero: users ever seen on this plane and not erased since.</summary>
    public long Registered => Volatile.Read(ref _registered);

    /// <summary>The address of a page, or null if it was never written.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public uint* Find(int page) => (uint*)Unsafe.Add(ref MemoryMarshal.GetArrayDataReference(_table), page);

    /// <summary>The address of a page, created if necessary; null if the budget has no room.</summary>
    public uint* FindOrMake(int page)
    {
        var found = Find(page);
        return found != null ? found : Make(page);
    }

    /// <summary>A view of a page as memory; empty if it was never written.</summary>
    public ReadOnlyMemory<uint> View(int page) => Volatile.Read(ref _views[page])?.Memory ?? ReadOnlyMemory<uint>.Empty;

    /// <summary>
    /// The view up to the last word ever written, in whole groups of 64 words. The directory gives indexes in order, so at 10 million users
    /// pages are filled to 60 %. A sweep that reads only this part takes 60 % of the time.
    /// </summary>
    public ReadOnlyMemory<uint> UsedView(int page) =>
        Volatile.Read(ref _views[page]) is { } view
            ? view.Memory[..Volatile.Read(ref _used[Place(view.Words)])]
            : ReadOnlyMemory<uint>.Empty;

    /// <summary>
    /// Counts a word's first write, and requests huge pages once its region is well filled. Called once for each user, and again after
    /// <see cref="CountErased"/>.
    /// </summary>
    public void CountRegistered(uint* word)
    {
        Interlocked.Increment(ref _registered);
        RaiseUsed(word);
        var region = (int)(((nint)word - _first) / RegionBytes);
        if (Interlocked.Increment(ref _registeredByRegion[region]) == PagesPerRegion * PageLayout.Slots / 2)
            Linux.MakeHuge(_first + ((nint)region * RegionBytes), RegionBytes);
    }

    /// <summary>Takes an erased word out of the counts.</summary>
    public void CountErased(uint* word)
    {
        Interlocked.Decrement(ref _registered);
        Interlocked.Decrement(ref _registeredByRegion[(int)(((nint)word - _first) / RegionBytes)]);
    }

    /// <summary>Notes that a word was written, for <see cref="UsedView"/>.</summary>
    public void RaiseUsed(uint* word)
    {
        var place = Place(word);
        var upTo = ((int)(word - PageAt(place)) | 63) + 1;
        ref var used = ref _used[place];
        for (var seen = Volatile.Read(ref used); seen < upTo;)
        {
            var found = Interlocked.CompareExchange(ref used, upTo, seen);
            if (found == seen)
                return;
            seen = found;
        }
    }

    /// <summary>
    /// Makes a page's region huge from the first access on. Called before a page that is more than half full is loaded. This saves page
    /// faults and copies: a third of the CPU of loading a billion users.
    /// </summary>
    public void ExpectFilled(int page)
    {
        var region = ((nint)Find(page) - _first) / RegionBytes;
        Linux.AllowHuge(_first + (region * RegionBytes), RegionBytes);
    }

    /// <summary>Counts a page's words after the whole page was loaded.</summary>
    public void CountLoaded(int page, int registered)
    {
        Interlocked.Add(ref _registered, registered);
        var last = View(page).Span.LastIndexOfAnyExcept(Pulse.Never);
        if (last >= 0)
            RaiseUsed(Find(page) + last);
        var region = (int)(((nint)Find(page) - _first) / RegionBytes);
        var after = Interlocked.Add(ref _registeredByRegion[region], registered);
        const int half = PagesPerRegion * PageLayout.Slots / 2;
        if (after >= half && after - registered < half)
            Linux.MakeHuge(_first + ((nint)region * RegionBytes), RegionBytes);
    }

    /// <summary>Gives the memory back, and makes no more pages.</summary>
    public void Dispose()
    {
        lock (_gate)
        {
            if (_disposed)
                return;
            _disposed = true;
            Linux.Empty(_mapping.At, _mapping.Bytes);
        }
    }

    private int Place(uint* word) => (int)(((nint)word - _first) / PageStride);

    private uint* PageAt(int place) => (uint*)(_first + ((nint)place * PageStride));

    private uint* Make(int page)
    {
        lock (_gate)
        {
            ObjectDisposedException.ThrowIf(_disposed, this);
            if (Find(page) != null)
                return Find(page);
            if (!_budget.TryTake())
                return null;
            var address = (nint)PageAt(_made++);
            _views[page] = new PageMemory((uint*)address);
            var at = ~Array.BinarySearch(_pages, page);
            var pages = new int[_pages.Length + 1];
            _pages.AsSpan(0, at).CopyTo(pages);
            pages[at] = page;
            _pages.AsSpan(at).CopyTo(pages.AsSpan(at + 1));
            Volatile.Write(ref _pages, pages);
            Volatile.Write(ref _table[page], address);
            return (uint*)address;
        }
    }

    private sealed class PageMemory(uint* words) : MemoryManager<uint>
    {
        public uint* Words => words;

        public override Memory<uint> Memory => CreateMemory(PageLayout.Slots);

        public override Span<uint> GetSpan() => new(words, PageLayout.Slots);

        public override MemoryHandle Pin(int elementIndex = 0) => new(words + elementIndex);

        public override void Unpin()
        {
        }

        protected override void Dispose(bool disposing)
        {
        }
    }

    // The address space. It outlives Dispose: a late heartbeat of a connection must not crash the process.
    private sealed class Mapping : SafeHandleZeroOrMinusOneIsInvalid
    {
        public Mapping(nuint bytes)
            : base(ownsHandle: true)
        {
            Bytes = bytes;
            SetHandle(Linux.Map(bytes));
        }

        public nint At => handle;

        public nuint Bytes { get; }

        protected override bool ReleaseHandle()
        {
            Linux.Unmap(handle, Bytes);
            return true;
        }
    }

    // The system calls. Systems other than Linux use plain zeroed memory, which they also commit lazily.
    private static partial class Linux
    {
        private const int ProtRead = 1, ProtWrite = 2, MapPrivate = 2, MapAnonymous = 0x20, MapNoReserve = 0x4000;
        private const int AdviseRelease = 4, AdviseHuge = 14, AdviseNoHuge = 15, AdviseCollapse = 25;

        public static nint Map(nuint bytes)
        {
            if (!OperatingSystem.IsLinux())
                return (nint)NativeMemory.AllocZeroed(bytes);
            var at = mmap(0, bytes, ProtRead | ProtWrite, MapPrivate | MapAnonymous | MapNoReserve, -1, 0);
            if (at == -1)
                throw new InsufficientMemoryException(
                    $"Address space for a plane ({bytes >> 30} GiB, reserved, not used) was refused: check ulimit -v and "
                        + "vm.overcommit_memory.");
            _ = madvise(at, bytes, AdviseNoHuge);
            return at;
        }

        public static void AllowHuge(nint at, nuint bytes)
        {
            if (OperatingSystem.IsLinux())
                _ = madvise(at, bytes, AdviseHuge);
        }

        public static void MakeHuge(nint at, nuint bytes)
        {
            if (!OperatingSystem.IsLinux())
                return;
            // best effort: without huge pages in the kernel, small ones work
            _ = madvise(at, bytes, AdviseHuge);
            _ = madvise(at, bytes, AdviseCollapse);
        }

        public static void Empty(nint at, nuint bytes)
        {
            if (OperatingSystem.IsLinux())
                _ = madvise(at, bytes, AdviseRelease);
        }

        public static void Unmap(nint at, nuint bytes)
        {
            if (OperatingSystem.IsLinux())
                _ = munmap(at, bytes);
            else
                NativeMemory.Free((void*)at);
        }

        [LibraryImport("libc", SetLastError = true)]
        private static partial nint mmap(nint address, nuint length, int protection, int flags, int descriptor, nint offset);

        [LibraryImport("libc", SetLastError = true)]
        private static partial int madvise(nint address, nuint length, int advice);

        [LibraryImport("libc", SetLastError = true)]
        private static partial int munmap(nint address, nuint length);
    }
}

/// <summary>
/// The limit of pages (255 KiB each) over all planes. Without it, scattered user IDs could use up the memory, one page each. When it is
/// used up, users on existing pages still work and others get 507.
/// </summary>
public sealed class PageBudget
{
    private int _taken;

    /// <summary>A budget of <paramref name="pages"/> pages.</summary>
    public PageBudget(int pages) => Pages = pages;

    /// <summary>The budget of <see cref="AglowOptions.MemoryMegabytes"/>, or of half of the memory that this process may use.</summary>
    public static PageBudget Of(AglowOptions options)
    {
        var megabytes = options.MemoryMegabytes > 0
            ? options.MemoryMegabytes
            : GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 2 >> 20;
        return new PageBudget((int)Math.Clamp(megabytes * 4, 256, Planes.Count * PageLayout.Pages));
    }

    /// <summary>The budget.</summary>
    public int Pages { get; }

    /// <summary>Pages taken so far.</summary>
    public int Taken => Volatile.Read(ref _taken);

    /// <summary>Takes one page; false if none is left.</summary>
    public bool TryTake()
    {
        if (Interlocked.Increment(ref _taken) <= Pages)
            return true;
        Interlocked.Decrement(ref _taken);
        return false;
    }
}
