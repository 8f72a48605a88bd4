using System.Diagnostics.CodeAnalysis;
using System.Net;

namespace Aglow.Redis.Connections;

/// <summary>One server that owns slots: its pending answers, and since when it is away.</summary>
/// <remarks>
/// <code>
///   failure noticed ─► away, since the failure ─── 2 s ───► known to be away: commands fail at once
///                            │
///                            └─ good answer to a command sent after the failure was noticed ─► calls Recovered, then the shard works again
/// </code>
/// An answer to a command that was sent before the failure was noticed may be older than the failure, so it ends no outage. It may also be
/// newer, so the outage is still reported before that answer reaches its caller.
///
/// A shard may answer but refuse writes (out of memory, too few replicas, disk full). <see cref="RefusesWrites"/> tracks that separately.
/// Reads succeed meanwhile, so the outage is reported repeatedly, before their answers reach callers, until a write succeeds. Threading:
/// any thread; a lock is taken only while the shard is away.
///
/// <c>recovered</c> is called with the timestamp at which the outage began, before an answer that may end the outage reaches its caller. It
/// must return at once.
/// </remarks>
[SuppressMessage("Design", "CA1001", Justification = "A token source without a timer holds nothing that must be freed")]
internal sealed class RedisShard(EndPoint endpoint, TimeProvider time, Action<RedisShard, long> recovered)
{
    // For this time after an outage, a failover may bring back words from before the outage.
    private static readonly TimeSpan OutageRemembered = TimeSpan.FromSeconds(15);

    // shorter than any stall guard lasts
    private static readonly TimeSpan RefusalReportInterval = TimeSpan.FromSeconds(0.5);

    private readonly Lock _gate = new();
    // the timestamp of the first failure since the shard last worked; 0: it works
    private long _awaySince;
    private long _noticedAt;
    private long _answeredAt;
    private (long Since, long Until) _lastOutage;
    // the same for writes alone
    private long _refusedSince;
    private long _refusedNoticedAt;
    private long _refusalReportedAt;
    private long _wroteAt;
    private bool _isRefusalLogged;
    private bool _isKnownRefusing;
    private int _owed;
    private long _owedSince;
    private bool _isKnownAway;
    private bool _isAwayLogged;
    private CancellationTokenSource _givenUp = new();

    public EndPoint Endpoint { get; } = endpoint;

    /// <summary>The server's address, as people write it.</summary>
    public string Name { get; } = ServerNames.Of(endpoint);

    /// <summary>Why it is away; empty: it works.</summary>
    public string Reason { get; private set; } = "";

    /// <summary>Why it refuses writes, in its own words; empty: it takes them.</summary>
    public string Refusal { get; private set; } = "";

    /// <summary>Whether it has refused a write since it last took one.</summary>
    public bool HasRefused => Volatile.Read(ref _refusedSince) != 0;

    /// <summary>Whether it has refused writes for longer than the timeout.</summary>
    public bool RefusesWrites =>
        Volatile.Read(ref _refusedSince) is not 0 and var since && time.GetElapsedTime(since) > RedisCluster.Timeout;

    /// <summary>How long it could not be written: it is away, or refuses writes. Zero: writes work, as far as is known.</summary>
    public TimeSpan UnwritableFor
    {
        get
        {
            var (away, refused) = (Volatile.Read(ref _awaySince), Volatile.Read(ref _refusedSince));
            var since = away == 0 ? refused : refused == 0 ? away : Math.Min(away, refused);
            return since == 0 ? TimeSpan.Zero : time.GetElapsedTime(since);
        }
    }

    /// <summary>The send time of the newest write that it accepted, as a timestamp.</summary>
    public long WroteAt => Volatile.Read(ref _wroteAt);

    public long ProbedAt { get; set; }

    public Task Probe { get; set; } = Task.CompletedTask;

    /// <summary>Whether it has failed since it last worked.</summary>
    public bool HasFailed => Volatile.Read(ref _awaySince) != 0;

    /// <summary>Whether it has been away for longer than the timeout.</summary>
    public bool IsAway => Volatile.Read(ref _awaySince) is not 0 and var since && time.GetElapsedTime(since) > RedisCluster.Timeout;

    /// <summary>Whether it gave a good answer within the timeout.</summary>
    public bool AnswersOthers => time.GetElapsedTime(Volatile.Read(ref _answeredAt)) < RedisCluster.Timeout;

    /// <summary>The timestamp at which the current outage began, or one that ended within the last 15 s; 0: none.</summary>
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

    /// <summary>Records a failure, and for how long the shard had not answered before it.</summary>
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

    /// <summary>Records that it refused a write, and why.</summary>
    public void Refused(string reason)
    {
        lock (_gate)
        {
            Refusal = reason;
            if (_refusedSince != 0)
                return;
            Volatile.Write(ref _refusedNoticedAt, time.GetTimestamp());
            // it may have refused every write since the last one that it accepted
            Volatile.Write(ref _refusedSince, _wroteAt != 0 ? _wroteAt : _refusedNoticedAt);
        }
    }

    /// <summary>
    /// Records a good answer to a command, with the time at which the command was sent. If this ends an outage that was logged, returns the
    /// length of the outage; otherwise zero.
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
            var wasLogged = _isAwayLogged;
            (_isAwayLogged, Reason) = (false, "");
            return wasLogged ? time.GetElapsedTime(since) : TimeSpan.Zero;
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
            if (isOver || _refusalReportedAt == 0 || time.GetElapsedTime(_refusalReportedAt) >= RefusalReportInterval)
            {
                _refusalReportedAt = time.GetTimestamp();
                recovered(this, since);
            }

            if (!isOver)
                return TimeSpan.Zero;
            _lastOutage = (since, time.GetTimestamp());
            Volatile.Write(ref _refusedSince, 0);
            var wasLogged = _isRefusalLogged;
            (_isRefusalLogged, Refusal, _refusalReportedAt) = (false, "", 0);
            return wasLogged ? time.GetElapsedTime(since) : TimeSpan.Zero;
        }
    }

    /// <summary>Records that it took over slots of another shard, and when the outage of that shard began.</summary>
    public void Inherits(long since)
    {
        lock (_gate)
            _lastOutage = (since, time.GetTimestamp());
    }

    /// <summary>Whether to log now that it is away: once for each outage.</summary>
    public bool IsNewlyAway()
    {
        if (_isAwayLogged || !IsAway)
            return false;
        lock (_gate)
        {
            if (!IsAway)
                return false;
            _isAwayLogged = true;
            return true;
        }
    }

    /// <summary>Whether to log now that it refuses writes: once for each outage.</summary>
    public bool IsNewlyRefusing()
    {
        if (_isRefusalLogged || !RefusesWrites)
            return false;
        lock (_gate)
        {
            if (!RefusesWrites)
                return false;
            _isRefusalLogged = true;
            return true;
        }
    }

    /// <summary>Whether <see cref="IsAway"/> or <see cref="RefusesWrites"/> has changed since the last call.</summary>
    public bool HasChanged()
    {
        var (isAway, refuses) = (IsAway, RefusesWrites);
        return (Interlocked.Exchange(ref _isKnownAway, isAway) != isAway)
            | (Interlocked.Exchange(ref _isKnownRefusing, refuses) != refuses);
    }

    /// <summary>
    /// Records that a command is about to be sent. Returns a token that is canceled when its answer is abandoned. An answer may take long
    /// while others arrive; all pending answers are abandoned once none arrived for 2 s.
    /// </summary>
    public CancellationToken Owe()
    {
        if (Interlocked.Increment(ref _owed) == 1)
            Volatile.Write(ref _owedSince, time.GetTimestamp());
        return Volatile.Read(ref _givenUp).Token;
    }

    /// <summary>Records that the command was answered, failed or was abandoned.</summary>
    public void Settle() => Interlocked.Decrement(ref _owed);

    /// <summary>Abandons the pending answers if none arrived for longer than the timeout.</summary>
    public void GiveUp(string reason)
    {
        if (Volatile.Read(ref _owed) == 0)
            return;
        var silentFor = time.GetElapsedTime(Math.Max(Volatile.Read(ref _owedSince), Volatile.Read(ref _answeredAt)));
        if (silentFor <= RedisCluster.Timeout)
            return;
        Failed(reason, silentFor);
        // not disposed: a command may be about to use it
        _ = Interlocked.Exchange(ref _givenUp, new CancellationTokenSource()).CancelAsync();
    }
}
