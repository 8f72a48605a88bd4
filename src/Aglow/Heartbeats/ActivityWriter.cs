namespace Aglow.Heartbeats;

/// <summary>Writes activity: the second in which a person last did something.</summary>
/// <remarks>Threading: any thread, no lock.</remarks>
internal sealed class ActivityWriter(IPlaneStore store, ITransitionBus bus, AheadWords ahead, RenewalLoop? renewals, uint awaySeconds)
{
    // activity changes often but minutes are exact enough: it is persisted when it moves into the user's next minute
    private const uint KeepActivitySeconds = 60;

    /// <summary>Writes the activity of one user at this moment.</summary>
    public async ValueTask<Admission> WriteAsync(uint user, Moment at)
    {
        if (renewals is not null && renewals.OfActivity.TryDefer(user, at.Now, at.Oldest(awaySeconds)))
            return Admission.Accepted;
        var before = await store.ExchangeAsync(Plane.Activity, user, at.Now);
        if (AheadWords.IsAhead(before, at))
            await ahead.ReplaceAsync(Plane.Activity, new[] { user }, at.Now, at);
        if (before != Pulse.Refused && Pulse.Supersedes(at.Now, before))
            renewals?.OfActivity.Wrote(user, at.Now);
        if (IsStaleActivity(user, before, at))
            store.Keep(Plane.Activity, [user]);
        if (WasAway(before, at))
            bus.Publish(TransitionKind.Changed, [user]);
        return Admission.Accepted;
    }

    /// <summary>Writes the activity of a batch. The other arrays are scratch; the last has room for the batch if renewals wait.</summary>
    public async ValueTask WriteAsync(
        ReadOnlyMemory<uint> users, Memory<uint> words, Memory<uint> old, Moment at, Memory<uint> scratch)
    {
        if (renewals is not null)
        {
            users = scratch[..renewals.OfActivity.Defer(users.Span, at.Now, at.Oldest(awaySeconds), scratch.Span)];
            (words, old) = (words[..users.Length], old[..users.Length]);
        }

        words.Span.Fill(at.Now);
        try
        {
            await store.ExchangeAsync(Plane.Activity, users, words, old);
        }
        catch (StoreUnavailableException) when (renewals is not null)
        {
            foreach (var user in users.Span)
                renewals.OfActivity.Hold(user, at.Now);
            throw;
        }

        if (AheadWords.MayBeAmong(old.Span, at))
            await ahead.ReplaceAsync(Plane.Activity, users, at.Now, at);
        if (renewals is not null)
            RenewalLoop.Wrote(renewals.OfActivity, users.Span, old.Span, at.Now);
        var stale = 0;
        var away = 0;
        for (var i = 0; i < users.Length; i++)
        {
            var before = old.Span[i];
            if (IsStaleActivity(users.Span[i], before, at))
                words.Span[stale++] = users.Span[i];
            // old[i] is no longer needed: the array holds the users who were away
            if (WasAway(before, at))
                old.Span[away++] = users.Span[i];
        }

        if (stale > 0)
            store.Keep(Plane.Activity, words.Span[..stale]);
        if (away > 0)
            bus.Publish(TransitionKind.Changed, old.Span[..away]);
    }

    // Counts minutes, not the distance to the last word, which moves with each heartbeat. Each user's minutes begin at another second, so
    // that not all activity is persisted at once.
    private static bool IsStaleActivity(uint user, uint before, Moment at)
    {
        var offset = user % KeepActivitySeconds;
        return before != Pulse.Refused && (Pulse.Second(before) + offset) / KeepActivitySeconds < (at.Now + offset) / KeepActivitySeconds;
    }

    private bool WasAway(uint before, Moment at) => before != Pulse.Refused && Presence.IsIdle(before, at, awaySeconds);
}
