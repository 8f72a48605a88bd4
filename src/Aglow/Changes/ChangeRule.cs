using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;

namespace Aglow.Changes;

/// <summary>Decides what is recorded of a user. The feeds of one machine and of many nodes share this rule. No clock and no I/O.</summary>
internal static class ChangeRule
{
    /// <summary>
    /// The record that leads from what was reported of a user to what is shown now; null: callers see no difference.
    /// </summary>
    /// <param name="user">The index.</param>
    /// <param name="wasOnline">Whether the user was reported online, by the words.</param>
    /// <param name="wasClaim">The claimed status that was reported.</param>
    /// <param name="isOnline">Whether the words mean online.</param>
    /// <param name="claim">The claimed status.</param>
    /// <param name="shown">What callers see of the user.</param>
    /// <param name="word">The pulse word.</param>
    /// <param name="isDeleted">Whether a deletion of the user is still to be reported.</param>
    public static StoredChange? Between(
        uint user, bool wasOnline, ClaimStatus wasClaim, bool isOnline, ClaimStatus claim, Presence shown, uint word, bool isDeleted)
    {
        var before = Shown(wasOnline, wasClaim);
        // callers see no difference if a hidden user's device comes or goes, or if an offline user chooses a status
        if (!isDeleted && (isOnline == wasOnline
            ? before == shown.Status || claim == wasClaim
            : before == PresenceStatus.Offline && !shown.IsOnline))
            return null;
        var reason = isDeleted ? ChangeReason.Deleted
            : isOnline == wasOnline ? ChangeReason.Status
            : isOnline ? ChangeReason.Heartbeat
            : Pulse.Left(word) || Pulse.DeviceLeft(word) ? ChangeReason.Leave
            : ChangeReason.Lapse;
        return new StoredChange(
            user, isDeleted ? 0 : shown.LastSeen, shown.Status, (before != PresenceStatus.Offline) != shown.IsOnline, reason);
    }

    /// <summary>Whether a record is withheld because its user was deleted after it.</summary>
    public static bool IsErased(StoredChange record, uint at, Accounts? accounts) =>
        record.Reason != ChangeReason.Deleted
        && Pulse.EpochUnixSeconds + (long)at < accounts?.Of(record.User).DeletedAt;

    /// <summary>A record in the form that consumers get.</summary>
    public static PresenceChange Given(uint generation, long number, uint at, StoredChange record, string? id) => new(
        new ChangeCursor(generation, number).ToString(),
        id is null ? UserId.Of(record.User) : IdOf(id),
        record.Status != PresenceStatus.Offline,
        record.Status,
        Pulse.ToUnix(record.LastSeen),
        record.Reason,
        Pulse.EpochUnixSeconds + (long)at,
        record.IsTransition);

    // an ID that is none is the directory's fault, not that of the caller's cursor
    private static UserId IdOf(string id) => UserId.TryParse(id, out var user)
        ? user
        : throw new StoreUnavailableException("The user directory has an ID that is none: check the data folder, or restore a backup.");

    private static PresenceStatus Shown(bool online, ClaimStatus kind) => !online ? PresenceStatus.Offline : kind switch
    {
        ClaimStatus.Hidden => PresenceStatus.Offline,
        ClaimStatus.Away => PresenceStatus.Away,
        ClaimStatus.Busy => PresenceStatus.Busy,
        _ => PresenceStatus.Online,
    };
}
