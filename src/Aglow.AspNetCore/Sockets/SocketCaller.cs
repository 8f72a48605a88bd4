using Aglow.AspNetCore.Endpoints;
using Aglow.Model;

namespace Aglow.AspNetCore.Sockets;

/// <summary>Who a socket or stream says it is: in open mode, <c>?user_id=</c>.</summary>
internal static class SocketCaller
{
    private const string Parameter = "user_id=";

    /// <summary>Reads the user from a raw query; false where there is none, or none that can be a user.</summary>
    public static bool TryRead(string query, out UserId user)
    {
        foreach (var part in query.AsSpan().TrimStart('?').Split('&'))
        {
            var pair = query.AsSpan().TrimStart('?')[part];
            if (pair.StartsWith(Parameter) && Asked.TryDecode(pair[Parameter.Length..].ToString().Replace('+', ' '), out var text))
                return UserId.TryParse(text, out user);
        }

        user = default;
        return false;
    }
}
