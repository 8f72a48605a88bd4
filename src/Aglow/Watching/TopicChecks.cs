using System.Buffers;
using System.Runtime.InteropServices;
using Aglow.Queries;
using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// Queues topics to be read, reads them, and compares the results with what watchers received last.
/// </summary>
/// <remarks>
/// What queues a topic:
/// <list type="bullet">
/// <item>a hint or a flip of belief: at once;</item>
/// <item>a leave: a second later; the leave of one device: when the shortened lease has ended;</item>
/// <item>a claim that changes by itself: at its second (<see cref="DueUsers"/>);</item>
/// <item>in any case: once in <see cref="WatchHub.RecheckInterval"/>, a slice of all topics in each beat. This repairs lost hints.</item>
/// </list>
/// If a flip says that a user went offline, that change is sent at once. Otherwise another read a second later confirms it. While a leave
/// is being confirmed, only coming online is sent about the user. A change of one topic makes the user's other topics due in the same
/// round. So one act is sent at the same moment under every definition. It does not matter whether the user left or hid, or what found the
/// change.
/// A topic waits for the next round at most once, so that queue is bounded by the topics. The queues for later reads are bounded by the
/// leaves within a second, or within a shortened lease. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class TopicChecks(Topics topics, StatusReader statuses, Definitions definitions, Claims claims, Clock clock)
{
    private const int ConfirmBeats = 50;
    private static readonly int RecheckBeats = (int)(WatchHub.RecheckInterval / WatchHub.BeatInterval);

    // at most one entry for each user with claims
    private readonly DueUsers _claimChanges = new();
    private readonly List<int> _queued = [];
    private readonly Queue<(long Beat, int Topic, long HintedAt)> _later = new();
    private readonly Queue<(long Beat, int Topic)> _afterDevice = new();
    // words count whole seconds, so a lease ends up to a second later
    private readonly long _deviceLeftBeats = ((definitions.Default.DeviceLeftSeconds + 1) * ConfirmBeats) + 1;
    private long _beat;
    private int _recheckNext;

    /// <summary>How many topics are read in the next round.</summary>
    public int Count => _queued.Count;

    /// <summary>Whether topics wait for a later beat, to confirm a leave.</summary>
    public bool IsWaiting => _later.Count > 0 || _afterDevice.Count > 0;

    /// <summary>Runs once a beat: queues the topics that are due, and a slice of all topics.</summary>
    public void Beat()
    {
        _beat++;
        EnqueueChangedClaims();
        while (_later.TryPeek(out var due) && due.Beat <= _beat)
        {
            _later.Dequeue();
            if (topics[due.Topic] is { } topic)
                topic.IsConfirming = false;
            Enqueue(due.Topic, gentle: false, due.HintedAt);
        }

        while (_afterDevice.TryPeek(out var lapsing) && lapsing.Beat <= _beat)
            Enqueue(_afterDevice.Dequeue().Topic, gentle: false, clock.Time.GetTimestamp());

        Recheck();
    }

    /// <summary>
    /// Queues this topic for the next round. <paramref name="gentle"/>: another read must confirm that the user went offline.
    /// <paramref name="hintedAt"/>: the timestamp of a hint; 0: none.
    /// </summary>
    public void Enqueue(int id, bool gentle, long hintedAt = 0)
    {
        // if its page is lost, it is read when the page is back
        if (topics[id] is not { IsAway: false } topic)
            return;
        topic.IsGentle = gentle && (!topic.IsQueued || topic.IsGentle);
        if (!topic.IsQueued || topic.HintedAt == 0)
            topic.HintedAt = hintedAt;
        if (topic.IsQueued)
            return;
        topic.IsQueued = true;
        _queued.Add(id);
    }

    /// <summary>Queues this topic for the next round. What that read finds is sent at once, even if a leave was being confirmed.</summary>
    public void EnqueueAnew(int id, long hintedAt = 0)
    {
        if (topics[id] is not { } topic)
            return;
        topic.IsConfirming = false;
        Enqueue(id, gentle: false, hintedAt);
    }

    /// <summary>Reads this topic a second later, to confirm a leave.</summary>
    public void EnqueueLater(int id, long hintedAt)
    {
        if (topics[id] is { } topic)
            topic.IsConfirming = true;
        _later.Enqueue((_beat + ConfirmBeats, id, hintedAt));
    }

    /// <summary>Reads this topic when the lease that a device shortened has ended.</summary>
    public void EnqueueAfterDevice(int id) => _afterDevice.Enqueue((_beat + _deviceLeftBeats, id));

    /// <summary>
    /// Reads all queued topics. <paramref name="changed"/> receives each topic that differs from what its watchers received last, and that
    /// last presence (null: none). Throws <see cref="StoreUnavailableException"/>; topics that were not read stay queued. Topics of IDs
    /// without an index need no read.
    /// </summary>
    public async ValueTask ReadAsync(Action<Topic, Presence?> changed)
    {
        try
        {
            // a change that is found may queue more topics
            for (var from = 0; from < _queued.Count;)
                from = await ReadFromAsync(from, changed);
            _queued.Clear();
        }
        catch (StoreUnavailableException)
        {
            // part of the store may have answered, and topics that were read may be queued again
            int[] left = [.. _queued.Where(id => topics[id] is { IsQueued: true }).Distinct()];
            _queued.Clear();
            _queued.AddRange(left);
            throw;
        }
    }

    // Reads the queued topics from this place on. Returns the place after them.
    private async ValueTask<int> ReadFromAsync(int from, Action<Topic, Presence?> changed)
    {
        var (to, left) = (_queued.Count, _queued.Count - from);
        var users = ArrayPool<uint>.Shared.Rent(left);
        var ids = ArrayPool<int>.Shared.Rent(left);
        var found = ArrayPool<Presence>.Shared.Rent(left);
        try
        {
            left -= ApplyUnknown(from, to, changed);
            // by index, because an enumerator would be allocated
            var all = definitions.All;
            for (var at = 0; at < all.Count && left > 0; at++)
            {
                var definition = all[at];
                var count = Gather(CollectionsMarshal.AsSpan(_queued)[from..to], definition, users, ids, ref left);
                if (count == 0)
                    continue;
                // before the read: a claim that ends during the read causes another read
                var since = clock.Now;
                await statuses.ReadAsync(users.AsMemory(0, count), definition, found.AsMemory(0, count));
                for (var i = 0; i < count; i++)
                {
                    var topic = topics[ids[i]]!;
                    _claimChanges.Set(topic.User, claims.IsEmpty ? 0 : claims.ChangeAfter(topic.User, since));
                    Presence? lastSent = topic.IsKnown ? topic.LastSent : null;
                    var isConfirmed = topic.IsConfirming;
                    if (!Apply(ids[i], found[i]))
                        continue;
                    changed(topic, lastSent);
                    if (lastSent is { } before)
                        EnqueueOthers(ids[i], topic, isConfirmed || (before.IsOnline && !topic.LastSent.IsOnline));
                }
            }

            return to;
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(users);
            ArrayPool<int>.Shared.Return(ids);
            ArrayPool<Presence>.Shared.Return(found);
        }
    }

    // Applies the topics of IDs without an index: such a user was never seen. Returns how many there were.
    private int ApplyUnknown(int from, int to, Action<Topic, Presence?> changed)
    {
        var count = 0;
        for (; from < to; from++)
        {
            if (topics[_queued[from]] is not { User: UserId.Nobody, IsQueued: true } topic)
                continue;
            count++;
            Presence? lastSent = topic.IsKnown ? topic.LastSent : null;
            if (Apply(_queued[from], new Presence(PresenceStatus.Offline, Pulse.Never)))
                changed(topic, lastSent);
        }

        return count;
    }

    // The act that changed a user under one definition may have changed the user under others. If the user may be gone, the other topics
    // are sent without a confirmation.
    private void EnqueueOthers(int id, Topic topic, bool isGone)
    {
        for (var other = topics.FirstOf(topic.User); other >= 0; other = topics[other]!.NextOfUser)
        {
            if (other == id)
                continue;
            if (isGone)
                EnqueueAnew(other, topic.HintedAt);
            else
                Enqueue(other, gentle: true, topic.HintedAt);
        }
    }

    private void EnqueueChangedClaims()
    {
        while (_claimChanges.TryTake(clock.Now, out var user))
        {
            for (var id = topics.FirstOf(user); id >= 0; id = topics[id]!.NextOfUser)
                Enqueue(id, gentle: false, clock.Time.GetTimestamp());
        }
    }

    // Queues every topic once in the interval, a slice a beat. A pass begins and ends with its interval, also while topics are added.
    private void Recheck()
    {
        var beat = (int)(_beat % RecheckBeats);
        if (beat == 0)
            _recheckNext = 0;
        var (left, beats) = (topics.Capacity - _recheckNext, RecheckBeats - beat);
        for (var end = _recheckNext + ((left + beats - 1) / beats); _recheckNext < end; _recheckNext++)
            Enqueue(_recheckNext, gentle: true);
    }

    private int Gather(ReadOnlySpan<int> queued, Definition definition, uint[] users, int[] ids, ref int left)
    {
        var count = 0;
        foreach (var id in queued)
        {
            if (topics[id] is not { } topic || topic.Definition != definition || !topic.IsQueued)
                continue;
            left--;
            if (topic.IsAway)
            {
                topic.IsQueued = false;
                continue;
            }

            users[count] = topic.User;
            ids[count++] = id;
        }

        return count;
    }

    // Returns whether watchers must be sent the new presence.
    private bool Apply(int id, Presence now)
    {
        var topic = topics[id]!;
        topic.IsQueued = false;
        var lastSent = topic.LastSent;
        if (lastSent != now)
            topic.EncodedRound = -1;
        if (topic.IsKnown
            && lastSent.Status == now.Status
            && lastSent.Details == now.Details
            && lastSent.Devices == now.Devices
            && (now.IsOnline || lastSent.LastSeen == now.LastSeen))
        {
            topic.LastSent = now;
            topic.IsReturning = false;
            return false;
        }

        // While a leave is being confirmed, a change that a sweep found is held, and sent together with the other definitions. A read for a
        // new watcher is not held.
        if (topic.IsKnown && topic.IsConfirming && (topic.IsGentle || topic.HintedAt != 0) && (lastSent.IsOnline || !now.IsOnline))
            return false;

        if (topic.IsKnown && topic.IsGentle && lastSent.IsOnline && !now.IsOnline)
        {
            EnqueueLater(id, topic.HintedAt);
            return false;
        }

        topic.LastSent = now;
        topic.IsKnown = true;
        topic.IsReturning = false;
        return true;
    }
}
