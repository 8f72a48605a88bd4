using Aglow.Model;
using Microsoft.AspNetCore.SignalR;

namespace Aglow.AspNetCore.Hubs;

/// <summary>How connections to SignalR hubs are devices of users.</summary>
public sealed class HubPresenceOptions
{
    /// <summary>
    /// Whose device a connection is; null: nobody's, and then it is left alone. By default the user as whom the application authenticated
    /// it, as everywhere in Aglow: the name identifier, <c>sub</c> or name.
    /// </summary>
    public Func<HubCallerContext, UserId?>? User { get; set; }
}
