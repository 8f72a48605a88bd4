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
    private static readonly string[] Known = [Routes.UserQuery, Routes.TokenQuery, Routes.DeviceIdQuery, Routes.DeviceKindQuery];

    /// <summary>Reads a raw query, with or without its question mark.</summary>
    /// <exception cref="ProblemException">A parameter is wrong (400); the problem names it.</exception>
    public static SocketHello Read(string query)
    {
        if (RequestParameters.Unknown(query, Known) is { } unknown)
            throw unknown;
        var token = Text(Routes.TokenQuery);
        return new SocketHello(
            UserOf(Text(Routes.UserQuery)),
            token is "" ? null : token,
            DeviceNames.DeviceOf(Text(Routes.DeviceIdQuery), Text(Routes.DeviceKindQuery)));

        string? Text(string name) => RequestParameters.Text(query, name, "query");
    }

    private static UserId? UserOf(string? text)
    {
        if (string.IsNullOrEmpty(text))
            return null;
        return UserId.TryParse(text, out var user)
            ? user
            : throw Problems.Malformed($"{Routes.UserQuery} is not a user: {Problems.AUser}.");
    }
}
