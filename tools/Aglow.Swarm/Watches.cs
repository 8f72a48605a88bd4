using System.Text.Json;
using Aglow.Swarm.Claims;

namespace Aglow.Swarm;

/// <summary>
/// The watches of one connection, and the records that it received. Each record is judged when it comes; <see cref="Audit"/> finds missing
/// ones.
/// </summary>
/// <remarks>Threading: the connection's reader and the auditor, under one lock.</remarks>
internal sealed class Watches(SwarmRun swarm, string watcher) : IDisposable
{
    private const int HistoryKept = 8;

    private sealed class Watch
    {
        public bool? LastOnline;
        public double Since;
        public double? Overdue;
        public string? LateClaim;
        public List<(double At, ServerRecord Record)> History { get; } = new(2);
    }

    private readonly Lock _gate = new();
    private readonly Dictionary<uint, Watch> _watches = [];
    private bool _hasEnded;

    /// <summary>Called before each <see cref="Audit"/>, while the connection is open, to confirm what it sent.</summary>
    public Action? Confirm { get; set; }

    /// <summary>Handles a message of the server: <c>{"type":"presence","users":[…]}</c>. Returns the type of the message.</summary>
    public string? Receive(ReadOnlyMemory<byte> json, double now)
    {
        using var message = JsonDocument.Parse(json);
        var type = message.RootElement.GetProperty("type").GetString();
        if (type != "presence")
            return type;
        lock (_gate)
        {
            if (_hasEnded)
                return type;
            foreach (var record in message.RootElement.GetProperty("users").EnumerateArray().Select(PresenceMessage.Record))
                ReceiveOne(record.UserId, record, now, isFresh: true);
        }

        return type;
    }

    /// <summary>Called once a second: finds records that are overdue.</summary>
    public void Audit(double now, bool isEnd)
    {
        Confirm?.Invoke();
        lock (_gate)
        {
            if (_hasEnded)
                return;
            foreach (var (user, watch) in _watches)
            {
                if (watch.LastOnline is not { } online)
                    continue;
                watch.Overdue ??= Judge.OverdueSince(
                    swarm.StandingOf(user), swarm.Promises, online, watch.History[^1].At, watch.Since, now);
                if (watch.Overdue is { } deadline && Judge.OfOverdue(swarm.Promises, !online, deadline, null, now, isEnd) is { } verdict)
                {
                    Report(user, watch, now, verdict);
                    // reported once; from here on it counts as received
                    (watch.LastOnline, watch.Overdue) = (!online, null);
                }

                if (online && swarm.ClaimsOf(user) is { } claims)
                    AuditClaim(user, watch, claims, now);
            }
        }
    }

    // The person is online, and was before: so the watcher should know their claim.
    private void AuditClaim(uint user, Watch watch, ClaimBook claims, double now)
    {
        if (swarm.StandingOf(user).SurelySince is not { } since || Math.Max(since, watch.Since) + swarm.Promises.Bound > now)
            return;
        // the claims are as of now, and the record came later: the next check decides
        if (watch.History[^1].At >= now)
            return;
        var why = ClaimJudge.WhyLate(claims, swarm.Promises, watch.History[^1].Record, now);
        if (why is not null && watch.LateClaim is null)
            Report(user, watch, now, Verdict.Broken(ViolationKind.Missed, why));
        // reported once, until a record comes that is right
        watch.LateClaim = why;
    }

    /// <summary>The device no longer listens, so no record is due.</summary>
    public void End()
    {
        lock (_gate)
            _hasEnded = true;
    }

    public void Dispose()
    {
        End();
        swarm.Forget(this);
    }

    /// <summary>Handles a record; one that is not fresh may be what the client knew before its connection was stale.</summary>
    public void Receive(uint user, ServerRecord record, double now, bool isFresh)
    {
        lock (_gate)
        {
            if (!_hasEnded)
                ReceiveOne(user, record, now, isFresh);
        }
    }

    /// <summary>The watcher's own client says that it knows nothing of a user now.</summary>
    public void Forget(uint user, double now)
    {
        lock (_gate)
        {
            if (_watches.TryGetValue(user, out var watch))
                (watch.LastOnline, watch.Overdue, watch.Since) = (null, null, now);
        }
    }

    private void ReceiveOne(uint user, ServerRecord record, double now, bool isFresh)
    {
        if (swarm.TruthOf(user) is not { } truth)
            return;
        if (!_watches.TryGetValue(user, out var watch))
            _watches.Add(user, watch = new Watch { Since = now });
        if (watch.History.Count == HistoryKept)
            watch.History.RemoveAt(0);
        watch.History.Add((now, record));
        swarm.Measures.Deliveries.Add();

        var when = swarm.WindowAt(now - swarm.Promises.Slack, now) with { IsFresh = isFresh };
        var verdict = Judge.OfRecord(truth, swarm.Promises, record, when, swarm.PersonalOf(user));
        swarm.Findings.CountReceived(verdict.WasDecisive);
        if (verdict.Kind is not null)
            Report(user, watch, now, verdict);
        if (watch.LastOnline is { } before && before != record.IsOnline)
        {
            if (watch.Overdue is { } deadline)
                Report(user, watch, now, Judge.OfOverdue(swarm.Promises, record.IsOnline, deadline, now, now, isEnd: false)!.Value);
            else
                swarm.Findings.ChangesInTime.Add();
            if (record.IsOnline && swarm.SeesActs(user) && truth.CameOnlineAt(now) is { } came && came >= watch.Since)
                swarm.Measures.NoticeLatency.Add(now - came);
        }

        (watch.LastOnline, watch.Overdue) = (record.IsOnline, null);
    }

    private void Report(uint user, Watch watch, double now, Verdict verdict) => swarm.Report(
        verdict, user, now, $"told to {watcher}",
        [$"{watch.Since,9:0.000} s  watched by {watcher}", .. watch.History.Select(h => SwarmRun.Line(h.At, h.Record))]);
}
