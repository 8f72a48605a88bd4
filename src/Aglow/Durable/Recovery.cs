using System.Diagnostics;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Aglow.Sqlite;

namespace Aglow.Durable;

/// <summary>
/// Restores the store at a start. It loads the page images, replays the rows of the journal that are newer than each image, and then
/// corrects the words for the way the last run ended.
/// </summary>
/// <remarks>
/// A word holds the last seen of a user's last transition, because renewals are not journalled. So a bit for each user is replayed beside
/// the words: whether the user was online at the end of the last run. A user was offline if the last word is a leave (of one device as
/// well, because a heartbeat after it is journalled), or is older than the <c>oldest</c> of its row. The sweep queues every user whose
/// lease expires, so such a row exists.
/// <para>After a clean stop the words are exact. After a crash, users who were online and were heard in the crashed run count as last seen
/// when the node was last known to be alive. The first word of each user in a run is journalled. So repeated crashes do not keep users
/// online who left long ago (a test with 200 kills in a row found that).</para>
/// <para>If the node was down for no longer than the lease, these users stay online, and the caller delays their expiry
/// (<see cref="StallGuard"/>). After a longer time they are offline, and a row in the journal notes it. Without that row, the start after a
/// second crash would count them as online until that crash.</para>
/// <para>No loaded word is later than now. If the file ends at a later second than this start, the clock was set back in between. Then
/// words of future seconds are moved back by the same difference, and are journalled again (<see cref="TakenBack"/>).</para>
/// Threading: one thread for each processor reads images, one thread replays rows.
/// </remarks>
internal sealed class Recovery
{
    private readonly PresenceFile _file;
    private readonly MemoryPlaneStore _store;
    private readonly Checkpoint _checkpoint;
    private readonly ulong[]?[] _online = new ulong[PageLayout.Pages][];
    private readonly Lock _gate = new();
    // the latest "oldest" of all rows and images: a lower bound of the last second that was written
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

    /// <summary>The last second before this start at which the node is known to have been alive; 0: never.</summary>
    public uint LastAlive => _file.LastAlive;

    /// <summary>Whether the last run stopped cleanly, so that words are exact.</summary>
    public bool WasClean { get; private init; }

    /// <summary>
    /// Whether the node was down for no longer than the lease. Then no user may expire because of that, so the caller must report a stall
    /// from <see cref="LastAlive"/> to <see cref="At"/>.
    /// </summary>
    public bool IsWithinLease { get; private set; }

    /// <summary>The number of users who are online: those of the end of the last run, if it ended within the lease; else 0.</summary>
    public long Online { get; private set; }

    /// <summary>The number of users who were ever seen.</summary>
    public long Registered { get; private set; }

    /// <summary>The number of rows that were replayed.</summary>
    public long Rows { get; private set; }

    /// <summary>The size of the journal in bytes, as <see cref="JournalRows.Weight"/> counts it.</summary>
    internal long JournalBytes { get; private set; }

    /// <summary>The position of the journal's last row.</summary>
    internal long Position { get; private set; }

    public TimeSpan Took { get; private set; }

    /// <summary>The second that became the last seen of users who were online at a crash; 0 after a clean stop.</summary>
    internal uint RaisedTo { get; private set; }

    /// <summary>For each plane, the users whose words were later than this start. Their changed words must be journalled.</summary>
    internal List<uint>[] TakenBack { get; } = [[], []];

    /// <summary>The pages with users who were online at the end of the last run.</summary>
    internal List<int> PagesOnline { get; } = [];

    /// <summary>
    /// The users who were online at the end of the last run according to the journal: a page, and its bits in groups of 64.
    /// </summary>
    internal IEnumerable<(int Page, ulong[] Groups)> LastOnline => PagesOnline.Select(page => (page, _online[page]!));

    /// <summary>
    /// Notes this start in the file in one transaction, with a row if users went offline or words were raised. Returns the position of the
    /// journal's last row.
    /// </summary>
    internal long NoteStart(uint now)
    {
        var everyoneWentOffline = !IsWithinLease && PagesOnline.Count > 0;
        var wordsWereRaised = IsWithinLease && RaisedTo != 0 && PagesOnline.Count > 0;
        var ended = Math.Min(LastAlive, now);
        var isNoted = everyoneWentOffline || wordsWereRaised;
        _file.Write(() =>
        {
            if (isNoted)
            {
                var kind = everyoneWentOffline ? RowKind.Resumed : RowKind.Continued;
                _file.Append(Position + 1, kind, now, now, [_file.State.Since, RaisedTo]);
            }

            _file.WriteState(_file.State with { Tick = now, IsClean = false, Since = ended });
        });
        if (!isNoted)
            return Position;
        foreach (var page in PagesOnline)
            _checkpoint.Touched(Plane.Pulse, page, Position + 1);
        return Position + 1;
    }

    /// <summary>Marks the users who are online in the belief, so that the sweep finds and journals those who expire.</summary>
    public void Seed(UserBits belief)
    {
        foreach (var (page, groups) in IsWithinLease ? LastOnline : [])
            belief.Add(page, groups);
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
        // threads take lanes of 256 pages, so that all of them end at about the same time
        var numbers = Enumerable.Range(0, PageLayout.Pages / 256);
        var lanes = (from plane in new[] { Plane.Pulse, Plane.Activity } from lane in numbers select (plane, lane)).ToArray();
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
            // the operator needs one line, so only the first exception is reported
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(e.InnerExceptions[0]);
        }

        if (images != _file.State.Images)
            throw FileProblem.Damaged(_file.FilePath, $"{images} page images where {_file.State.Images} were written");

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
        JournalBytes += JournalRows.Weight(entries.Length / 2);
        if (kind is RowKind.Resumed or RowKind.Continued)
        {
            ReplayStart(position, kind, entries[0], entries[1]);
            return;
        }

        NoteWritten(oldest);
        ReplayWords((Plane)kind, position, oldest, entries);
    }

    // A start replays millions of entries once, so the method is optimized at its first call.
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
            // the word of a deleted user in a page without words: no page is needed
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

    // Raises the last seen of these users to a second, if they were heard after "since". Returns the number of users.
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

    // "end" is the last second of the file. A word may be a little later (Clock.Apart), because it is read after the clock.
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
                // a word at most Clock.Apart ahead was read after the clock, which is no error: it becomes a word of now
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
        $"{_file.FilePath} holds more users than memory was allowed for ({_store.Budget.Pages / 4} MiB): "
            + $"allow more with {OptionNames.MemoryMegabytes}; nothing was changed.");
}
