using Aglow.Model;

namespace Aglow.AspNetCore.Http;

/// <summary>Owns the names of JSON members.</summary>
internal static class JsonNames
{
    public const string UserId = "user_id";
    public const string UserIds = "user_ids";
    public const string Active = "active";
    public const string Timestamp = "timestamp";
    public const string Status = "status";
    public const string UserName = "user_name";
    public const string DisplayName = "display_name";
    public const string IsOnline = "is_online";
    public const string LastSeen = "last_seen";
    public const string Devices = "devices";
    public const string ActiveAt = "active_at";
    public const string LastSeenAbout = "last_seen_about";
    public const string Manual = "manual";
    public const string Text = "text";
    public const string Emoji = "emoji";
    public const string Until = "until";
    public const string ForSeconds = "for_seconds";
    public const string Source = "source";
    public const string Priority = "priority";
    public const string Connected = "connected";
    public const string MayBeDisturbed = "may_be_disturbed";
    public const string Days = "days";
    public const string From = "from";
    public const string To = "to";
    public const string TimeZone = "time_zone";
    public const string Disabled = "disabled";
    public const string Device = "device";
    public const string Created = "created";
    public const string Replaced = "replaced";
    public const string CreatedAt = "created_at";
    public const string UpdatedAt = "updated_at";
    public const string Users = "users";
    public const string Next = "next";
    public const string Id = "id";
    public const string Changes = "changes";
    public const string Gap = "gap";
    public const string Reason = "reason";
    public const string At = "at";
    public const string Url = "url";
    public const string Events = "events";
    public const string UsersPrefix = "users_prefix";
    public const string OverlapHours = "overlap_hours";
    public const string Online = "online";
    public const string AsOf = "as_of";
    public const string Accepted = "accepted";
    public const string NextHeartbeatSeconds = "next_heartbeat_seconds";
    public const string OfflineAfterSeconds = "offline_after_seconds";
    public const string Type = "type";
    public const string Title = "title";
    public const string Detail = "detail";
}
