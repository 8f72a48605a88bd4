using System.Net;
using StackExchange.Redis;

namespace Aglow.Redis.Connections;

/// <summary>Addresses of servers as people write them.</summary>
internal static class ServerNames
{
    /// <summary>The servers without secrets, for example 10.0.0.1:6379, 10.0.0.2:6379.</summary>
    public static string Of(ConfigurationOptions options) => string.Join(", ", options.EndPoints.Select(Of));

    public static string Of(EndPoint server) =>
        server is DnsEndPoint { Host: var host, Port: var port } ? $"{host}:{port}" : $"{server}";
}
