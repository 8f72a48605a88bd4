namespace Aglow.Swarm;

/// <summary>What one person's devices really did, and what can therefore be true of them.</summary>
/// <remarks>
/// Two sets of moments follow from the acts. The person is <em>surely online</em> at d if an act that arrived by d is younger than the
/// lease, and no leave came since. The person is <em>possibly online</em> at d if an act may have arrived by d, and the lease and the bound
/// have not both passed. A record must lie between: never offline while surely online, never online while not possibly online.
/// <code>
///   heartbeat    sent ├──?──┤ acknowledged
///   surely online           ├──────────── sent + lease ┤
///   possibly online  ├──────────────────────────────── acknowledged + lease + bound ┤
/// </code>
/// Whole seconds: a word holds the second of its heartbeat, and expires when that second is more than the lease ago. So a lease lasts
/// between L and L + 1 seconds of real time. Surely online therefore counts L from the sending, without rounding; the additional second is
/// within the bound. Pure except for added acts: every query has its moment as an argument. Threading: one lock, held for microseconds.
/// </remarks>
internal sealed class Truth(Promises promises)
{
    // Three devices with a heartbeat every 10 s fill this in a few minutes. Only acts younger than lease + bound matter.
    private const int Kept = 96;

    private readonly Lock _gate = new();
    private readonly List<(long Id, Act Act)> _acts = [];
    private long _nextId;
    private double _forgottenUntil = double.NegativeInfinity;

    /// <summary>Adds an act; returns its number for <see cref="Settle"/>.</summary>
    public long Add(Act act)
    {
        lock (_gate)
        {
            if (_acts.Count == Kept)
            {
                // an act that is still going on stays
                var oldest = Math.Max(0, _acts.FindIndex(static a => !double.IsInfinity(a.Act.To)));
                _forgottenUntil = Math.Max(_forgottenUntil, _acts[oldest].Act.From);
                _acts.RemoveAt(oldest);
            }

            _acts.Add((_nextId, act));
            return _nextId++;
        }
    }

    /// <summary>Sets until when the server can have received an act, and whether it surely did.</summary>
    public void Settle(long id, double to, bool isSure)
    {
        lock (_gate)
        {
            if (_acts.FindLastIndex(a => a.Id == id) is >= 0 and var at)
                _acts[at] = (id, _acts[at].Act with { To = to, IsSure = isSure });
        }
    }

    /// <summary>All acts, oldest first.</summary>
    public Act[] History()
    {
        lock (_gate)
            return [.. _acts.Select(static a => a.Act)];
    }

    /// <summary>
    /// Since when the person is surely online without a break, if so throughout [<paramref name="from"/>, <paramref name="to"/>], in
    /// whatever order the server received the acts; else null.
    /// </summary>
    public double? SurelyOnlineSince(double from, double to)
    {
        lock (_gate)
        {
            // backwards from the end: each step finds an interval that contains the moment and begins earlier
            double? since = null;
            var moment = to;
            while (BeginOfInterval(moment) is { } begin)
            {
                since = begin;
                if (begin >= moment)
                    break;
                moment = Math.BitDecrement(begin);
            }

            // the first act of a time online may be lost, and then the next one shows it
            since += promises.ArrivalShows;
            return since <= from ? since : null;
        }
    }

    /// <summary>
    /// Whether the person can be shown online at some moment of [<paramref name="from"/>, <paramref name="to"/>].
    /// <paramref name="held"/>: for how many seconds the server says that it holds expired leases back, after its own stall.
    /// </summary>
    public bool IsPossiblyOnline(double from, double to, double held = 0)
    {
        lock (_gate)
        {
            return from <= _forgottenUntil + promises.Lease + promises.Bound + held
                || _acts.Exists(a => a.Act.MayBeEvidence && a.Act.From <= to && EndOfPossible(a.Act, held) >= from);
        }
    }

    /// <summary>The moment after which the person cannot be online any more; negative infinity: they never were online.</summary>
    public double PossiblyOnlineUntil(double held = 0)
    {
        lock (_gate)
            return _acts.Max(a => a.Act.MayBeEvidence ? EndOfPossible(a.Act, held) : (double?)null) ?? double.NegativeInfinity;
    }

    /// <summary>Both answers at one moment, for callers that ask about all users once a second.</summary>
    public Standing At(double now, double held) =>
        new(SurelyOnlineSince(now, now), PossiblyOnlineUntil(held), IsPossiblyOnline(now, now, held));

    /// <summary>
    /// Why a last-seen second (of our clock) that was received by <paramref name="receivedBy"/> cannot be true; null: it can.
    /// </summary>
    public string? WhyNeverSeenAt(double second, double asked, double receivedBy)
    {
        lock (_gate)
        {
            if (second <= _forgottenUntil + promises.ClockSlack)
                return null;
            var newestSure = double.NegativeInfinity;
            var isPossible = false;
            foreach (var (_, act) in _acts)
            {
                if (act.Kind is ActKind.Drop or ActKind.Crash || act.From > receivedBy || IsErased(act, asked))
                    continue;
                isPossible |= second >= act.From - promises.ClockSlack && second <= Math.Min(act.To, receivedBy) + promises.ClockSlack;
                if (act.IsSure && act.IsEvidence && act.To + promises.RenewalShows <= asked && !MayBeErased(act))
                    newestSure = Math.Max(newestSure, act.From);
            }

            if (!isPossible)
                return $"last seen {second:0} s, when no device did anything";
            return second < newestSure - promises.ClockSlack - promises.MayLose
                ? $"last seen {second:0} s, but heard at {newestSure:0.000} s"
                : null;
        }
    }

    /// <summary>
    /// Why the newest activity cannot be that of this second (of our clock), received by <paramref name="receivedBy"/>; null: it can.
    /// </summary>
    public string? WhyNeverActiveAt(double second, double asked, double receivedBy)
    {
        lock (_gate)
        {
            if (second <= _forgottenUntil + promises.ClockSlack)
                return null;
            var isPossible = false;
            // a node that dies may lose the renewals of its last second, and the activity before may be half a minute old
            var (newest, before) = (double.NegativeInfinity, double.NegativeInfinity);
            foreach (var (_, act) in _acts)
            {
                if (act.From > receivedBy)
                    continue;
                if (act.Kind is ActKind.Active or ActKind.Before)
                    isPossible |= second >= act.From - promises.ClockSlack && second <= Math.Min(act.To, receivedBy) + promises.ClockSlack;
                if (act is { Kind: ActKind.Active, IsSure: true } && act.To + promises.RenewalShows <= asked && !MayBeErased(act))
                    (newest, before) = act.From > newest ? (act.From, newest) : (newest, Math.Max(before, act.From));
            }

            if (!isPossible)
                return $"active at {second:0} s, when nobody did anything";
            var oldest = promises.IsDisturbed ? Math.Min(newest - promises.MayLose, before) : newest - promises.MayLose;
            return second < oldest - promises.ClockSlack
                ? $"active at {second:0} s, but did something at {newest:0.000} s"
                : null;
        }
    }

    /// <summary>
    /// Why a person who is online cannot be away throughout [<paramref name="from"/>, <paramref name="to"/>], or cannot be active; null if
    /// they can. Away belongs to a session: activity before the person came online does not count.
    /// </summary>
    public string? WhyNot(bool away, double from, double to, double held)
    {
        lock (_gate)
        {
            if (from <= _forgottenUntil + promises.Lease + promises.Bound + held)
                return null;
            var (session, reach) = (double.NegativeInfinity, double.NegativeInfinity);
            var (possible, sure, receivedAt) = (double.NegativeInfinity, double.NegativeInfinity, double.NegativeInfinity);
            foreach (var (_, act) in _acts)
            {
                if (act.From > to)
                    continue;
                // surely offline in between, even if expired leases were held back for two heartbeats: so this is another session
                if (act.MayBeEvidence && act.From > reach)
                    (session, possible) = (act.From, double.NegativeInfinity);
                if (act.MayBeEvidence)
                    reach = Math.Max(reach, EndOfPossible(act, held) + (2 * promises.Heartbeat));
                // users who were online before the run may have been active then
                if (act.Kind is not (ActKind.Active or ActKind.Before))
                    continue;
                possible = Math.Max(possible, act.To);
                if (act.IsSure && act.To + promises.RenewalShows <= from)
                    (sure, receivedAt) = (Math.Max(sure, act.From), Math.Max(receivedAt, act.To));
            }

            if (away && double.IsNegativeInfinity(possible))
                return $"told away, but nothing was done since they came online at {session:0.000} s";
            if (promises.Away == 0)
                return null;
            // a word holds whole seconds
            if (away && to - sure < promises.Away - 1)
                return $"told away, but active at {sure:0.000} s";
            var last = Math.Min(possible, to);
            if (!away && from - last > promises.Away + promises.Bound + held && SurelyOnlineSince(from, to) <= receivedAt)
                return $"told online, but did nothing since {last:0.000} s";
            return null;
        }
    }

    /// <summary>
    /// When the first act of the current time online was sent. The latency of the notice counts from it. Null if the server may not have
    /// received that act.
    /// </summary>
    public double? CameOnlineAt(double now)
    {
        lock (_gate)
        {
            double? came = null;
            var isLost = false;
            foreach (var (_, act) in _acts)
            {
                if (act.From > now)
                    break;
                if (act.EndsAll)
                    came = null;
                else if (act.IsEvidence && act.Kind != ActKind.Before && (came is null || act.From > LastBefore(act.From) + promises.Lease))
                    (came, isLost) = (act.From, !act.IsSure && act.To <= now);
            }

            return isLost ? null : came;
        }
    }

    // A deletion that is surely complete at this moment has erased an act. An act that overlaps with a deletion may be older or newer.
    private bool IsErased(Act act, double at) =>
        _acts.Exists(d => d.Act is { Kind: ActKind.Delete, IsSure: true } deletion && deletion.To + promises.LeaveSettles <= at
            && (act.To <= deletion.From || act == deletion));

    private bool MayBeErased(Act act) => _acts.Exists(d => d.Act.Kind == ActKind.Delete && act.From < d.Act.To);

    private double LastBefore(double moment) =>
        _acts.Max(a => a.Act.IsEvidence && a.Act.From < moment ? a.Act.From : (double?)null) ?? double.NegativeInfinity;

    // The earliest beginning of a surely-online interval that contains the moment.
    private double? BeginOfInterval(double moment)
    {
        double? earliest = null;
        foreach (var (_, act) in _acts)
        {
            if (!act.IsEvidence || !act.IsSure || act.To > moment
                || moment >= act.From + promises.Lease - promises.MayLose)
                continue;
            var begin = act.To;
            foreach (var (_, leave) in _acts)
            {
                if (leave.From <= moment && (leave.To > act.From ? Ends(leave, act, moment) : MayEnd(leave, act, moment)))
                    begin = double.PositiveInfinity;
            }

            if (begin <= moment && (earliest is null || begin < earliest))
                earliest = begin;
        }

        return earliest;
    }

    // One device left: its own acts no longer count, and those of the others count for a shorter time.
    private bool Ends(Act leave, Act act, double moment) => leave.EndsAll
        || (leave.Kind == ActKind.LeaveOne && (leave.Device == act.Device || moment >= leave.From + promises.DeviceLeaveKeeps));

    // The act began after the leave was complete, but perhaps in the same second and on another node.
    private bool MayEnd(Act leave, Act act, double moment) => leave.To + promises.Unordered > act.From
        && (leave.Kind is ActKind.Leave or ActKind.Delete
            || (leave.Kind is ActKind.LeaveOne or ActKind.LeaveLast && moment >= leave.From + promises.DeviceLeaveKeeps));

    private double EndOfPossible(Act act, double held)
    {
        // the leave of the last device keeps the person online for a while, even if the lease would have ended before
        if (act is { Kind: ActKind.LeaveLast, IsSure: true })
            return act.To + EndOfLeave(held);
        var end = act.To + promises.Lease + promises.Bound + held;
        foreach (var (_, leave) in _acts)
        {
            // A connection keeps the order of messages. For other devices, only acts that were complete before the leave began are older.
            var isBefore = act.To <= leave.From || (act.Device == leave.Device && act.From < leave.From);
            if (leave is { EndsAll: true, IsSure: true } && isBefore)
                end = Math.Min(end, leave.To + (leave.Kind == ActKind.LeaveLast ? EndOfLeave(held) : promises.Bound));
        }

        return end;
    }

    // how long after the leave of the last device the person may still be shown online
    private double EndOfLeave(double held) => Math.Max(promises.Bound, promises.DeviceLeaveSettles + held);
}

/// <summary>The truth about a person at one moment.</summary>
/// <param name="SurelySince">Since when the person is surely online; null: not surely online.</param>
/// <param name="PossiblyUntil">The latest moment until which the person can be online.</param>
/// <param name="IsPossible">Whether the person can be online.</param>
internal readonly record struct Standing(double? SurelySince, double PossiblyUntil, bool IsPossible);
