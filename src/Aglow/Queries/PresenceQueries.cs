using System.Buffers;
using Aglow.Sweeping;
using Aglow.Users;

namespace Aglow.Queries;

/// <summary>
/// Answers about one user, counts, lists and explanations, without visibility. <see cref="PresenceView"/> limits them to what a viewer may
/// see.
/// </summary>
/// <remarks>Threading: any thread.</remarks>
internal sealed class PresenceQueries(
    IPlaneStore store,
    StatusReader statuses,
    OnlineCounts? counts,
    Beliefs beliefs,
    SweepLoop sweep,
    Claims claims,
    Visibilities visibilities,
    CursorSeal cursors,
    Clock clock,
    AglowOptions options)
{
    public StatusReader Statuses => statuses;

    public Visibilities Visibilities => visibilities;

    public Clock Clock => clock;

    /// <summary>The definition that calls use if they name none.</summary>
    public Definition DefaultDefinition => beliefs.Default.Definition;

    public async ValueTask<Presence> StatusAsync(uint user, Definition definition)
    {
        var users = ArrayPool<uint>.Shared.Rent(1);
        var found = ArrayPool<Presence>.Shared.Rent(1);
        users[0] = user;
        await statuses.ReadAsync(users.AsMemory(0, 1), definition, found.AsMemory(0, 1));
        var status = found[0];
        ArrayPool<uint>.Shared.Return(users);
        ArrayPool<Presence>.Shared.Return(found);
        return status;
    }

    /// <summary>Counts the users whom everyone sees online, and the second since which every part of the count was checked.</summary>
    public async ValueTask<(long Online, long AsOf)> CountAsync(Definition definition)
    {
        if (counts is not null)
        {
            var (online, asOf) = await counts.ReadAsync(definition);
            return (online, Pulse.EpochUnixSeconds + (long)asOf);
        }

        var belief = await UseAsync(definition);
        var count = belief.Online - visibilities.CountNotToEveryone(belief);
        var at = clock.Moment;
        foreach (var user in claims.Hidden(at.Now))
        {
            if (!visibilities.IsShownToEveryone(user))
                continue;
            var shown = Presence.Of(Pulse.Never, Pulse.Never, claims.Of(user, at.Now), definition, at, 0);
            count += (shown.IsOnline ? 1 : 0) - (belief.Contains(user) ? 1 : 0);
        }

        return (Math.Max(0, count), Pulse.EpochUnixSeconds + (long)sweep.Sweep.AsOf);
    }

    /// <summary>Lists users shown online under a definition, a page at a time. The store confirms each.</summary>
    public async ValueTask<OnlinePage> ListOnlineAsync(Definition definition, int limit, string? cursor, PresenceView view)
    {
        var belief = await UseAsync(definition);
        return await OnlineList.ReadAsync(belief, await store.PagesAsync(Plane.Pulse), view, limit, cursor, cursors);
    }

    public async ValueTask<Explanation> ExplainAsync(uint user, Definition definition)
    {
        var pulse = await store.ReadOneAsync(Plane.Pulse, user);
        var activity = await store.ReadOneAsync(Plane.Activity, user);
        var deciding = await store.ReadOneAsync(definition.Plane, user);
        bool? believed = null;
        foreach (var belief in beliefs.InUse)
        {
            if (belief.Definition == definition)
                believed = belief.Contains(user);
        }

        var at = clock.MomentOf(PageLayout.Page(user));
        return Explanation.Of(pulse, deciding, activity, claims.Of(user, at.Now), definition, at, believed, options, store.IsRemote);
    }

    private async ValueTask<Belief> UseAsync(Definition definition)
    {
        var belief = beliefs.Use(definition, out var made);
        if (made)
            await sweep.PassAsync();
        return belief;
    }
}
