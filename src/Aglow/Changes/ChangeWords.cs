using Aglow.Model;

namespace Aglow.Changes;

/// <summary>The words of the API for what a change says.</summary>
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
