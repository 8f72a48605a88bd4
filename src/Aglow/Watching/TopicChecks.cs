using System.Buffers;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Watching;

/// <summary>
/// Which topics are to be read again, and the reading: what the store says now, against what watchers were last told.
/// </summary>
/// <remarks>
/// A topic is asked for by a hint or a flip of belief (at once), by a goodbye (a second later, or when the lease has ended that the goodbye of one
/// device shortened), by the end of a claim (at its second: <see cref="ClaimEnds"/>), and by nobody at least once in
/// <see cref="WatchHub.RecheckInterval"/>, a slice of all topics a beat, so whatever was lost is repaired within that.
/// Going offline is believed at once where a flip said so, and confirmed by a second read a second later where nothing did. While a goodbye is
/// confirmed nothing else is told of its user, so it is told under every definition in the same moment, whether they left or hid. A topic is queued at most
/// once, so the queues are bounded by the topics, and by the goodbyes of a second or a shortened lease.
/// Owned by the <see cref="WatchHub"/>'s loop.
/// </remarks>
internal sealed class TopicChecks
{
    private const int ConfirmBeats = 50;
    private const int RecheckBeats = 500;

    private readonly Topics _topics;
    private readonly PresenceService _presence;
    private readonly ClaimEnds _claimEnds;
    private readonly List<int> _asked = [];
    private readonly Queue<(long Beat, int Topic, long HeardAt)> _later = new();
    private readonly Queue<(long Beat, int Topic)> _afterDevice = new();
    // words count whole seconds, so the lease ends within a second after
    private readonly long _deviceLeftBeats;
    private long _beat;
    private int _recheckNext;

    public TopicChecks(Topics topics, PresenceService presence)
    {
        _topics = topics;
        _presence = presence;
        _deviceLeftBeats = ((presence.Definitions.Default.DeviceLeftSeconds + 1) * ConfirmBeats) + 1;
        _claimEnds = new ClaimEnds(topics, this, presence.Claims, presence.Clock);
    }

    /// <summary>How many are to be read in the next round.</summary>
    public int Count => _asked.Count;

    /// <summary>A beat of the loop: who waited for their second is asked for, and a slice of all.</summary>
    public void Beat()
    {
        _beat++;
        _claimEnds.Beat();
        while (_later.TryPeek(out var due) && due.Beat <= _beat)
        {
            _later.Dequeue();
            if (_topics[due.Topic] is { } topic)
                topic.IsConfirming = false;
            Ask(due.Topic, gentle: false, due.HeardAt);
        }

        while (_afterDevice.TryPeek(out var lapsing) && lapsing.Beat <= _beat)
            Ask(_afterDevice.Dequeue().Topic, gentle: false, _presence.Clock.Time.GetTimestamp());

        Recheck();
    }

    /// <summary>
    /// Reads this topic in the next round. <paramref name="gentle"/>: if that says offline, it is confirmed by another read. <paramref name="heardAt"/>: when
    /// something of it was heard; 0 where nothing was.
    /// </summary>
    public void Ask(int id, bool gentle, long heardAt = 0)
    {
        // lost with its page: asked for when that is back
        if (_topics[id] is not { IsAway: false } topic)
            return;
        topic.IsGentle = gentle && (!topic.IsQueued || topic.IsGentle);
        if (!topic.IsQueued || topic.HeardAt == 0)
            topic.HeardAt = heardAt;
        if (topic.IsQueued)
            return;
        topic.IsQueued = true;
        _asked.Add(id);
    }

    /// <summary>Reads this topic in a second.</summary>
    public void AskLater(int id, long heardAt)
    {
        if (_topics[id] is { } topic)
            topic.IsConfirming = true;
        _later.Enqueue((_beat + ConfirmBeats, id, heardAt));
    }

    /// <summary>One device left: reads this topic when the lease has ended, if nobody else is heard.</summary>
    public void AskAfterDevice(int id) => _afterDevice.Enqueue((_beat + _deviceLeftBeats, id));

    /// <summary>
    /// Reads all that were asked for; <paramref name="changed"/> hears of each of whom watchers know something else, and what that was (null: nothing).
    /// Throws <see cref="StoreUnavailableException"/>; then what was not read stays asked for.
    /// </summary>
    public async ValueTask ReadAsync(Action<Topic, Presence?> changed)
    {
        var users = ArrayPool<uint>.Shared.Rent(_asked.Count);
        var ids = ArrayPool<int>.Shared.Rent(_asked.Count);
        var statuses = ArrayPool<Presence>.Shared.Rent(_asked.Count);
        try
        {
            var left = _asked.Count;
            foreach (var definition in _presence.Definitions.All)
            {
                if (left == 0)
                    break;
                var count = Gather(definition, users, ids, ref left);
                if (count == 0)
                    continue;
                // before the read: a claim that ends meanwhile is read again
                var since = _presence.Clock.Now;
                await _presence.Statuses.ReadAsync(users.AsMemory(0, count), definition, statuses.AsMemory(0, count));
                for (var i = 0; i < count; i++)
                {
                    var topic = _topics[ids[i]]!;
                    _claimEnds.Follow(ids[i], topic, since);
                    Presence? told = topic.IsKnown ? topic.Told : null;
                    if (Apply(ids[i], statuses[i]))
                        changed(topic, told);
                }
            }

            _asked.Clear();
        }
        catch (StoreUnavailableException)
        {
            // part of the store may answer, and those who were read there are asked for anew meanwhile
            _asked.RemoveAll(id => _topics[id] is not { IsQueued: true });
            throw;
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(users);
            ArrayPool<int>.Shared.Return(ids);
            ArrayPool<Presence>.Shared.Return(statuses);
        }
    }

    // Every topic once in the interval, a slice a beat.
    private void Recheck()
    {
        var capacity = _topics.Capacity;
        var slice = (capacity / RecheckBeats) + 1;
        for (var i = 0; i < slice && capacity > 0; i++)
        {
            if (_recheckNext >= capacity)
            {
                // a pass takes the whole interval, however few topics there are
                if (_beat % RecheckBeats != 0)
                    return;
                _recheckNext = 0;
            }

            Ask(_recheckNext++, gentle: true);
        }
    }

    private int Gather(Definition definition, uint[] users, int[] ids, ref int left)
    {
        var count = 0;
        foreach (var id in _asked)
        {
            if (_topics[id] is not { } topic || topic.Definition != definition || !topic.IsQueued)
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

    // Whether watchers are to be told.
    private bool Apply(int id, Presence now)
    {
        var topic = _topics[id]!;
        topic.IsQueued = false;
        var told = topic.Told;
        if (topic.IsKnown && told.Status == now.Status && told.Said == now.Said && told.Devices == now.Devices && (now.IsOnline || told.LastSeen == now.LastSeen))
        {
            topic.Told = now;
            return false;
        }

        // a sweep may have found it under this definition meanwhile: it is told when the others are. Whoever begins to watch is told what was read
        if (topic.IsKnown && topic.IsConfirming && (topic.IsGentle || topic.HeardAt != 0) && (told.IsOnline || !now.IsOnline))
            return false;

        if (topic.IsKnown && topic.IsGentle && told.IsOnline && !now.IsOnline)
        {
            AskLater(id, topic.HeardAt);
            return false;
        }

        topic.Told = now;
        topic.IsKnown = true;
        topic.EncodedRound = -1;
        return true;
    }
}
