using Aglow.Users;

namespace Aglow.Model;

/// <summary>What a person chose to be seen as.</summary>
public enum ManualStatusKind : byte
{
    /// <summary>Nothing chosen: heartbeats and activity decide. Not stored.</summary>
    Auto = 0,

    /// <summary>As auto, but never away for idleness.</summary>
    Online = 1,

    /// <summary>Away while connected.</summary>
    Away = 2,

    /// <summary>Busy while connected.</summary>
    Busy = 3,

    /// <summary>Appear offline, whatever the devices go on sending.</summary>
    Hidden = 4,
}

/// <summary>A manual status: a rare, explicit fact that lives in the <see cref="IUserDirectory"/>; every node holds all of them in memory.</summary>
/// <param name="Kind">What was chosen.</param>
/// <param name="ShownLastSeen">
/// For <see cref="ManualStatusKind.Hidden"/>: the last-seen second to show, so that a hidden user reads exactly as one who went
/// offline then: the pulse's where the user was offline already, the moment of hiding where online. 0: never seen.
/// </param>
/// <param name="IsDisabled">Whether a backend disabled the user (<see cref="Account"/>); then the kind is <see cref="ManualStatusKind.Hidden"/>. Not stored with the status.</param>
public readonly record struct ManualStatus(ManualStatusKind Kind, uint ShownLastSeen = 0, bool IsDisabled = false)
{
    /// <summary>Nothing chosen.</summary>
    public static ManualStatus Auto => default;

    /// <summary>The word of the API: auto, online, away, busy, offline (for hidden).</summary>
    public string Name => Kind switch
    {
        ManualStatusKind.Online => "online",
        ManualStatusKind.Away => "away",
        ManualStatusKind.Busy => "busy",
        ManualStatusKind.Hidden => "offline",
        _ => "auto",
    };

    /// <summary>Reads the word of the API; false where it is none of the five.</summary>
    public static bool TryParse(ReadOnlySpan<byte> utf8, out ManualStatusKind kind)
    {
        (var known, kind) = utf8 switch
        {
            _ when utf8.SequenceEqual("auto"u8) => (true, ManualStatusKind.Auto),
            _ when utf8.SequenceEqual("online"u8) => (true, ManualStatusKind.Online),
            _ when utf8.SequenceEqual("away"u8) => (true, ManualStatusKind.Away),
            _ when utf8.SequenceEqual("busy"u8) => (true, ManualStatusKind.Busy),
            _ when utf8.SequenceEqual("offline"u8) => (true, ManualStatusKind.Hidden),
            _ => (false, ManualStatusKind.Auto),
        };
        return known;
    }
}
