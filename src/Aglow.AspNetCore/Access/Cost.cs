namespace Aglow.AspNetCore.Access;

/// <summary>
/// What a caller pays for. The unit is a call: the CPU of a small one, 20 to 100 µs.
/// </summary>
/// <remarks>
/// The gate takes <see cref="Call"/> before it lets a call in, and each reader takes the rest as soon as it knows how much
/// there is, before the work. The person (or key) and the address pay the same. A call that costs more than a bucket holds
/// passes if the bucket is half full, and is paid off later (<see cref="RateBuckets"/>).
/// </remarks>
internal static class Cost
{
    /// <summary>Any call, and any message on a socket.</summary>
    public const int Call = 1;

    /// <summary>A handshake: the first heartbeat is durable.</summary>
    public const int Socket = 4;

    /// <summary>An event stream.</summary>
    public const int Stream = 4;

    /// <summary>A change of the directory: a transaction.</summary>
    public const int Write = 4;

    /// <summary>A search through names, a deletion, a page of who is online.</summary>
    public const int Search = 10;

    /// <summary>A credential that is refused: its signature was checked.</summary>
    public const int RefusedCredential = 10;

    /// <summary>Users that are named in a request or in its answer: at worst, each is looked up in the directory.</summary>
    public static int Users(int count) => count / 100;

    /// <summary>Users in a packed body: a word each.</summary>
    public static int PackedUsers(int count) => count / 1_000;

    /// <summary>Bytes of a body or message, which are parsed.</summary>
    public static int Bytes(long count) => (int)(count / 100_000);
}
