namespace Aglow.AspNetCore.Access;

/// <summary>
/// What a caller pays for. The unit is the CPU time of a small call, 20 to 100 µs.
/// </summary>
/// <remarks>
/// The gate charges <see cref="Call"/> before it admits a call. Each reader charges the rest as soon as it knows the amount, before the
/// work. The person (or key) and the address pay the same. A call that costs more than a bucket holds passes if the bucket is half full,
/// and is paid off later (<see cref="RateBuckets"/>).
/// </remarks>
internal static class Cost
{
    /// <summary>A probe. An address that calls too much must not make the node look dead.</summary>
    public const int Probe = 0;

    /// <summary>Any call, and any message on a socket.</summary>
    public const int Call = 1;

    /// <summary>A socket's handshake. It costs more than a call because the first heartbeat is made durable.</summary>
    public const int Socket = 4;

    public const int Stream = 4;

    /// <summary>A change of the directory, which is a transaction.</summary>
    public const int Write = 4;

    /// <summary>A search through names, a deletion, or a page of the users who are online.</summary>
    public const int Search = 10;

    /// <summary>A refused credential, because its signature was checked.</summary>
    public const int RefusedCredential = 10;

    /// <summary>Users that a request or its answer names. At worst, each is looked up in the directory.</summary>
    public static int Users(int count) => count / 100;

    /// <summary>Users in a packed body, which holds one word for each user.</summary>
    public static int PackedUsers(int count) => count / 1_000;

    /// <summary>Bytes of a body or message that are parsed.</summary>
    public static int Bytes(long count) => (int)(count / 100_000);
}
