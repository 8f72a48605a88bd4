namespace Aglow.Swarm.Claims;

/// <summary>The claims of one person, as a naive model: every version of the table, and when the server can have changed to it.</summary>
/// <remarks>
/// One task changes a person's claims, so versions do not overlap. While a change is on its way, the version before and the one after are
/// both possible. Both stay possible for <see cref="Promises.ClaimSettles"/> after its acknowledgement, because another node may not know
/// the change yet.
/// <code>
///   version 1 possible ├─────────────────────────── + settles ┤
///   version 2 possible              sent ├──?──┤ acknowledged ├──────────
/// </code>
/// Threading: one lock.
/// </remarks>
internal sealed class ClaimBook(Promises promises)
{
    private const int Kept = 64;

    private readonly Lock _gate = new();
    private readonly List<Version> _versions = [new(double.NegativeInfinity, double.NegativeInfinity, [])];

    // oldest claim first
    private readonly record struct Version(double From, double To, Claim[] Table);

    /// <summary>A change is sent: the claim replaces that of its source, or removes it.</summary>
    public void Set(double now, Claim claim, bool removes) =>
        Begin(now, table => [.. table.Where(c => c.Source != claim.Source), .. removes ? (Claim[])[] : [claim]]);

    /// <summary>The user's deletion is sent, which erases all claims.</summary>
    public void Erase(double now) => Begin(now, static _ => []);

    /// <summary>The change that was sent last is acknowledged.</summary>
    public void Acknowledge(double now)
    {
        lock (_gate)
            _versions[^1] = _versions[^1] with { To = now };
    }

    /// <summary>
    /// What can be shown at some moment of [<paramref name="from"/>, <paramref name="to"/>]; null stands for no claim.
    /// </summary>
    public IReadOnlyList<Claim?> ShownIn(double from, double to)
    {
        var (first, last) = (SecondOf(from - promises.ClockSlack), SecondOf(to + promises.ClockSlack));
        var shown = new HashSet<Claim?>();
        lock (_gate)
        {
            for (var i = 0; i < _versions.Count && _versions[i].From <= to; i++)
            {
                if (i + 1 < _versions.Count && _versions[i + 1].To + promises.ClaimSettles <= from)
                    continue;
                var table = _versions[i].Table;
                var ends = table.Select(static c => c.Until ?? 0).Where(end => end >= first && end <= last);
                foreach (var second in ends.Append(first).Append(last))
                    shown.Add(Effective(table, second));
            }
        }

        return [.. shown];
    }

    /// <summary>Whether the person may be hidden at some moment of this time, and whether they are surely hidden throughout.</summary>
    public (bool May, bool Must) HiddenIn(double from, double to)
    {
        var shown = ShownIn(from, to);
        return (shown.Any(static s => s is { Hides: true }), shown.All(static s => s is { Hides: true }));
    }

    /// <summary>What callers can see of the person; <paramref name="truth"/>: what follows from the person's devices alone.</summary>
    public Standing Seen(Standing truth, double now)
    {
        var (may, must) = HiddenIn(now, now);
        if (must)
            return new Standing(null, Math.Min(truth.PossiblyUntil, HiddenSince(now) + promises.Bound), IsPossible: false);
        return may ? truth with { SurelySince = null }
            : truth.SurelySince is { } since ? truth with { SurelySince = Math.Max(since, VisibleSince(now)) } : truth;
    }

    /// <summary>Whether a hidden user's last seen may be this second of our clock, because the user may have hidden then.</summary>
    public bool HidAt(double second)
    {
        lock (_gate)
        {
            return _versions.Exists(v => Array.Exists(v.Table, static c => c.Hides)
                && second >= v.From - promises.ClockSlack && second <= v.To + promises.ClaimSettles);
        }
    }

    /// <summary>The versions as lines of a history.</summary>
    public string[] History()
    {
        lock (_gate)
        {
            return [.. _versions.Skip(1).Select(v =>
                $"{v.From,9:0.000} s  claims, known by {v.To:0.000}: {string.Join("; ", v.Table.Select(c => $"{c}"))}")];
        }
    }

    private static Claim? Effective(Claim[] table, long second)
    {
        Claim? shown = null;
        foreach (var claim in table.Where(c => c.IsInForce(second)))
        {
            if (claim.Hides)
                return claim;
            // of equal priorities the newest
            if (shown is null || claim.Priority >= shown.Priority)
                shown = claim;
        }

        return shown;
    }

    private void Begin(double now, Func<Claim[], Claim[]> change)
    {
        lock (_gate)
        {
            if (_versions.Count == Kept)
                _versions.RemoveAt(0);
            _versions.Add(new Version(now, double.PositiveInfinity, change(_versions[^1].Table)));
        }
    }

    // the acknowledgement of the first of the newest versions that all hide
    private double HiddenSince(double now)
    {
        lock (_gate)
        {
            var newest = _versions.FindLastIndex(v => v.From <= now);
            var since = _versions[newest].To;
            for (var i = newest; i >= 0 && Array.Exists(_versions[i].Table, static c => c.Hides); i--)
                since = _versions[i].To;
            return since;
        }
    }

    // when the last claim that hid the user was replaced, or ended
    private double VisibleSince(double now)
    {
        lock (_gate)
        {
            var since = double.NegativeInfinity;
            for (var i = 0; i < _versions.Count && _versions[i].From <= now; i++)
            {
                var until = i + 1 < _versions.Count ? _versions[i + 1].To : double.PositiveInfinity;
                foreach (var claim in _versions[i].Table.Where(static c => c.Hides))
                    since = Math.Max(since, Math.Min(until, claim.Until is { } end ? end - promises.UnixAtZero + 1 : until));
            }

            return since;
        }
    }

    private long SecondOf(double moment) => (long)Math.Floor(promises.UnixAtZero + moment);
}
