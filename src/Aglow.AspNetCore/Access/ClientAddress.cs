using System.Net;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// The address that a request counts for: no other code decides this. For a socket that is taken before HTTP, <c>TrustedProxies</c>
/// decides it.
/// </summary>
internal static class ClientAddress
{
    /// <summary>The client of a request.</summary>
    public static IPAddress? Of(HttpContext context) => context.Connection.RemoteIpAddress;
}
