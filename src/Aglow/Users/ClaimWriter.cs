using Aglow.Heartbeats;

namespace Aglow.Users;

/// <summary>
/// Sets and removes claims: on disk first, then in memory; then it publishes a hint for watchers.
/// </summary>
/// <remarks>
/// <code>
///   SetAsync ─► IUserDirectory (durable) ─► Claims (shared directory: DirectoryNews sets them on every node) ─► ITransitionBus: changed
/// </code>
/// The locks order the changes of one user on this node. A shared directory orders the changes of two nodes. Any thread.
/// </remarks>
internal sealed class ClaimWriter(
    IUserDirectory? directory,
    Claims claims,
    UserLocks locks,
    HeartbeatWriter heartbeats,
    ITransitionBus bus,
    Clock clock,
    StoredWords words)
{
    private IUserDirectory Directory => directory.Required();

    /// <summary>
    /// Sets the claim of one source; durable when this completes. Returns false and changes nothing if the user has too many sources.
    /// </summary>
    public async ValueTask<bool> SetAsync(uint user, Claim claim)
    {
        using var _ = await locks.EnterAsync(user);
        var was = claims.All(user).ToArray();
        var now = clock.Now;
        var before = EffectiveClaim.Of(was, now);
        var shown = claims.Of(user, now);
        claim = claim with
        {
            SetAt = Math.Max(clock.Time.GetUtcNow().ToUnixTimeMilliseconds(), was.Length == 0 ? 0 : was.Max(static c => c.SetAt) + 1),
            // a user who hides again, or while disabled, keeps the last seen of the first time
            ShownLastSeen = claim.Status != ClaimStatus.Hidden ? 0
                : shown.Status == ClaimStatus.Hidden ? shown.ShownLastSeen
                : await words.ShownLastSeenAsync(user),
        };
        if (!await Directory.SetClaimAsync(user, claim, now))
            return false;
        await PublishAsync(
            user,
            before,
            [.. was.Where(other => other.Source != claim.Source && (other.Hours is not null || other.At(now) is not null)), claim],
            now);
        return true;
    }

    /// <summary>Removes the claim of one source; durable when this completes.</summary>
    public async ValueTask RemoveAsync(uint user, string source)
    {
        using var _ = await locks.EnterAsync(user);
        var was = claims.All(user).ToArray();
        // another node may have set one that this node does not know yet
        if (!Directory.IsShared && !Array.Exists(was, claim => claim.Source == source))
            return;
        var now = clock.Now;
        var before = EffectiveClaim.Of(was, now);
        await Directory.RemoveClaimAsync(user, source);
        await PublishAsync(user, before, [.. was.Where(other => other.Source != source)], now);
    }

    private async ValueTask PublishAsync(uint user, EffectiveClaim before, Claim[] after, uint now)
    {
        if (!Directory.IsShared)
            claims.Set(user, after, now);
        // others see a user who stops hiding come online; older activity must not show this user as away
        if (EffectiveClaim.Of(after, now).Status != ClaimStatus.Hidden)
            await heartbeats.EndActivityAsync(user, before.Status == ClaimStatus.Hidden ? uint.MaxValue : before.ShownSince);
        await words.RecordAsync(user);
        bus.Publish(TransitionKind.Changed, [user]);
    }
}
