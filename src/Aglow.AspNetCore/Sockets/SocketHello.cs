namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// The query of <c>GET /ws</c>: <c>?user_id=&amp;access_token=&amp;device_id=&amp;device_kind=</c>. All parameters are optional, each may
/// be given once, and any other is refused.
/// </summary>
/// <param name="User">The user who connects; null if the query does not name them.</param>
/// <param name="Token">The token; null if it is not in the query.</param>
/// <param name="Device">The device; null if the query does not name it.</param>
internal readonly record struct SocketHello(UserId? User, string? Token, Device? Device)
{
    private const string Known = Routes.UserQuery + ", " + Routes.TokenQuery + ", " + Routes.DeviceIdQuery + ", " + Routes.DeviceKindQuery;

    /// <summary>Reads a raw query, with or without its question mark.</summary>
    /// <exception cref="ProblemException">A parameter is wrong (400); the problem names it.</exception>
    public static SocketHello Read(string query)
    {
        string? user = null, token = null, id = null, kind = null;
        foreach (var part in query.TrimStart('?').Split('&', StringSplitOptions.RemoveEmptyEntries))
        {
            var equals = part.IndexOf('=', StringComparison.Ordinal);
            var name = Decode(equals < 0 ? part : part[..equals]);
            var value = Decode(equals < 0 ? "" : part[(equals + 1)..]);
            ref var given = ref user;
            switch (name)
            {
                case Routes.UserQuery:
                    break;
                case Routes.TokenQuery:
                    given = ref token;
                    break;
                case Routes.DeviceIdQuery:
                    given = ref id;
                    break;
                case Routes.DeviceKindQuery:
                    given = ref kind;
                    break;
                default:
                    throw Problems.Malformed($"\"{Problems.Shorten(name)}\" is not a query parameter of this path. Send any of: {Known}.");
            }

            if (given is not null)
                throw Problems.Malformed($"{name} is given twice in the query: send it once.");
            given = value;
        }

        return new SocketHello(UserOf(user), token is "" ? null : token, DeviceNames.DeviceOf(id, kind));
    }

    private static UserId? UserOf(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        return UserId.TryParse(text, out var user)
            ? user
            : throw Problems.Malformed($"{Routes.UserQuery} is not a user: {Problems.AUser}.");
    }

    private static string Decode(string text) => Asked.TryDecode(text.Replace('+', ' '), out var decoded)
        ? decoded
        : throw Problems.Malformed(
            "The query is not percent-encoded UTF-8. Encode each byte of a character that is not a letter or digit as %XX.");
}
