using System.Diagnostics;
using System.Runtime.CompilerServices;

namespace Aglow.Durable;

/// <summary>
/// Writes an image of each page that the journal's rows concern, and then deletes those rows. This bounds the size of the file and the
/// duration of the next start.
/// </summary>
/// <remarks>
/// A checkpoint is due when the journal is larger than both 64 MiB and a sixteenth of all pages. So the images cost at most 16 times as
/// much as the journal did.
/// <para>One <see cref="Step"/> is one transaction: it writes a few images, or deletes a few rows. Between steps the writer commits for
/// waiting callers.</para>
/// <para>The writer first notes the position of the last committed row, and then copies the live words into the image. Every word in a
/// later row was read later, so replaying the rows after an image's position never restores an older word. Rows are deleted only when each
/// of their pages has a newer image. So after a crash between any two steps, each word is in an image, in a row after it, or in
/// both.</para> Threading: the journal's writer only.
/// </remarks>
internal sealed class Checkpoint(PresenceFile file, MemoryPlaneStore store, TimeProvider time)
{
    /// <summary>
    /// A smaller journal needs no checkpoint: it holds at most 8 million words, which a start replays in a quarter of a second.
    /// </summary>
    public const long SmallestJournal = 64 << 20;

    private const int ImagesPerStep = 4;
    private const int RowsPerStep = 256;
    // seconds by which the clock of a heartbeat in flight may be earlier than that of an image
    private const uint InFlight = 2;

    private readonly uint[] _scratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
    // positions plus one, because memory that stays 0 is not resident
    private readonly long[][] _imaged = [new long[PageLayout.Pages], new long[PageLayout.Pages]];
    private readonly long[][] _touchedAt = [new long[PageLayout.Pages], new long[PageLayout.Pages]];
    private readonly Queue<(Plane Plane, int Page)> _due = new();
    private readonly List<uint> _doubtful = [];
    private long _trimTo = file.State.Trimmed;
    private long _beganAt;
    private Activity? _span;

    /// <summary>Whether a checkpoint has begun and has not ended.</summary>
    public bool IsRunning => _due.Count > 0 || _trimTo > file.State.Trimmed;

    public long Count { get; private set; }

    /// <summary>The duration of the last checkpoint, from its first image to its last trim, including pauses.</summary>
    public TimeSpan LastTook { get; private set; }

    /// <summary>The size of the journal in bytes when the last checkpoint began. The checkpoint deletes that much.</summary>
    public long JournalBytes { get; private set; }

    /// <summary>
    /// Users whose lease, according to an image just taken, expired less than two seconds ago. A heartbeat in flight may have read the
    /// clock earlier, counted the user as still online, and so not queued the user. The caller of <see cref="Step"/> queues these users
    /// some seconds later.
    /// </summary>
    public List<uint> Doubtful => _doubtful;

    /// <summary>Whether a journal of this many bytes needs a checkpoint.</summary>
    public bool IsDue(long journalBytes) =>
        !IsRunning && journalBytes > Math.Max(SmallestJournal, (long)store.Budget.Taken * PageLayout.Slots * sizeof(uint) / 16);

    /// <summary>Notes that the file has an image of a page, taken at this position of the journal.</summary>
    public void Imaged(Plane plane, int page, long position) => _imaged[(int)plane][page] = position + 1;

    /// <summary>The position at which a page's image was taken; -1: there is none.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public long ImagedAt(Plane plane, int page) => _imaged[(int)plane][page] - 1;

    /// <summary>Notes that the row at this position has entries of these users.</summary>
    public void Touched(Plane plane, ReadOnlySpan<uint> users, long position)
    {
        var touched = _touchedAt[(int)plane];
        foreach (var user in users)
            touched[PageLayout.Page(user)] = position;
    }

    /// <summary>Notes that the row at this position has entries of a page.</summary>
    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public void Touched(Plane plane, int page, long position) => _touchedAt[(int)plane][page] = position;

    /// <summary>Begins a checkpoint.</summary>
    /// <param name="position">The last row of the journal. Rows up to it will be deleted.</param>
    /// <param name="journalBytes">The size of the journal.</param>
    public void Begin(long position, long journalBytes)
    {
        _beganAt = time.GetTimestamp();
        _span = AglowTraces.Source.StartActivity("checkpoint");
        JournalBytes = journalBytes;
        for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
        {
            foreach (var page in store.Pages(plane))
            {
                if (_touchedAt[(int)plane][page] > ImagedAt(plane, page))
                    _due.Enqueue((plane, page));
            }
        }

        _trimTo = position;
    }

    /// <summary>Runs one transaction of a checkpoint that is running.</summary>
    /// <param name="position">The last committed row.</param>
    /// <param name="at">The time, read after the last row was committed.</param>
    /// <param name="leaseSeconds">The time in seconds that a heartbeat keeps a user online.</param>
    public void Step(long position, Moment at, uint leaseSeconds)
    {
        if (_due.Count > 0)
            WriteImages(position, at, at.Oldest(leaseSeconds));
        else
            file.Write(() => file.Trim(Math.Min(_trimTo, file.State.Trimmed + RowsPerStep)));
        if (IsRunning)
            return;
        Count++;
        LastTook = time.GetElapsedTime(_beganAt);
        _span?.Dispose();
    }

    private void WriteImages(long position, Moment at, uint oldest)
    {
        var pages = _due.Take(ImagesPerStep).ToArray();
        file.Write(() =>
        {
            var images = file.State.Images;
            foreach (var (plane, page) in pages)
            {
                // copied, because heartbeats change the words, and the checksum must match what is written
                store.View(plane, page).CopyTo(_scratch);
                file.WriteImage(plane, page, position, oldest, _scratch.AsSpan(0, Used(_scratch)));
                if (ImagedAt(plane, page) < 0)
                    images++;
                if (plane == Plane.Pulse)
                {
                    NoteDoubtful(page, oldest);
                    file.Reader?.ReadImage(page, _scratch, at);
                }
            }

            // stores the time with the images: if the clock was set back since, the next start uses it to detect words of later seconds
            file.WriteState(file.State with { Tick = at.Now, Images = images });
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

    // Rounded up to 4 KiB. So an image usually keeps its size, and SQLite overwrites it in place.
    private static int Used(ReadOnlySpan<uint> words)
    {
        var used = words.LastIndexOfAnyExcept(0u) + 1;
        return Math.Min(words.Length, (used + 1023) & ~1023);
    }
}
