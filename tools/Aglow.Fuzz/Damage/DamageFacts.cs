using Aglow.Model;
using Aglow.Users;
using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Fuzz.Damage;

/// <summary>Writes facts of every kind that a data folder stores, and reads them back.</summary>
/// <remarks>A fact is a line of text; two presences that have the same facts have the same lines.</remarks>
internal static class DamageFacts
{
    /// <summary>The number of people of a round. The IDs of some are their indexes.</summary>
    public const int People = 24;

    /// <summary>Opens the embedded store of a folder, without a server around it.</summary>
    public static Task<EmbeddedPresence> OpenAsync(string folder) => EmbeddedPresence.OpenAsync(
        new AglowOptions { DataDirectory = folder, LeaseSeconds = 3600, HeartbeatSeconds = 600, AwaySeconds = 3000 },
        TimeProvider.System,
        NullLoggerFactory.Instance);

    /// <summary>Writes facts of one round; each is acknowledged when this completes.</summary>
    public static async Task WriteAsync(PresenceService presence, int round)
    {
        // registers one after another, so that IDs get the same indexes each time; the other writes wait for the disk together
        var users = new uint[People];
        for (var i = 0; i < People; i++)
            users[i] = await presence.RegisterAsync(IdOf(round, i));
        await presence.HeartbeatAsync(users);
        await presence.WriteProfilesAsync(
            [.. users.Select((user, i) => new ProfileWrite(user, $"name {round} {i}", DisplayName(round, i)))], create: false);
        await Task.WhenAll(users.SelectMany((user, i) => Others(presence, user, i)));
        if (presence.Changes is { } changes)
            await changes.Consumers.WriteAsync($"place/{round}", $"\"{round}\"");
    }

    /// <summary>Reads all facts of these rounds.</summary>
    public static async Task<string> ReadAsync(PresenceService presence, int rounds)
    {
        var lines = new List<string>();
        for (var round = 0; round < rounds; round++)
        {
            for (var i = 0; i < People; i++)
                lines.Add(await ReadAsync(presence, IdOf(round, i)));
            var found = await presence.SearchUsersAsync($"name {round} ", 1000, null);
            lines.Add($"found {string.Join(',', found.Users.Select(static user => user.Id).Order(StringComparer.Ordinal))}");
        }

        if (presence.Changes is not { } feed)
            return string.Join('\n', lines);
        foreach (var (key, json) in (await feed.Consumers.ReadAsync("place/")).OrderBy(static place => place.Key, StringComparer.Ordinal))
            lines.Add($"{key} {json}");
        return string.Join('\n', lines);
    }

    private static async Task<string> ReadAsync(PresenceService presence, UserId id)
    {
        var user = await presence.FindAsync(id);
        var status = await presence.StatusAsync(user);
        var profile = await presence.FindProfileAsync(user);
        var visibility = presence.Visibilities.Of(user);
        return $"{id} is {user}: {status.IsOnline} {status.Status} seen {status.LastSeen != 0}; "
            + $"{profile?.UserName}|{profile?.DisplayName}; "
            + $"follows {string.Join(',', await presence.SubscriptionsAsync(user))}; {visibility.Online}; "
            + $"blocked {string.Join(',', presence.Related(user, Relation.Blocked))}; revoked {presence.Accounts.Of(user).RevokedAt != 0}";
    }

    private static string? DisplayName(int round, int i) => i % 3 == 0 ? null : $"Person {round}/{i} of the damage run";

    private static IEnumerable<Task> Others(PresenceService presence, uint user, int i)
    {
        yield return presence.FollowAsync(user, [(uint)i + 1, (uint)i + 2], follow: true).AsTask();
        if (i % 4 == 0)
            yield return presence.SetClaimAsync(user, ClaimStatus.Busy).AsTask();
        if (i % 5 == 0)
            yield return presence.RelateAsync(user, Relation.Blocked, [(uint)i + 7], add: true).AsTask();
        if (i % 6 == 0)
            yield return presence.SetVisibilityAsync(user, OnlineVisibility.Nobody, null).AsTask();
        if (i % 7 == 0)
            yield return presence.RevokeAsync(user).AsTask();
        if (i % 3 == 1)
            yield return presence.LeaveAsync(new[] { user }).AsTask();
    }

    private static UserId IdOf(int round, int i) => i % 2 == 0 ? UserId.Parse($"user-{round}-{i}") : UserId.Of((round * 1000) + i + 1);
}
