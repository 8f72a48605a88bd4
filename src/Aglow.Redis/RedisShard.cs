using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Aglow.Redis;

/// <summary>One server that has slots: what it owes, and since when it is away.</summary>
/// <remarks>
/// <code>
///   failure noticed ─► away, since the failure ─── 2 s ───► known to be away: commands fail at once
///                            │
///                            └─ good answer to a command sent after the failure was noticed ─► Recovered is told, then the shard works again
/// </code>
/// An answer to a command that was sent before the failure was noticed may be older than the failure. It ends no outage. The outage is told all the same before
/// that answer reaches its caller, since it may be newer.
/// A shard that answers and refuses writes (out of memory, too few replicas, disk full) is judged apart: <see cref="RefusesWrites"/>. Reads succeed meanwhile, so
/// that outage is told again and again before their answers reach callers, until a write succeeds.
/// Threading: any thread; a lock is taken only while the shard is away.
/// </remarks>
/// <param name="endpoint">Where it listens.</param>
/// <param name="time">Where time comes from.</param>
/// <param name="recovered">Called with the timestamp at which the outage began, before an answer that may end it reaches its caller. Returns at once.</param>
[SuppressMessage("Design", "CA1001", Justification = "A token source without a timer holds nothing that must be freed")]
internal sealed class RedisShard(EndPoint endpoint, TimeProvider time, Action<RedisShard, long> recovered)
{
    // A failover this soon after an outage may bring back words from before the outage.
    private static readonly TimeSpan OutageRemembered = TimeSpan.FromSeconds(15);

    // shorter than any guard holds
    private static readonly TimeSpan RefusalToldEvery = TimeSpan.FromSeconds(0.5);

    private readonly Lock _gate = new();
    // the timestamp of the first failure since the shard last worked; 0: it works
    private long _awaySince;
    private long _noticedAt;
    private long _answeredAt;
    private (long Since, long Until) _lastOutage;
    // the same of writes alone
    private long _refusedSince;
    private long _refusedNoticedAt;
    private long _refusalToldAt;
    private long _wroteAt;
    private bool _isSaidRefusing;
    private bool _isKnownRefusing;
    private int _owed;
    private long _owedSince;
    private bool _isKnownAway;
    private bool _isSaidAway;
    private CancellationTokenSource _givenUp = new();

    /// <summary>Where it listens.</summary>
    public EndPoint Endpoint { get; } = endpoint;

    /// <summary>Where it listens, as people write it.</summary>
    public string Name { get; } = RedisAddress.Name(endpoint);

    /// <summary>Why it is away; empty: it works.</summary>
    public string Reason { get; private set; } = "";

    /// <summary>Why it refuses writes, in its own words; empty: it takes them.</summary>
    public string Refusal { get; private set; } = "";

    /// <summary>Whether it has refused a write since it last took one.</summary>
    public bool HasRefused => Volatile.Read(ref _refusedSince) != 0;

    /// <summary>Whether it has refused writes for longer than the timeout.</summary>
    public bool RefusesWrites => Volatile.Read(ref _refusedSince) is not 0 and var since && time.GetElapsedTime(since) > RedisCluster.Timeout;

    /// <summary>How long nothing could be written: it is away, or refuses writes. Zero: writes work, as far as is known.</summary>
    public TimeSpan UnwritableFor
    {
        get
        {
            var (away, refused) = (Volatile.Read(ref _awaySince), Volatile.Read(ref _refusedSince));
            var since = away == 0 ? refused : refused == 0 ? away : Math.Min(away, refused);
            return since == 0 ? TimeSpan.Zero : time.GetElapsedTime(since);
        }
    }

    /// <summary>The newest timestamp at which a write was sent that it took.</summary>
    public long WroteAt => Volatile.Read(ref _wroteAt);

    /// <summary>When it was last probed.</summary>
    public long ProbedAt { get; set; }

    /// <summary>The probe that is under way.</summary>
    public Task Probe { get; set; } = Task.CompletedTask;

    /// <summary>Whether it has failed since it last worked.</summary>
    public bool HasFailed => Volatile.Read(ref _awaySince) != 0;

    /// <summary>Whether it is away for longer than the timeout.</summary>
    public bool IsAway => Volatile.Read(ref _awaySince) is not 0 and var since && time.GetElapsedTime(since) > RedisCluster.Timeout;

    /// <summary>Whether it gave a good answer within the timeout.</summary>
    public bool AnswersOthers => time.GetElapsedTime(Volatile.Read(ref _answeredAt)) < RedisCluster.Timeout;

    /// <summary>The timestamp at which the outage began that the shard is in, or has just had; 0: none.</summary>
    public long OutageSince
    {
        get
        {
            lock (_gate)
            {
                if (_lastOutage.Until != 0 && time.GetElapsedTime(_lastOutage.Until) < OutageRemembered)
                    return _lastOutage.Since;
                return _awaySince == 0 ? _refusedSince : _refusedSince == 0 ? _awaySince : Math.Min(_awaySince, _refusedSince);
            }
        }
    }

    /// <summary>It failed, and had not answered for so long.</summary>
    public void Failed(string reason, TimeSpan silentFor)
    {
        lock (_gate)
        {
            Reason = reason;
            if (_awaySince != 0)
                return;
            var now = time.GetTimestamp();
            Volatile.Write(ref _noticedAt, now);
            Volatile.Write(ref _awaySince, now - (long)(silentFor.TotalSeconds * time.TimestampFrequency));
        }
    }

    /// <summary>It refused a write, for this reason.</summary>
    public void Refused(string reason)
    {
        lock (_gate)
        {
            Refusal = reason;
            if (_refusedSince != 0)
                return;
            Volatile.Write(ref _refusedNoticedAt, time.GetTimestamp());
            // it may have refused everything since the last write that it took
            Volatile.Write(ref _refusedSince, _wroteAt != 0 ? _wroteAt : _refusedNoticedAt);
        }
    }

    /// <summary>
    /// It gave a good answer to a command that was sent then. Returns how long it was away, or refused writes, if it is back by this
    /// and that was logged; zero otherwise.
    /// </summary>
    public TimeSpan Worked(long sentAt, bool isWrite)
    {
        Volatile.Write(ref _answeredAt, time.GetTimestamp());
        var refusedFor = HasRefused ? WorkedThoughRefusing(sentAt, isWrite) : TimeSpan.Zero;
        if (isWrite)
            Volatile.Write(ref _wroteAt, sentAt);
        if (!HasFailed)
            return refusedFor;
        lock (_gate)
        {
            var since = _awaySince;
            if (since == 0)
                return TimeSpan.Zero;
            recovered(this, since);
            if (sentAt < _noticedAt)
                return TimeSpan.Zero;
            _lastOutage = (since, time.GetTimestamp());
            Volatile.Write(ref _awaySince, 0);
            var wasSaid = _isSaidAway;
            (_isSaidAway, Reason) = (false, "");
            return wasSaid ? time.GetElapsedTime(since) : TimeSpan.Zero;
        }
    }

    private TimeSpan WorkedThoughRefusing(long sentAt, bool isWrite)
    {
        lock (_gate)
        {
            var since = _refusedSince;
            if (since == 0)
                return TimeSpan.Zero;
            var isOver = isWrite && sentAt >= _refusedNoticedAt;
            if (isOver || _refusalToldAt == 0 || time.GetElapsedTime(_refusalToldAt) >= RefusalToldEvery)
            {
                _refusalToldAt = time.GetTimestamp();
                recovered(this, since);
            }

            if (!isOver)
                return TimeSpan.Zero;
            _lastOutage = (since, time.GetTimestamp());
            Volatile.Write(ref _refusedSince, 0);
            var wasSaid = _isSaidRefusing;
            (_isSaidRefusing, Refusal, _refusalToldAt) = (false, "", 0);
            return wasSaid ? time.GetElapsedTime(since) : TimeSpan.Zero;
        }
    }

    /// <summary>It has slots of a shard whose outage began then.</summary>
    public void Inherits(long since)
    {
        lock (_gate)
            _lastOutage = (since, time.GetTimestamp());
    }

    /// <summary>Whether it is to be logged that it is away: once for each outage.</summary>
    public bool IsNewlyAway()
    {
        if (_isSaidAway || !IsAway)
            return false;
        lock (_gate)
        {
            if (!IsAway)
                return false;
            _isSaidAway = true;
            return true;
        }
    }

    /// <summary>Whether it is to be logged that it refuses writes: once for each time.</summary>
    public bool IsNewlyRefusing()
    {
        if (_isSaidRefusing || !RefusesWrites)
            return false;
        lock (_gate)
        {
            if (!RefusesWrites)
                return false;
            _isSaidRefusing = true;
            return true;
        }
    }

    /// <summary>Whether <see cref="IsAway"/> or <see cref="RefusesWrites"/> has changed since this was last asked.</summary>
    public bool HasChanged()
    {
        var (isAway, refuses) = (IsAway, RefusesWrites);
        return (Interlocked.Exchange(ref _isKnownAway, isAway) != isAway)
            | (Interlocked.Exchange(ref _isKnownRefusing, refuses) != refuses);
    }

    /// <summary>
    /// A command is about to be sent. Returns what ends when nobody waits for its answer any more. It may take long while others come.
    /// One that takes 2 s in which none came is given up, with all that are owed.
    /// </summary>
    public CancellationToken Owe()
    {
        if (Interlocked.Increment(ref _owed) == 1)
            Volatile.Write(ref _owedSince, time.GetTimestamp());
        return Volatile.Read(ref _givenUp).Token;
    }

    /// <summary>The command was answered, has failed, or was given up.</summary>
    public void Settle() => Interlocked.Decrement(ref _owed);

    /// <summary>Gives up the answers that are owed, where none came for longer than the timeout.</summary>
    public void GiveUp(string reason)
    {
        if (Volatile.Read(ref _owed) == 0)
            return;
        var silentFor = time.GetElapsedTime(Math.Max(Volatile.Read(ref _owedSince), Volatile.Read(ref _answeredAt)));
        if (silentFor <= RedisCluster.Timeout)
            return;
        Failed(reason, silentFor);
        // not disposed: a command may be about to wait for it
        _ = Interlocked.Exchange(ref _givenUp, new CancellationTokenSource()).CancelAsync();
    }
}
