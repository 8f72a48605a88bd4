using System.Numerics;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Watching;
using Plane = Aglow.Model.Plane;

namespace Aglow.Heartbeats;

/// <summary>
/// Heartbeats that can wait: those of users whom this node wrote online, and whose lease does not end meanwhile, kept until a batch is worth sending. For stores across a network.
/// </summary>
/// <remarks>
/// Stands between <see cref="HeartbeatWriter"/> and a remote <see cref="IPlaneStore"/>, one for each plane.
/// <code>
///   heartbeat ─► word known here, and online? ── no ──► the store, at once; the word is known when it is written
///                          │ yes
///                          ▼
///                 newest word │ dirty bit            slots, not a queue: however often a user is heard, and however long the store is away,
///                 newest word │ dirty bit            4 bytes and a bit
///                          │ every page once a second
///                          ▼
///                 one batch, page by page ─► old words ─► not online after all? ─► a hint, as for any arrival
/// </code>
/// A renewal is acknowledged at once: losing it costs nothing, the next one comes in an interval. The second of waiting is what fills a command: at
/// 10,000 heartbeats a second over 256 pages, 40 words. What the store cannot take stays dirty and is sent first when it can.
/// A heartbeat that waited does not undo a goodbye said in its second by another node, as a late heartbeat would not. One that waited longer than it should (this process
/// was paused, or the store was away) is written only where the store has nothing newer: written over that, it would be what others read until the newer word is put back.
/// Threading: any thread defers, without a lock and without allocating; one loop flushes. Rejected: a queue of heartbeats (it grows while the store is
/// away, and keeps words that a newer one has made worthless), and a dictionary (40 bytes a user, and a lock).
/// </remarks>
public sealed class Renewals : IDisposable
{
    /// <summary>How often the loop wakes: a tenth of the pages each time, so that the store's load is even.</summary>
    public static readonly TimeSpan BeatInterval = TimeSpan.FromMilliseconds(100);

    private const int BeatsPerRound = 10;

    // a round, the part of a second that a word cuts off, and a second for the store
    private const uint MayTakeSeconds = 3;

    private readonly IPlaneStore _store;
    private readonly Plane _plane;
    private readonly NativePages _words;
    private readonly UserBits _dirty = new();
    // room for two pages: a page is always taken whole, and sent when more than one is full
    private readonly uint[] _users = new uint[2 * PageLayout.Slots];
    private readonly uint[] _sent = new uint[2 * PageLayout.Slots];
    private readonly uint[] _old = new uint[2 * PageLayout.Slots];
    private int _taken;
    private long _beat;

    /// <summary>Renewals of one plane of <paramref name="store"/>. Words are counted against <paramref name="budget"/>; without room a heartbeat does not wait.</summary>
    public Renewals(IPlaneStore store, Plane plane, PageBudget budget)
    {
        _store = store;
        _plane = plane;
        _words = new NativePages(budget);
    }

    /// <summary>Words sent to the store since the start.</summary>
    public long Sent { get; private set; }

    /// <summary>Users whose words wait.</summary>
    public long Waiting => _dirty.Count;

    /// <summary>
    /// Takes a heartbeat that can wait: this node wrote the user a word that will not be older than <paramref name="oldest"/>, the oldest that is online,
    /// until this one is written in a batch. False: write it now, and say so with <see cref="Wrote"/>.
    /// </summary>
    public unsafe bool TryDefer(uint user, uint word, uint oldest)
    {
        oldest += MayTakeSeconds;
        var page = _words.Find(PageLayout.Page(user));
        if (page == null)
            return false;
        var at = page + PageLayout.Slot(user);
        var known = Volatile.Read(ref *at);
        // never, left and too old are all below, as signed numbers; above is what was written before the clock was set back
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

        // also for a word of the same second, which may be a goodbye by now
        _dirty.Set(user, present: true);
        return true;
    }

    /// <summary>Takes those heartbeats of a batch that can wait; the others go to <paramref name="now"/> (which may be the batch's own memory), in order. Returns how many those are.</summary>
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

    /// <summary>The store has this word of a user's: the next heartbeats within the lease can wait.</summary>
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

    /// <summary>These users left, or were deleted: what waits of them is dropped, and their next heartbeat is written at once.</summary>
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
    /// One beat: sends what waits on a tenth of the pages; on all of them where <paramref name="all"/>. <paramref name="came"/> hears of users whom, by
    /// their old words, <paramref name="wasOnline"/> does not know. By one loop, at the second <paramref name="now"/>. Returns false where something could not be written; it waits on.
    /// </summary>
    public async ValueTask<bool> FlushAsync(bool all, uint now, Func<uint, uint, bool> wasOnline, Action<ReadOnlySpan<uint>> came)
    {
        _beat++;
        var pages = _words.Pages;
        var written = true;
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

    /// <summary>Frees the memory. Nobody may be using this any more.</summary>
    public void Dispose()
    {
        _dirty.Dispose();
        _words.Dispose();
    }

    // The dirty words of a page.
    private unsafe void Take(int page, uint now)
    {
        var groups = _dirty.Groups(page);
        var words = _words.Find(page);
        for (var group = 0; group < groups.Length; group++)
        {
            if (Volatile.Read(in groups[group]) == 0)
                continue;
            // the bit first, the word second: a heartbeat in between sets the bit again
            for (var bits = _dirty.Set(page, group, ulong.MaxValue, present: false); bits != 0; bits &= bits - 1)
            {
                var slot = (group * 64) + BitOperations.TrailingZeroCount(bits);
                // heard a moment before the clock was set back
                var word = Math.Min(Volatile.Read(ref words[slot]), now + Clock.Apart);
                if (word == Pulse.Never)
                    continue;
                _users[_taken] = PageLayout.User(page, slot);
                _sent[_taken++] = word;
            }
        }
    }

    // One that cannot be written (a shard is away) does not hold up the others.
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
        var goodbyes = Judge(wasOnline, came);
        _taken = 0;
        try
        {
            await _store.ExchangeAsync(_plane, _users.AsMemory(0, goodbyes), _sent.AsMemory(0, goodbyes), _old.AsMemory(0, goodbyes));
        }
        catch (StoreUnavailableException)
        {
            // shown online until the lease ends, as after a goodbye that was lost
            written = false;
        }

        return written;
    }

    // Puts those that waited longer than they should at the front, and returns how many they are.
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

    // Of those at the front, takes out who was heard by another node since; all of them where that cannot be read, which wait on.
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
                if (IsGoodbye(_old[i]))
                    Forget([_users[i]]);
                continue;
            }

            (_users[kept], _sent[kept]) = (_users[i], _sent[i]);
            kept++;
        }

        _taken = kept;
        return read;
    }

    // Tells who came online after all; puts those whose goodbye of the same second was written over at the front, and returns how many they are.
    private int Judge(Func<uint, uint, bool> wasOnline, Action<ReadOnlySpan<uint>> came)
    {
        int goodbyes = 0, arrivals = 0;
        for (var i = 0; i < _taken; i++)
        {
            var (user, word, old) = (_users[i], _sent[i], _old[i]);
            if (old == Pulse.Refused)
                continue;
            if (old == Pulse.Gone || (IsGoodbye(old) && Pulse.Second(old) >= Pulse.Second(word)))
            {
                Forget([user]);
                if (Pulse.Second(old) != Pulse.Second(word))
                    continue;
                _users[goodbyes] = user;
                _sent[goodbyes++] = old;
            }
            else if (Pulse.Supersedes(word, old) && !wasOnline(user, old))
            {
                // read already: its place takes the users who came online
                _old[arrivals++] = user;
            }
        }

        if (arrivals > 0)
            came(_old.AsSpan(0, arrivals));
        return goodbyes;
    }

    private static bool IsGoodbye(uint word) => Pulse.Left(word) || Pulse.DeviceLeft(word);
}
