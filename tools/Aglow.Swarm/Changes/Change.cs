using System.Text.Json;

namespace Aglow.Swarm.Changes;

/// <summary>A change as the feed or a webhook reports it.</summary>
/// <param name="Id">The ID of the change.</param>
/// <param name="User">The user.</param>
/// <param name="IsOnline">Whether they are online from then on.</param>
/// <param name="Reason">Why it was recorded.</param>
/// <param name="LastSeen">Last seen, in seconds since 1970.</param>
/// <param name="At">When the server recorded it, in seconds since 1970.</param>
internal readonly record struct Change(string Id, uint User, bool IsOnline, string Reason, long? LastSeen, long At)
{
    /// <summary>Reads a change; null: it is not about a user with a number.</summary>
    public static Change? Read(string id, JsonElement json)
    {
        if (!json.TryGetProperty("user_id", out var user) || user.ValueKind != JsonValueKind.Number || !user.TryGetUInt32(out var number))
            return null;
        var lastSeen = json.GetProperty("last_seen");
        return new Change(
            id,
            number,
            json.GetProperty("is_online").GetBoolean(),
            json.GetProperty("reason").GetString() ?? "",
            lastSeen.ValueKind == JsonValueKind.Null ? null : lastSeen.GetInt64(),
            json.GetProperty("at").GetInt64());
    }

    public override string ToString() =>
        $"{(IsOnline ? "online" : "offline")} by {Reason}, recorded at {At}, last seen {(LastSeen is { } s ? s : "never")}";
}
