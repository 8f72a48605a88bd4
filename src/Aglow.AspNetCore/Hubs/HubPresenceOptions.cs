using Microsoft.AspNetCore.SignalR;

namespace Aglow.AspNetCore.Hubs;

/// <summary>Options for connections to SignalR hubs as devices of users.</summary>
public sealed class HubPresenceOptions
{
    /// <summary>
    /// Returns the user of a connection; null: the connection has no presence. By default, it is the user that the application
    /// authenticated, as everywhere in Aglow: the name identifier, <c>sub</c> or name.
    /// </summary>
    public Func<HubCallerContext, UserId?>? User { get; set; }
}
