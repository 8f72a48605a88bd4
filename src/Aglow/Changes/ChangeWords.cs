namespace Aglow.Changes;

/// <summary>The API's words for the values of a change.</summary>
public static class ChangeWords
{
    /// <summary>A status.</summary>
    public static string Of(PresenceStatus status) => status switch
    {
        PresenceStatus.Online => "online",
        PresenceStatus.Away => "away",
        PresenceStatus.Busy => "busy",
        _ => "offline",
    };

    /// <summary>A reason.</summary>
    public static string Of(ChangeReason reason) => reason switch
    {
        ChangeReason.Heartbeat => "heartbeat",
        ChangeReason.Leave => "leave",
        ChangeReason.Lapse => "lapse",
        ChangeReason.Status => "status",
        _ => "deleted",
    };
}
