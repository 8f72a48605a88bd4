using System.Net;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Decides which address counts as the client of a request. For a socket that is taken before HTTP, <c>TrustedProxies</c> decides it. No
/// other code does.
/// </summary>
internal static class ClientAddress
{
    /// <summary>The client of a request.</summary>
    public static IPAddress? Of(HttpContext context) => context.Connection.RemoteIpAddress;
}
