using System.Net;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>Whose address a request counts for: the one place that says so. Of a socket that is taken before HTTP, <c>TrustedProxies</c> says it.</summary>
internal static class ClientAddress
{
    /// <summary>The client of a request.</summary>
    public static IPAddress? Of(HttpContext context) => context.Connection.RemoteIpAddress;
}
