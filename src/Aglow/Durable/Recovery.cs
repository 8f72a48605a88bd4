using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Sweeping;
using Aglow.Watching;
using Plane = Aglow.Model.Plane;

namespace Aglow.Durable;

/// <summary>
/// A start: page images, then the rows of the journal that are newer than each page's image, and what follows from how the last run ended.
/// </summary>
/// <remarks>
/// The words say when each user was last seen as of their last transition; heartbeats in between were not journalled. So beside the words a bit a
/// user is replayed: online, unless the last word of them was a goodbye (of one device, too: whoever is heard after it is journalled) or older than the <c>oldest</c> of its row (a lapse; the sweep has every
/// lapse journalled). After a crash, those still online who were heard in the run that crashed are last seen at the last second the node is known to
/// have been alive; the first word of everyone in a run is journalled, so a node that crashes again and again does not carry those along
/// who have long been gone (200 kills in a row found that). After a clean stop
/// words are exact. A start within the lease leaves them online (the caller holds their lapses back, see <see cref="StallGuard"/>); after a longer
/// one they are offline, and a row of the journal says so, or a second crash would take them for online until then.
/// Nothing that is loaded is later than now. Where the file ends at a later second than this start, the clock was set back since: words of seconds that
/// have not come yet are moved back by as much, so that the end of the last run is now. They are journalled anew (<see cref="TakenBack"/>).
/// Images are read by as many threads as there are processors, rows by one.
/// </remarks>
public sealed class Recovery
{
    private readonly PresenceFile _file;
    private readonly MemoryPlaneStore _store;
    private readonly Checkpoint _checkpoint;
    private readonly ulong[]?[] _online = new ulong[PageLayout.Pages][];
    private readonly Lock _gate = new();
    // the latest second that a row or an image says it was written at, as far as their oldest tells
    private uint _writtenAt;
    private readonly int[][] _registered = [new int[PageLayout.Pages], new int[PageLayout.Pages]];

    private Recovery(PresenceFile file, MemoryPlaneStore store, Checkpoint checkpoint, uint now)
    {
        _file = file;
        _store = store;
        _checkpoint = checkpoint;
        At = now;
    }

    /// <summary>The second of this start.</summary>
    public uint At { get; }

    /// <summary>The last second at which the node is known to have been alive before; 0: never.</summary>
    public uint LastAlive => _file.LastAlive;

    /// <summary>Whether the last run stopped in order, so that words are exact.</summary>
    public bool WasClean { get; private init; }

    /// <summary>
    /// Whether the node was away for no longer than the lease. Then nobody shall lapse for it: report <see cref="LastAlive"/> to
    /// <see cref="At"/> as a stall.
    /// </summary>
    public bool IsWithinLease { get; private set; }

    /// <summary>Users online: those who were at the end of the last run, where it ended within the lease; else none.</summary>
    public long Online { get; private set; }

    /// <summary>Users ever seen.</summary>
    public long Registered { get; private set; }

    /// <summary>Rows of the journal that were replayed.</summary>
    public long Rows { get; private set; }

    /// <summary>What the journal weighs: bytes of its rows.</summary>
    internal long JournalBytes { get; private set; }

    /// <summary>The position of the journal's last row.</summary>
    internal long Position { get; private set; }

    /// <summary>How long it took.</summary>
    public TimeSpan Took { get; private set; }

    /// <summary>The second that users online at a crash were raised to; 0 after a clean stop.</summary>
    internal uint RaisedTo { get; private set; }

    /// <summary>Users whose words of a plane were later than this start, and are to be journalled as they are now.</summary>
    internal List<uint>[] TakenBack { get; } = [[], []];

    /// <summary>Pages with users who were online at the end of the last run.</summary>
    internal List<int> PagesOnline { get; } = [];

    /// <summary>Who was online at the end of the last run, as far as its journal says: a page, and its bits in groups of 64.</summary>
    internal IEnumerable<(int Page, ulong[] Groups)> LastOnline => PagesOnline.Select(page => (page, _online[page]!));

    /// <summary>Notes this start in the file, in one transaction, with a row where it changed words; returns the position of the journal's last row.</summary>
    internal long NoteStart(uint now)
    {
        var everyoneWentOffline = !IsWithinLease && PagesOnline.Count > 0;
        var wordsWereRaised = IsWithinLease && RaisedTo != 0 && PagesOnline.Count > 0;
        var ended = Math.Min(LastAlive, now);
        var isNoted = everyoneWentOffline || wordsWereRaised;
        _file.Write(() =>
        {
            if (isNoted)
                _file.Append(Position + 1, everyoneWentOffline ? RowKind.Resumed : RowKind.Continued, now, now, [_file.State.Since, RaisedTo]);
            _file.WriteState(_file.State with { Tick = now, IsClean = false, Since = ended });
        });
        if (!isNoted)
            return Position;
        foreach (var page in PagesOnline)
            _checkpoint.Touched(Plane.Pulse, page, Position + 1);
        return Position + 1;
    }

    /// <summary>Believes online who is: so that whoever of them lapses is found by the sweep, and journalled.</summary>
    public void Seed(Belief belief)
    {
        foreach (var page in IsWithinLease ? PagesOnline : [])
        {
            for (var group = 0; group < PageLayout.Groups; group++)
            {
                if (_online[page]![group] != 0)
                    belief.Set(page, group, _online[page]![group], present: true);
            }
        }
    }

    internal static Recovery Run(PresenceFile file, MemoryPlaneStore store, Checkpoint checkpoint, uint now, uint leaseSeconds)
    {
        var started = Stopwatch.GetTimestamp();
        var recovery = new Recovery(file, store, checkpoint, now) { WasClean = file.State.IsClean };
        recovery.ReadImages();
        recovery.Position = file.State.Trimmed;
        file.ReadRows(recovery.Replay);
        recovery.Finish(leaseSeconds);
        recovery.Took = Stopwatch.GetElapsedTime(started);
        return recovery;
    }

    private void ReadImages()
    {
        // a lane of 256 pages at a time, so that the threads end together
        var lanes = (from plane in new[] { Plane.Pulse, Plane.Activity } from lane in Enumerable.Range(0, PageLayout.Pages / 256) select (plane, lane)).ToArray();
        var next = -1;
        var images = 0;
        try
        {
            Parallel.For(0, Environment.ProcessorCount, _ =>
            {
                var count = PresenceFile.ReadImages(_file.FilePath, Lanes(), LoadImage);
                Interlocked.Add(ref images, count);
            });
        }
        catch (AggregateException e)
        {
            // the operator needs one line, and which of the threads found it first does not matter
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }

        if (images != _file.State.Images)
            throw DataFolder.Damaged(_file.FilePath, $"{images} page images where {_file.State.Images} were written");

        IEnumerable<(Plane Plane, int First, int End)> Lanes()
        {
            for (var i = Interlocked.Increment(ref next); i < lanes.Length; i = Interlocked.Increment(ref next))
                yield return (lanes[i].plane, lanes[i].lane * 256, (lanes[i].lane + 1) * 256);
        }
    }

    private void LoadImage(Plane plane, int page, long position, uint oldest, ReadOnlySpan<uint> image)
    {
        var words = PageOf(plane, page)[..image.Length];
        var registered = image.Length - image.Count(Pulse.Never);
        if (registered > PageLayout.Slots / 2)
            _store.ExpectFilled(plane, page);
        image.CopyTo(words);
        NoteWritten(oldest);
        _registered[(int)plane][page] = registered;
        _checkpoint.Imaged(plane, page, position);
        if (plane == Plane.Pulse)
            _online[page] = OnlineIn(words, oldest);
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static ulong[]? OnlineIn(ReadOnlySpan<uint> words, uint oldest)
    {
        var rule = Threshold.Heartbeats(oldest);
        ulong[]? online = null;
        for (var group = 0; group < words.Length / 64; group++)
        {
            var bits = rule.PulseBits(ref MemoryMarshal.GetReference(words[(group * 64)..]));
            if (bits != 0)
                (online ??= new ulong[PageLayout.Groups])[group] = bits;
        }

        return online;
    }

    private void Replay(long position, RowKind kind, uint oldest, ReadOnlySpan<uint> entries)
    {
        Rows++;
        Position = position;
        JournalBytes += Journal.Weight(entries.Length / 2);
        if (kind is RowKind.Resumed or RowKind.Continued)
        {
            ReplayStart(position, kind, entries[0], entries[1]);
            return;
        }

        NoteWritten(oldest);
        ReplayWords((Plane)kind, position, oldest, entries);
    }

    // Millions at a start, and a start happens once: compiled for speed at once.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void ReplayWords(Plane plane, long position, uint oldest, ReadOnlySpan<uint> entries)
    {
        var registered = _registered[(int)plane];
        var checkpoint = _checkpoint;
        for (var i = 0; i < entries.Length; i += 2)
        {
            var page = PageLayout.Page(entries[i]);
            checkpoint.Touched(plane, page, position);
            if (position <= checkpoint.ImagedAt(plane, page))
                continue;
            var word = entries[i + 1];
            // the erased word of somebody who never had one: not worth a page
            if (word == Pulse.Never && _store.View(plane, page).IsEmpty)
                continue;
            var slot = PageLayout.Slot(entries[i]);
            ref var at = ref PageOf(plane, page)[slot];
            registered[page] += (word == Pulse.Never ? 0 : 1) - (at == Pulse.Never ? 0 : 1);
            at = word;
            if (plane == Plane.Pulse)
                ReplayOnline(page, slot, Pulse.IsHeartbeatSince(word, oldest));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private void ReplayOnline(int page, int slot, bool isOnline)
    {
        var online = _online[page];
        if (online is null)
        {
            if (!isOnline)
                return;
            _online[page] = online = new ulong[PageLayout.Groups];
        }

        if (isOnline)
            online[slot >> 6] |= 1UL << (slot & 63);
        else
            online[slot >> 6] &= ~(1UL << (slot & 63));
    }

    private void ReplayStart(long position, RowKind kind, uint since, uint raisedTo)
    {
        for (var page = 0; page < PageLayout.Pages; page++)
        {
            if (_online[page] is not { } online || position <= _checkpoint.ImagedAt(Plane.Pulse, page))
                continue;
            Raise(page, online, since, raisedTo);
            if (kind == RowKind.Resumed)
                _online[page] = null;
            _checkpoint.Touched(Plane.Pulse, page, position);
        }
    }

    private void Finish(uint leaseSeconds)
    {
        IsWithinLease = LastAlive != 0 && (LastAlive > At || At - LastAlive <= leaseSeconds);
        RaisedTo = WasClean ? 0 : LastAlive;
        for (var page = 0; page < PageLayout.Pages; page++)
        {
            if (_online[page] is not { } online)
                continue;
            var count = Raise(page, online, _file.State.Since, RaisedTo);
            if (count > 0)
                PagesOnline.Add(page);
            Online += IsWithinLease ? count : 0;
        }

        TakeBack(Math.Max(LastAlive, _writtenAt + leaseSeconds));
        for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
        {
            foreach (var page in _store.Pages(plane))
                _store.CountLoaded(plane, page, _registered[(int)plane][page]);
        }

        Registered = _store.Registered;
    }

    // Users of these bits who were heard since then were last seen at this second, if not later. Returns how many bits there are.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private int Raise(int page, ulong[] online, uint since, uint second)
    {
        var words = PageOf(Plane.Pulse, page);
        var count = 0;
        for (var group = 0; group < online.Length; group++)
        {
            for (var bits = online[group]; bits != 0; bits &= bits - 1)
            {
                ref var word = ref words[(group * 64) + BitOperations.TrailingZeroCount(bits)];
                if (word > since)
                    word = Math.Max(word, second);
                count++;
            }
        }

        return count;
    }

    private void NoteWritten(uint oldest)
    {
        if (oldest <= Volatile.Read(ref _writtenAt))
            return;
        lock (_gate)
            Volatile.Write(ref _writtenAt, Math.Max(_writtenAt, oldest));
    }

    // The file ends at this second. A word may be of the second after: it is read after the clock is.
    private void TakeBack(uint end)
    {
        if (end + Clock.Apart <= At)
            return;
        var ahead = end > At ? end - At : 0;
        for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
        {
            var users = TakenBack[(int)plane];
            Parallel.ForEach(_store.Pages(plane), page => TakeBack(PageOf(plane, page), page, ahead, users));
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private void TakeBack(Span<uint> words, int page, uint ahead, List<uint> users)
    {
        for (var group = 0; group < words.Length / 64; group++)
        {
            for (var bits = Threshold.LaterThan(At, ref words[group * 64]); bits != 0; bits &= bits - 1)
            {
                var slot = (group * 64) + BitOperations.TrailingZeroCount(bits);
                // a moment ahead is a word that was read after the clock was
                words[slot] = Pulse.TakenBack(words[slot], Pulse.Second(words[slot]) > At + Clock.Apart ? ahead : 0, At);
                lock (users)
                    users.Add(PageLayout.User(page, slot));
            }
        }
    }

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    private Span<uint> PageOf(Plane plane, int page)
    {
        var words = _store.PageForLoading(plane, page);
        return !words.IsEmpty ? words : throw OverBudget();
    }

    private DataFolderException OverBudget() => new(
        $"{_file.FilePath} holds more users than memory was allowed for ({_store.Budget.Pages / 4} MiB): allow more with --memory-megabytes; nothing was changed.");
}
