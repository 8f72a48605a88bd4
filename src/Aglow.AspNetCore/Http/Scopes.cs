namespace Aglow.AspNetCore.Http;

/// <summary>What a backend may do. People have no scopes: they may make the calls for people, and only for themselves.</summary>
[Flags]
internal enum Scopes
{
    /// <summary>No scope.</summary>
    None = 0,

    /// <summary>Heartbeats, leave messages and sockets for any user.</summary>
    Heartbeat = 1,

    /// <summary>Statuses, searches, and the list of users who are online.</summary>
    Read = 2,

    /// <summary>Registers and deletes users; statuses, subscriptions and visibility of any user.</summary>
    Users = 4,

    /// <summary>Explanations and metrics, which show what is hidden from all other callers.</summary>
    Operate = 8,

    /// <summary>All of these.</summary>
    All = Heartbeat | Read | Users | Operate,
}

/// <summary>Names of scopes, as keys and problems have them.</summary>
internal static class ScopeNames
{
    /// <summary>The single scopes, by name.</summary>
    public static readonly IReadOnlyDictionary<string, Scopes> ByName = new Dictionary<string, Scopes>(StringComparer.Ordinal)
    {
        ["heartbeat"] = Scopes.Heartbeat,
        ["read"] = Scopes.Read,
        ["users"] = Scopes.Users,
        ["operate"] = Scopes.Operate,
    };

    /// <summary>The names of these scopes, separated by commas.</summary>
    public static string Name(this Scopes scopes) =>
        string.Join(',', ByName.Where(one => scopes.HasFlag(one.Value)).Select(static one => one.Key));
}
