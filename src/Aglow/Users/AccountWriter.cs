using Aglow.Heartbeats;

namespace Aglow.Users;

/// <summary>
/// Deletes, signs out, disables and enables users: on disk first, then in memory; then it publishes a hint. Loads all of it at start.
/// </summary>
/// <remarks>
/// With a shared directory, <c>DirectoryNews</c> changes the memory on every node. The locks order the changes of one user on this node.
/// Any thread.
/// </remarks>
internal sealed class AccountWriter(
    IUserDirectory? directory,
    Claims claims,
    Accounts accounts,
    Visibilities visibilities,
    VisibilityWriter visibility,
    UserLocks locks,
    StoredWords words,
    IPlaneStore store,
    HeartbeatWriter heartbeats,
    ITransitionBus bus,
    Clock clock,
    RecheckUsers recheck)
{
    private bool IsShared => directory is { IsShared: true };

    public async Task LoadAsync()
    {
        if (directory is null)
            return;
        await directory.HoldDeletionsAsync(Unix(clock.Now));
        if (!IsShared)
        {
            foreach (var (user, claimed) in await directory.ClaimsAsync())
                claims.Set(user, claimed, clock.Now);
            foreach (var (user, shown) in await directory.VisibilitiesAsync())
                visibilities.Set(user, shown);
            foreach (var (user, account) in await directory.AccountsAsync())
                accounts.Set(user, account);
        }

        // a shared directory reports everything now, before this node serves a caller
        await directory.CatchUpAsync();
        await HoldBackAsync(clock.Now, movedBy: 0);
    }

    /// <summary>Applies a change of an account in memory, which this node or another has made.</summary>
    public void OnAccountChanged(uint user, Account was, Account account)
    {
        if (account.IsDisabled)
            claims.Disable(user, account.ShownLastSeen);
        else
            claims.Enable(user);
        // waiting heartbeats were sent before the change, so they must not be written
        if (account.RevokedAt != was.RevokedAt || account.IsDisabled)
            heartbeats.Renewals?.Forget([user]);
        if (account.IsDisabled != was.IsDisabled)
            recheck([user]);
    }

    /// <summary>Whether anything is known of a user: a heartbeat, a profile, or anything that they or the application set.</summary>
    /// <param name="user">The index.</param>
    /// <param name="ofOneself">Whether the user asks about themself.</param>
    public async ValueTask<bool> IsKnownAsync(uint user, bool ofOneself)
    {
        if (user == UserId.Nobody)
            return false;
        // checks first what hides a user, so that a hidden user is known without reading their words
        if (claims.All(user).Length > 0
            || !visibilities.Of(user).IsDefault
            || accounts.IsDisabled(user)
            || Pulse.Second(await words.ReadPulseAsync(user)) != 0)
            return true;
        if (directory is null)
            return false;
        var source = ofOneself ? directory.OfActs : directory;
        return await source.FindProfileAsync(user) is not null || (await source.SubscriptionsAsync(user)).Length > 0;
    }

    /// <summary>Deletes a user and everything that they saved. Durable when this completes. False if the user had no data.</summary>
    public async ValueTask<bool> DeleteAsync(uint user)
    {
        using var _ = await locks.EnterAsync(user);
        if (!await IsKnownAsync(user, ofOneself: false))
            return false;
        var at = Unix(clock.Now);
        // credentials end first, so that a crash leaves nobody signed in of whom the rest is gone
        await directory.Required().NoteDeletionAsync(user, at);
        if (IsShared)
            await heartbeats.LeaveAsync(new[] { user });
        else
            accounts.Set(user, accounts.Of(user) with { RevokedAt = at, DeletedAt = at, IsDeleting = true });
        await EndDeletionAsync(user, at);
        bus.Publish(TransitionKind.LeftEverywhere, [user]);
        bus.Publish(TransitionKind.Left, [user]);
        // watchers get a leave after a second, in which the user may come back; they get a deletion at once
        visibility.Resight(user);
        return true;
    }

    /// <summary>Ends the deletions that a crash interrupted. A user who has come back since keeps everything.</summary>
    public async Task EndDeletionsAsync()
    {
        foreach (var user in accounts.Deleting.ToArray())
        {
            var at = accounts.Of(user).DeletedAt;
            if ((Pulse.ToUnix(Pulse.Second(await words.ReadPulseAsync(user))) ?? 0) <= at)
                await EndDeletionAsync(user, at);
        }
    }

    // Erases the words, which the feed reports, and last the settings that hide the user. So nobody sees a hidden user meanwhile.
    private async ValueTask EndDeletionAsync(uint user, long at)
    {
        await words.EraseAsync(user);
        await store.KeptAsync();
        await store.ReplicatedAsync(new[] { user }, isLeave: true);
        await directory.Required().DeleteAsync(user, at);
        if (IsShared)
            return;
        claims.Set(user, [], clock.Now);
        visibility.Show(user, Visibility.Default);
        accounts.Set(user, new Account(RevokedAt: at, DeletedAt: at));
    }

    /// <summary>Signs a user out everywhere. Durable when this completes.</summary>
    public async ValueTask RevokeAsync(uint user)
    {
        using var _ = await locks.EnterAsync(user);
        var at = Unix(clock.Now);
        await directory.Required().RevokeAsync(user, at);
        if (!IsShared)
            accounts.Set(user, accounts.Of(user) with { RevokedAt = at });
        await heartbeats.LeaveAsync(new[] { user });
    }

    /// <summary>Reverts heartbeats that came after the user was signed out or deleted on another node.</summary>
    public async ValueTask EndAsync(uint user, bool isDeleted)
    {
        // the deletion erases the words itself; a second erasure might come when the ID is already somebody new
        if (isDeleted && !IsShared && accounts.Of(user).IsDeleting)
            return;
        await heartbeats.LeaveAsync(new[] { user });
        if (isDeleted)
            await words.EraseAsync(user);
    }

    /// <summary>Disables or enables a user. Durable when this completes.</summary>
    public async ValueTask SetDisabledAsync(uint user, bool disabled)
    {
        using var _ = await locks.EnterAsync(user);
        var was = accounts.Of(user);
        if (was.IsDisabled == disabled)
            return;
        var claim = claims.Of(user, clock.Now);
        var shown = !disabled ? 0
            : claim.Status == ClaimStatus.Hidden ? claim.ShownLastSeen
            : await words.ShownLastSeenAsync(user);
        await directory.Required().SetDisabledAsync(user, disabled, shown);
        if (!IsShared)
            accounts.Set(user, was with { IsDisabled = disabled, ShownLastSeen = shown });
        // others see the user come online; older activity must not show them as away
        if (!disabled && EffectiveClaim.Of(claims.All(user), clock.Now).Status != ClaimStatus.Hidden)
            await heartbeats.EndActivityAsync(user, uint.MaxValue);
        await words.RecordAsync(user);
        bus.Publish(TransitionKind.Changed, [user]);
    }

    /// <summary>
    /// Moves what is later than now back, because the clock was set back since: deletions, and the shown last seen of hidden and disabled
    /// users. The sweep does the same with words.
    /// </summary>
    public async Task HoldBackAsync(uint now, uint movedBy)
    {
        try
        {
            if (movedBy > 0 && directory is not null)
            {
                // not the clock's second, because the clock is about to step
                await directory.HoldDeletionsAsync(Unix(now));
                foreach (var user in IsShared ? [] : accounts.Users.ToArray())
                {
                    using var _ = await locks.EnterAsync(user);
                    accounts.Set(user, accounts.Of(user).HeldTo(Unix(now)));
                }
            }

            foreach (var user in claims.Hidden(now).ToArray())
            {
                using var _ = await locks.EnterAsync(user);
                var account = accounts.Of(user);
                if (account.IsDisabled && account.ShownLastSeen > now)
                {
                    account = account with { ShownLastSeen = Pulse.TakenBack(account.ShownLastSeen, movedBy, now) };
                    await directory.Required().SetDisabledAsync(user, disabled: true, account.ShownLastSeen);
                    if (!IsShared)
                        accounts.Set(user, account);
                }

                foreach (var hidden in claims.All(user).ToArray().Where(claim => claim.ShownLastSeen > now))
                {
                    var held = hidden with { ShownLastSeen = Pulse.TakenBack(hidden.ShownLastSeen, movedBy, now) };
                    await directory.Required().SetClaimAsync(user, held, now);
                    if (!IsShared)
                        claims.Set(user, [.. claims.All(user).ToArray().Select(claim => claim.Source == held.Source ? held : claim)], now);
                }
            }
        }
        catch (Exception failure) when (failure is StoreUnavailableException or ObjectDisposedException)
        {
            // the user's last seen is shown as now until that second comes, or until the next start
        }
    }

    private static long Unix(uint second) => Pulse.EpochUnixSeconds + (long)second;
}

/// <summary>Reads users again on this node, because what they show may have changed. The span is valid during the call only.</summary>
internal delegate void RecheckUsers(ReadOnlySpan<uint> users);
