using System.Numerics;

namespace Aglow.Heartbeats;

/// <summary>
/// Buffers heartbeats that can wait for a batch, for stores across a network. A heartbeat can wait if this node wrote the user online and
/// the lease does not end meanwhile.
/// </summary>
/// <remarks>
/// Between the <see cref="HeartbeatWriter"/> and a remote <see cref="IPlaneStore"/>; one for each plane.
/// <code>
///   heartbeat ─► word known here, and online? ── no ──► the store, at once; the word is known when it is written
///                          │ yes
///                          ▼
///                 newest word │ dirty bit            slots, not a queue: 4 bytes and a bit a user, however many
///                 newest word │ dirty bit            heartbeats come and however long the store is away
///                          │ every page once a second
///                          ▼
///                 one batch, page by page ─► old words ─► not online after all? ─► a hint, as for any arrival
/// </code>
/// A renewal is acknowledged at once. A crash may lose it, but the next one comes within an interval. The wait of a second fills commands:
/// at 10,000 heartbeats a second over 256 pages, 40 words each. Words that the store cannot take stay dirty and are sent first when it can.
/// A waiting heartbeat does not undo a leave that another node wrote in the same second. If a heartbeat waited too long (this process was
/// paused, or the store was away), it is written only if the store has nothing newer. Otherwise other nodes could read the old word until
/// the newer one is put back.
/// Threading: any thread defers, without a lock or an allocation; one loop flushes. Rejected: a queue of heartbeats, which grows while the
/// store is away and keeps obsolete words; and a dictionary, which costs 40 bytes a user and a lock.
/// </remarks>
internal sealed class Renewals : IDisposable
{
    /// <summary>How often the loop wakes: a tenth of the pages each time, so that the store's load is even.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromMilliseconds(100);

    private const int BeatsPerRound = 10;

    // a round, up to a second that words round away, and a second for the store
    private const uint MayTakeSeconds = 3;

    private readonly IPlaneStore _store;
    private readonly Plane _plane;
    private readonly NativePages _words;
    private readonly UserBits _dirty = new();
    // room for two pages: a page is taken whole, and sent when more than one is full
    private readonly uint[] _users = new uint[2 * PageLayout.Slots];
    private readonly uint[] _sent = new uint[2 * PageLayout.Slots];
    private readonly uint[] _old = new uint[2 * PageLayout.Slots];
    private int _taken;
    private long _beat;

    /// <summary>
    /// Buffers renewals of one plane of <paramref name="store"/>. Words count against <paramref name="budget"/>; without room, heartbeats
    /// do not wait.
    /// </summary>
    public Renewals(IPlaneStore store, Plane plane, PageBudget budget)
    {
        _store = store;
        _plane = plane;
        _words = new NativePages(budget);
    }

    /// <summary>Words sent to the store since the start.</summary>
    public long Sent { get; private set; }

    public long Waiting => _dirty.Count;

    /// <summary>
    /// Takes a heartbeat if it can wait. It can if this node wrote the user a word that is not older than <paramref name="oldest"/>, the
    /// oldest online second, when the batch is written. False: write it now, and report it to <see cref="Wrote"/>.
    /// </summary>
    public unsafe bool TryDefer(uint user, uint word, uint oldest)
    {
        oldest += MayTakeSeconds;
        var page = _words.Find(PageLayout.Page(user));
        if (page == null)
            return false;
        var at = page + PageLayout.Slot(user);
        var known = Volatile.Read(ref *at);
        // as signed numbers, "never", "left" and "too old" are below; words from before the clock was set back are above
        if ((int)known < (int)oldest || known > word + Clock.Apart)
            return false;
        while (known < word)
        {
            var seen = Interlocked.CompareExchange(ref *at, word, known);
            if (seen == known)
                break;
            if ((int)seen < (int)oldest)
                return false;
            known = seen;
        }

        // marked even if the word is unchanged, because the store may have a leave of the same second by now
        _dirty.Set(user, present: true);
        return true;
    }

    /// <summary>
    /// Takes the heartbeats of a batch that can wait. Copies the others in order to <paramref name="now"/>, which may be the batch's own
    /// memory; returns their number.
    /// </summary>
    public int Defer(ReadOnlySpan<uint> users, uint word, uint oldest, Span<uint> now, Func<uint, bool>? mayNotWait = null)
    {
        var count = 0;
        foreach (var user in users)
        {
            if (mayNotWait?.Invoke(user) == true || !TryDefer(user, word, oldest))
                now[count++] = user;
        }

        return count;
    }

    /// <summary>Notes a word that the store has: the user's next heartbeats within the lease can wait.</summary>
    public unsafe void Wrote(uint user, uint word)
    {
        var page = _words.FindOrMake(PageLayout.Page(user));
        if (page == null)
            return;
        var at = page + PageLayout.Slot(user);
        for (var known = Volatile.Read(ref *at); (int)known < (int)word || known > word + Clock.Apart;)
        {
            var seen = Interlocked.CompareExchange(ref *at, word, known);
            if (seen == known)
                return;
            known = seen;
        }
    }

    /// <summary>Lets a word wait that the store could not take, whatever the store has. Without memory for it, it is lost.</summary>
    internal unsafe void Hold(uint user, uint word)
    {
        Wrote(user, word);
        if (_words.Find(PageLayout.Page(user)) != null)
            _dirty.Set(user, present: true);
    }

    /// <summary>Drops waiting heartbeats of users who left or were deleted. Their next heartbeat is written at once.</summary>
    public unsafe void Forget(ReadOnlySpan<uint> users)
    {
        foreach (var user in users)
        {
            var page = _words.Find(PageLayout.Page(user));
            if (page == null)
                continue;
            _dirty.Set(user, present: false);
            Volatile.Write(ref page[PageLayout.Slot(user)], Pulse.Never);
        }
    }

    /// <summary>
    /// Sends what waits on a tenth of the pages, or on all pages if <paramref name="all"/>. <paramref name="wasOnline"/> decides by the old
    /// word whether a user was online; <paramref name="came"/> receives the users who were not. One loop calls it, at the second
    /// <paramref name="now"/>. Returns false if something could not be written; it keeps waiting.
    /// </summary>
    public async ValueTask<bool> FlushAsync(bool all, uint now, Func<uint, uint, bool> wasOnline, Action<ReadOnlySpan<uint>> came)
    {
        _beat++;
        var pages = _words.Pages;
        var written = true;
        try
        {
            for (var i = 0; i < pages.Length; i++)
            {
                if (!all && i % BeatsPerRound != _beat % BeatsPerRound)
                    continue;
                Take(pages[i], now);
                if (_taken > PageLayout.Slots)
                    written &= await SendAsync(now, wasOnline, came);
            }

            return written & await SendAsync(now, wasOnline, came);
        }
        finally
        {
            // after an exception that no store should throw: what was taken goes on waiting, so that there is room for the next pages
            while (_taken > 0)
                _dirty.Set(_users[--_taken], present: true);
        }
    }

    /// <summary>Frees the memory. No thread may use this any more.</summary>
    public void Dispose()
    {
        _dirty.Dispose();
        _words.Dispose();
    }

    // Takes the dirty words of a page.
    private unsafe void Take(int page, uint now)
    {
        var groups = _dirty.Groups(page);
        var words = _words.Find(page);
        for (var group = 0; group < groups.Length; group++)
        {
            if (Volatile.Read(in groups[group]) == 0)
                continue;
            // clear the bit before reading the word: a heartbeat in between sets the bit again
            for (var bits = _dirty.Set(page, group, ulong.MaxValue, present: false); bits != 0; bits &= bits - 1)
            {
                var slot = (group * 64) + BitOperations.TrailingZeroCount(bits);
                // not in the future: the heartbeat may have come just before the clock was set back
                var word = Math.Min(Volatile.Read(ref words[slot]), now + Clock.Apart);
                if (word == Pulse.Never)
                    continue;
                _users[_taken] = PageLayout.User(page, slot);
                _sent[_taken++] = word;
            }
        }
    }

    // If a shard is away, its words go on waiting, and the others are written.
    private async ValueTask<bool> SendAsync(uint now, Func<uint, uint, bool> wasOnline, Action<ReadOnlySpan<uint>> came)
    {
        if (_taken == 0)
            return true;
        var late = LateFirst(now);
        var written = late == 0 || await DropOvertakenAsync(late);
        try
        {
            await _store.ExchangeAsync(_plane, _users.AsMemory(0, _taken), _sent.AsMemory(0, _taken), _old.AsMemory(0, _taken));
        }
        catch (StoreUnavailableException)
        {
            written = false;
            for (var i = 0; i < _taken; i++)
            {
                if (_old[i] == Pulse.Refused)
                    _dirty.Set(_users[i], present: true);
            }
        }

        Sent += _taken;
        var leaves = Judge(wasOnline, came);
        _taken = 0;
        try
        {
            await _store.ExchangeAsync(_plane, _users.AsMemory(0, leaves), _sent.AsMemory(0, leaves), _old.AsMemory(0, leaves));
        }
        catch (StoreUnavailableException)
        {
            // shown online until the lease ends, as after a lost leave
            written = false;
        }

        return written;
    }

    // Moves the words that waited too long to the front; returns their number.
    private int LateFirst(uint now)
    {
        var late = 0;
        for (var i = 0; i < _taken; i++)
        {
            if (Pulse.Second(_sent[i]) + MayTakeSeconds >= now)
                continue;
            (_users[i], _users[late]) = (_users[late], _users[i]);
            (_sent[i], _sent[late]) = (_sent[late], _sent[i]);
            late++;
        }

        return late;
    }

    // Drops the late words at the front for which the store has a newer word. If the store cannot be read, the late words go on waiting.
    private async ValueTask<bool> DropOvertakenAsync(int late)
    {
        var read = true;
        var kept = 0;
        try
        {
            await _store.ReadAsync(_plane, _users.AsMemory(0, late), _old.AsMemory(0, late));
        }
        catch (StoreUnavailableException)
        {
            read = false;
        }

        for (var i = 0; i < _taken; i++)
        {
            if (i < late && !read)
            {
                _dirty.Set(_users[i], present: true);
                continue;
            }

            if (i < late && !Pulse.Supersedes(_sent[i], _old[i]))
            {
                if (IsLeave(_old[i]))
                    Forget([_users[i]]);
                continue;
            }

            (_users[kept], _sent[kept]) = (_users[i], _sent[i]);
            kept++;
        }

        _taken = kept;
        return read;
    }

    // Reports the users who came online. Moves the users whose leave of the same second was overwritten to the front; returns their number.
    private int Judge(Func<uint, uint, bool> wasOnline, Action<ReadOnlySpan<uint>> came)
    {
        int leaves = 0, arrivals = 0;
        for (var i = 0; i < _taken; i++)
        {
            var (user, word, old) = (_users[i], _sent[i], _old[i]);
            if (old == Pulse.Refused)
                continue;
            if (IsLeave(old) && Pulse.Second(old) >= Pulse.Second(word))
            {
                Forget([user]);
                if (Pulse.Second(old) != Pulse.Second(word))
                    continue;
                _users[leaves] = user;
                _sent[leaves++] = old;
            }
            else if (Pulse.Supersedes(word, old) && !wasOnline(user, old))
            {
                // _old[i] is no longer needed: the array holds the users who came online
                _old[arrivals++] = user;
            }
        }

        if (arrivals > 0)
            came(_old.AsSpan(0, arrivals));
        return leaves;
    }

    private static bool IsLeave(uint word) => Pulse.Left(word) || Pulse.DeviceLeft(word);
}
