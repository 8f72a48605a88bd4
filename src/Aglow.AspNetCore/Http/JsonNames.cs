namespace Aglow.AspNetCore.Http;

/// <summary>Names of JSON members that code reads or writes by hand.</summary>
internal static class JsonNames
{
    public const string UserId = "user_id";
    public const string UserIds = "user_ids";
    public const string Active = "active";
    public const string Status = "status";
    public const string UserName = "user_name";
    public const string DisplayName = "display_name";
    public const string LastSeen = "last_seen";
    public const string Text = "text";
    public const string Emoji = "emoji";
    public const string Until = "until";
    public const string ForSeconds = "for_seconds";
    public const string Source = "source";
    public const string Priority = "priority";
    public const string Days = "days";
    public const string From = "from";
    public const string To = "to";
    public const string TimeZone = "time_zone";
    public const string Disabled = "disabled";
    public const string Device = "device";
    public const string Users = "users";
    public const string Url = "url";
    public const string Events = "events";
    public const string UsersPrefix = "users_prefix";
    public const string OverlapHours = "overlap_hours";
    public const string Online = "online";
}
