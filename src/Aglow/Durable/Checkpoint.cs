using System.Diagnostics;
using System.Runtime.CompilerServices;
using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Watching;

namespace Aglow.Durable;

/// <summary>
/// Writes images of the pages that the journal speaks of, and then forgets the journal up to where it began: what keeps the file, and the next
/// start, short.
/// </summary>
/// <remarks>
/// Due when the journal is longer than 64 MiB and than a sixteenth of all pages, so that images cost at most 16 times what the journal did.
/// One <see cref="Step"/> is one transaction: a few images, or a few rows trimmed; the writer lets commits for whoever waits go in between. An image
/// is taken by the writer itself: the position of the last committed row first, then the live words. A word that is journalled later
/// was packed later, so replaying the rows after an image's position can only lead forward. Rows are trimmed only when every page they speak of has an image
/// taken since, so a crash between any two steps finds each word in an image, in the rows after it, or in both.
/// Threading: the journal's writer only.
/// </remarks>
internal sealed class Checkpoint
{
    /// <summary>Below this the journal is left to grow: 8 million words, a quarter of a second to replay.</summary>
    public const long SmallestJournal = 64 << 20;

    private const int ImagesPerStep = 4;
    private const int RowsPerStep = 256;
    // seconds by which an exchange in flight may judge a lapse earlier than an image does
    private const uint InFlight = 2;

    private readonly PresenceFile _file;
    private readonly MemoryPlaneStore _store;
    private readonly TimeProvider _time;
    private readonly uint[] _scratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
    private readonly long[][] _imagedAt = [new long[PageLayout.Pages], new long[PageLayout.Pages]];
    private readonly long[][] _touchedAt = [new long[PageLayout.Pages], new long[PageLayout.Pages]];
    private readonly Queue<(Plane Plane, int Page)> _due = new();
    private readonly List<uint> _doubtful = [];
    private long _trimTo;
    private long _beganAt;
    private Activity? _span;

    public Checkpoint(PresenceFile file, MemoryPlaneStore store, TimeProvider time)
    {
        _file = file;
        _store = store;
        _time = time;
        _trimTo = file.State.Trimmed;
        foreach (var positions in _imagedAt)
            Array.Fill(positions, -1);
    }

    /// <summary>Whether a checkpoint has begun and has not ended.</summary>
    public bool IsRunning => _due.Count > 0 || _trimTo > _file.State.Trimmed;

    /// <summary>Checkpoints that ended since the start.</summary>
    public long Count { get; private set; }

    /// <summary>What the last one took, from its first image to its last trim, pauses included.</summary>
    public TimeSpan LastTook { get; private set; }

    /// <summary>Bytes of the journal when the last one began: what it trims.</summary>
    public long JournalBytes { get; private set; }

    /// <summary>
    /// Users whom an image, just taken, took for lapsed since less than two seconds. A heartbeat in flight may have read the clock before the image did,
    /// take them for online still, and so not have asked that they be kept: whoever steps has them kept once more, some seconds later.
    /// </summary>
    public List<uint> Doubtful => _doubtful;

    /// <summary>Whether a journal of this many bytes calls for a checkpoint.</summary>
    public bool IsDue(long journalBytes) =>
        !IsRunning && journalBytes > Math.Max(SmallestJournal, (long)_store.Budget.Taken * PageLayout.Slots * sizeof(uint) / 16);

    /// <summary>Notes that a page's image, taken at a position of the journal, is in the file.</summary>
    public void Imaged(Plane plane, int page, long position) => _imagedAt[(int)plane][page] = position;

    /// <summary>The position that a page's image was taken at, -1 where there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long ImagedAt(Plane plane, int page) => _imagedAt[(int)plane][page];

    /// <summary>Notes that the row at a position speaks of these users.</summary>
    public void Touched(Plane plane, ReadOnlySpan<uint> users, long position)
    {
        var touched = _touchedAt[(int)plane];
        foreach (var user in users)
            touched[PageLayout.Page(user)] = position;
    }

    /// <summary>Notes that the row at a position speaks of a page.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Touched(Plane plane, int page, long position) => _touchedAt[(int)plane][page] = position;

    /// <summary>Begins a checkpoint that will trim the journal, of this many bytes, up to <paramref name="position"/>, its last row.</summary>
    public void Begin(long position, long journalBytes)
    {
        _beganAt = _time.GetTimestamp();
        _span = AglowTraces.Source.StartActivity("checkpoint");
        JournalBytes = journalBytes;
        for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
        {
            foreach (var page in _store.Pages(plane))
            {
                if (_touchedAt[(int)plane][page] > _imagedAt[(int)plane][page])
                    _due.Enqueue((plane, page));
            }
        }

        _trimTo = position;
    }

    /// <summary>One transaction's worth of the checkpoint that has begun, and is running still.</summary>
    /// <param name="position">The last row committed.</param>
    /// <param name="at">The moment, read after the last row was committed.</param>
    /// <param name="leaseSeconds">How long a heartbeat lasts.</param>
    public void Step(long position, Moment at, uint leaseSeconds)
    {
        if (_due.Count > 0)
            WriteImages(position, at, at.Oldest(leaseSeconds));
        else
            _file.Write(() => _file.Trim(Math.Min(_trimTo, _file.State.Trimmed + RowsPerStep)));
        if (IsRunning)
            return;
        Count++;
        LastTook = _time.GetElapsedTime(_beganAt);
        _span?.Dispose();
    }

    private void WriteImages(long position, Moment at, uint oldest)
    {
        var pages = _due.Take(ImagesPerStep).ToArray();
        _file.Write(() =>
        {
            var images = _file.State.Images;
            foreach (var (plane, page) in pages)
            {
                // a copy, since the checksum must be of the very words that are written
                _store.View(plane, page).CopyTo(_scratch);
                _file.WriteImage(plane, page, position, oldest, _scratch.AsSpan(0, Used(_scratch)));
                if (_imagedAt[(int)plane][page] < 0)
                    images++;
                if (plane == Plane.Pulse)
                {
                    NoteDoubtful(page, oldest);
                    _file.Reader?.ReadImage(page, _scratch, at);
                }
            }

            // the clock with the images: the next start knows by it which words are of a second that was taken back
            _file.WriteState(_file.State with { Tick = at.Now, Images = images });
        });
        foreach (var (plane, page) in pages)
        {
            _due.Dequeue();
            Imaged(plane, page, position);
        }
    }

    private void NoteDoubtful(int page, uint oldest)
    {
        for (var slot = 0; slot < _scratch.Length; slot++)
        {
            if (_scratch[slot] < oldest && _scratch[slot] + InFlight >= oldest)
                _doubtful.Add(PageLayout.User(page, slot));
        }
    }

    // Up to the last word in use, in steps of 4 KiB, so that an image mostly keeps its size and is written over in place.
    private static int Used(ReadOnlySpan<uint> words)
    {
        var used = words.LastIndexOfAnyExcept(0u) + 1;
        return Math.Min(words.Length, (used + 1023) & ~1023);
    }
}
