namespace Aglow.Swarm.Changes;

/// <summary>The rules of changes: they compare the changes that a backend received with what happened. Pure.</summary>
internal static class ChangeJudge
{
    // the second of a record is cut off, and the clocks of two machines differ
    private const double Rounding = 2;

    /// <summary>The promise that a change breaks, when the change arrives; null: none.</summary>
    public static Verdict? WhyNot(Truth truth, SwarmRun swarm, Change change, double receivedAt)
    {
        // a change may be recorded late, after another node took the feed over
        var at = Math.Min(swarm.MomentOf(change.At) + Rounding, receivedAt);
        var from = swarm.MomentOf(change.At) - Rounding - swarm.Promises.RecordedWithin - swarm.Lag;
        if (!change.IsOnline && swarm.ClaimsOf(change.User)?.HiddenIn(from, at).May != true
            && change.Reason != "deleted" && truth.SurelyOnlineSince(from, at) is { } since)
            return Verdict.Broken(ViolationKind.FalseOffline, $"told offline by {change.Reason}, but surely online since {since:0.000} s");
        if (change.IsOnline && !truth.IsPossiblyOnline(from, at, swarm.HeldAt(receivedAt)))
            return Verdict.Broken(ViolationKind.GhostOnline, "told online, when no device was there");
        return null;
    }

    /// <summary>
    /// The promise that a backend's last state breaks, after a quiet time; null: the state is right, or either state may be.
    /// </summary>
    public static Verdict? OfEnd(Standing standing, Promises promises, bool? isOnline, double now)
    {
        if (standing.SurelySince is { } since && since + promises.Bound < now && isOnline != true)
            return Verdict.Broken(ViolationKind.WrongByChanges, $"offline to the backend, but surely online since {since:0.000} s");
        if (!standing.IsPossible && standing.PossiblyUntil + promises.Slack < now && isOnline == true)
            return Verdict.Broken(
                ViolationKind.WrongByChanges, $"online to the backend, but possible only until {standing.PossiblyUntil:0.000} s");
        return null;
    }

    /// <summary>
    /// The episodes of which a backend heard nothing. A change that tells of an episode was recorded after the last moment at which the
    /// opposite was sure.
    /// </summary>
    public static IEnumerable<Episode> Missed(IReadOnlyList<Episode> episodes, IReadOnlyList<Change> changes, Func<long, double> momentOf)
    {
        var (place, opposite) = (0, double.NegativeInfinity);
        for (var i = 0; i < episodes.Count; i++)
        {
            var episode = episodes[i];
            // everybody is offline at first
            if (i == 0 && !episode.IsOnline)
            {
                opposite = episode.Until;
                continue;
            }

            var found = place;
            while (found < changes.Count
                && (changes[found].IsOnline != episode.IsOnline || momentOf(changes[found].At) < opposite - Rounding))
                found++;
            if (found < changes.Count)
                place = found + 1;
            else
                yield return episode;
            opposite = episode.Until;
        }
    }
}
