namespace Aglow.Users;

/// <summary>Sets what users show, and whom they approve or block: on disk first, then in memory.</summary>
/// <remarks>
/// With a shared directory, <c>DirectoryNews</c> changes the memory on every node. The locks order the changes of one user on this node.
/// Any thread.
/// </remarks>
/// <param name="directory">Null: each call throws.</param>
/// <param name="visibilities">What users show.</param>
/// <param name="locks">Order the changes of one user.</param>
/// <param name="mostRelations">How many users one user may approve, and how many block.</param>
/// <param name="resight">Notifies watchers whose view changed.</param>
internal sealed class VisibilityWriter(
    IUserDirectory? directory, Visibilities visibilities, UserLocks locks, int mostRelations, Action<uint> resight)
{
    /// <summary>Sets what a user shows; null values do not change. Durable when this completes. Returns the new visibility.</summary>
    public async ValueTask<Visibility> SetAsync(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen)
    {
        using var _ = await locks.EnterAsync(user);
        var required = directory.Required();
        await required.SetVisibilityAsync(user, online, lastSeen);
        if (!required.IsShared)
        {
            var was = visibilities.Of(user);
            Show(user, was.With(online ?? was.Online, lastSeen ?? was.LastSeen));
        }

        return visibilities.Of(user);
    }

    /// <summary>The users whom a user approved or blocked, ascending.</summary>
    public uint[] Related(uint user, Relation relation)
    {
        directory.Required();
        return visibilities.Of(user).Of(relation);
    }

    /// <summary>
    /// Adds users to the list of approved or blocked users, or removes them from it. Durable when this completes. Null if there would be
    /// too many.
    /// </summary>
    public async ValueTask<uint[]?> RelateAsync(uint user, Relation relation, IReadOnlyList<uint> others, bool add)
    {
        using var _ = await locks.EnterAsync(user);
        var required = directory.Required();
        if (await required.RelateAsync(user, relation, others, add, mostRelations) is not { } related)
            return null;
        if (!required.IsShared)
            Show(user, visibilities.Of(user).With(relation, related));
        return related;
    }

    /// <summary>
    /// Lists followers who wait for a user's approval: those neither approved nor blocked, ascending from an index on. Also returns the
    /// start of the next part, or null. The list is empty unless only approved followers see the user online.
    /// </summary>
    public async ValueTask<(uint[] Users, uint? Next)> WaitingAsync(uint user, uint from, int limit)
    {
        var required = directory.Required();
        if (visibilities.Of(user).Online != OnlineVisibility.FollowersApproved)
            return ([], null);
        // one more, to know whether there is a next part
        var waiting = await required.OfActs.WaitingAsync(user, from, limit + 1);
        return waiting.Length > limit ? (waiting[..limit], waiting[limit]) : (waiting, null);
    }

    public void Show(uint user, Visibility visibility)
    {
        if (visibilities.Set(user, visibility))
            resight(user);
    }

    /// <summary>Sends the watchers of a user at once what they may see now.</summary>
    public void Resight(uint user) => resight(user);
}
