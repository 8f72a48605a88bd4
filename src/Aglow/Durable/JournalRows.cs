using Aglow.Sqlite;

namespace Aglow.Durable;

/// <summary>Appends the words of users to the <see cref="Journal"/>'s file as rows. One <see cref="Write"/> is one transaction.</summary>
/// <remarks>
/// Words are read from the store when their row is written, so the order of rows agrees with the order in which words changed in memory.
/// Threading: the journal's writer only. Any thread may read the counts.
/// </remarks>
internal sealed class JournalRows(
    PresenceFile file, FolderWatch? watch, JournalWork work, MemoryPlaneStore store, Clock clock, uint leaseSeconds)
{
    // a clean stop also writes words that expired this recently, because the sweep may not have found them yet
    private const uint StopMarginSeconds = 300;

    private readonly uint[] _entries = new uint[PresenceFile.EntriesPerRow * 2];
    private readonly uint[] _words = new uint[PresenceFile.EntriesPerRow];
    private long _position;

    /// <summary>Deletes rows whose words are in images.</summary>
    public required Checkpoint Checkpoint { get; init; }

    /// <summary>Called after each commit with its words and its duration.</summary>
    public Action<int, TimeSpan>? Committed { get; set; }

    /// <summary>The clock that words are judged by.</summary>
    public Clock Clock => clock;

    public long CommittedRows { get; private set; }

    public long CommittedEntries { get; private set; }

    /// <summary>The duration of the last commit, from reading the words to the end of the fsync.</summary>
    public TimeSpan LastCommitTook { get; private set; }

    /// <summary>The size of the rows in bytes. The next start replays them.</summary>
    public long JournalBytes { get; private set; }

    /// <summary>The cost of replaying a row, in bytes: its entries, and a fixed cost for each row.</summary>
    public static long Weight(int entries) => 256 + (entries * 8L);

    /// <summary>Continues after the rows that are in the file.</summary>
    public void Continue(long position, long journalBytes) => (_position, JournalBytes) = (position, journalBytes);

    /// <summary>Writes the words of the users taken. Throws if the words did not get into the file.</summary>
    public void Write()
    {
        var began = clock.Time.GetTimestamp();
        var rows = 0;
        file.Write(() =>
        {
            // read the clock before the words, so that no word is judged by a second after its read
            var at = clock.Moment;
            for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
            {
                for (var users = work.Taken(plane); !users.IsEmpty;)
                {
                    var count = Math.Min(users.Length, PresenceFile.EntriesPerRow);
                    Append(plane, users[..count], at, _position + ++rows);
                    users = users[count..];
                }
            }
        });
        // the rows are in the open file; they count as written only if that file is still in the folder
        _position += rows;
        watch?.EnsureSame();

        CommittedRows += rows;
        CommittedEntries += work.TakenCount;
        JournalBytes += (rows * Weight(0)) + (work.TakenCount * 8L);
        LastCommitTook = clock.Time.GetElapsedTime(began);
        Committed?.Invoke(work.TakenCount, LastCommitTook);
        work.Settle();
    }

    /// <summary>
    /// Takes all users who are online, and those who expired recently. Calls <paramref name="write"/> whenever there are enough for a
    /// commit.
    /// </summary>
    public void TakeOnline(Moment at, Action write)
    {
        var oldest = at.Oldest(leaseSeconds + StopMarginSeconds);
        foreach (var page in store.Pages(Plane.Pulse))
        {
            TakeOnline(page, oldest);
            if (work.TakenCount >= JournalWork.PerCommit / 2)
                write();
        }

        if (work.TakenCount > 0)
            write();
    }

    public void BeginCheckpoint()
    {
        if (!Checkpoint.IsRunning)
            Checkpoint.Begin(_position, JournalBytes);
    }

    /// <summary>Runs one transaction of a checkpoint. True if more follow.</summary>
    public bool StepCheckpoint()
    {
        if (!Checkpoint.IsRunning)
            return false;
        Checkpoint.Step(_position, clock.Moment, leaseSeconds);
        if (Checkpoint.IsRunning)
            return true;
        JournalBytes -= Checkpoint.JournalBytes;
        return false;
    }

    private void TakeOnline(int page, uint oldest)
    {
        var words = store.View(Plane.Pulse, page);
        var activity = store.View(Plane.Activity, page);
        for (var slot = 0; slot < words.Length; slot++)
        {
            if (!Pulse.IsHeartbeatSince(words[slot], oldest))
                continue;
            work.Take(Plane.Pulse, PageLayout.User(page, slot));
            if (!activity.IsEmpty && activity[slot] != Pulse.Never)
                work.Take(Plane.Activity, PageLayout.User(page, slot));
        }
    }

    private void Append(Plane plane, ReadOnlySpan<uint> users, Moment at, long position)
    {
        var words = _words.AsSpan(0, users.Length);
        store.Read(plane, users, words);
        for (var i = 0; i < users.Length; i++)
        {
            _entries[2 * i] = users[i];
            _entries[(2 * i) + 1] = words[i];
        }

        if (plane == Plane.Pulse)
        {
            TakeActivityOfGone(users, words, at.Oldest(leaseSeconds));
            file.Reader?.ReadWords(users, words, at);
        }

        var kind = plane == Plane.Pulse ? RowKind.Pulse : RowKind.Activity;
        file.Append(position, kind, at.Now, at.Oldest(leaseSeconds), _entries.AsSpan(0, 2 * users.Length));
        // noted even if the commit fails, because the users are then appended again at this position or a later one
        Checkpoint.Touched(plane, users, position);
    }

    // Heartbeats queue activity only once a minute. So the last activity of a user who left or expired is written here.
    private void TakeActivityOfGone(ReadOnlySpan<uint> users, ReadOnlySpan<uint> words, uint oldest)
    {
        for (var i = 0; i < users.Length; i++)
        {
            if (!Pulse.IsHeartbeatSince(words[i], oldest) && store.Read(Plane.Activity, users[i]) != Pulse.Never)
                work.Take(Plane.Activity, users[i]);
        }
    }
}
