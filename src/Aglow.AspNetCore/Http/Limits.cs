namespace Aglow.AspNetCore.Http;

/// <summary>The limits of one call. Beyond them, a body or list gets 413, a path and query 414, and a page size 400.</summary>
public static class Limits
{
    /// <summary>Users in a JSON list: about 200 KB of answer, and one or two milliseconds of work.</summary>
    public const int ListedUsers = 10_000;

    /// <summary>Users in <c>?ids=</c>: more do not fit into the request line that web servers and proxies allow.</summary>
    public const int QueriedUsers = 1_000;

    /// <summary>Users in a packed body.</summary>
    public const int PackedUsers = 1_000_000;

    /// <summary>Bytes of a packed body.</summary>
    public const int PackedBytes = PackedUsers * sizeof(uint);

    /// <summary>Bytes of a JSON body: ten thousand of the longest IDs, with every character escaped.</summary>
    public const int JsonBytes = 8_000_000;

    /// <summary>
    /// The body limit to configure in the web server: more than any call takes, so that a client that sends too much gets a 413. A server
    /// that closes the connection while the client still sends loses the answer.
    /// </summary>
    public const int BodyBytes = 64_000_000;

    /// <summary>
    /// Bytes that one person may hold: 10,000 watched UUIDs on each of two sockets, or 500 on each of forty. With the overhead of garbage
    /// collection, the process then grows by at most twice as much (aglow bench door).
    /// </summary>
    public const long HeldBytes = 16_000_000;

    /// <summary>Users on a page of a search.</summary>
    public const int SearchedUsers = 100;

    /// <summary>Users on a page of a search, by default.</summary>
    public const int SearchedUsersDefault = 20;

    /// <summary>Users on a page of online users, by default; at most <see cref="ListedUsers"/>.</summary>
    public const int OnlineUsersDefault = 100;

    /// <summary>Users on a page of the users who wait for approval, by default; at most <see cref="ListedUsers"/>.</summary>
    public const int WaitingUsersDefault = 100;

    /// <summary>Characters of a search.</summary>
    public const int SearchCharacters = 128;

    /// <summary>Bytes of a search: one character may consist of many combining marks.</summary>
    public const int SearchBytes = 1024;

    /// <summary>
    /// Bytes of a percent-encoded path and query, for calls without a list in it: enough for a user ID, a cursor and a token.
    /// </summary>
    public const int TargetBytes = 16 * 1024;

    /// <summary>Bytes of a path and query, for calls with a list of users in it: enough for 10,000 UUIDs.</summary>
    public const int ListTargetBytes = 400 * 1024;

    /// <summary>Characters of a token or key, which must fit into the request's headers.</summary>
    public const int TokenCharacters = 8 * 1024;

    /// <summary>How long a connection may take for its first head. Kestrel allows the same time for later ones.</summary>
    internal static readonly TimeSpan FirstHeadWithin = TimeSpan.FromSeconds(15);

    /// <summary>Bytes of a display name.</summary>
    public const int DisplayNameBytes = 256;
}
