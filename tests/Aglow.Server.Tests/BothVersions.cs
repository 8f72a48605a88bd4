using System.Text.RegularExpressions;

namespace Aglow.Server.Tests;

/// <summary>A server that speaks HTTP/1.1 on one port and HTTP/2 without TLS on another, as behind a balancer.</summary>
internal static partial class BothVersions
{
    private const string Endpoints = """
        {"Kestrel":{"Endpoints":{
            "A":{"Url":"http://127.0.0.1:0","Protocols":"Http1"},
            "B":{"Url":"http://127.0.0.1:0","Protocols":"Http2"}}}}
        """;

    /// <summary>Starts the server. Returns it and the address that speaks HTTP/2.</summary>
    public static async Task<(AglowProcess Server, Uri Http2)> StartAsync(string folder, params string[] flags)
    {
        Directory.CreateDirectory(folder);
        await File.WriteAllTextAsync(Path.Combine(folder, "appsettings.json"), Endpoints);
        var server = AglowProcess.Run(folder, ["--settings", Path.Combine(folder, "appsettings.json"), .. flags], urls: null);
        await server.ReadyAsync();
        var addresses = Addresses().Match(server.Output).Groups["urls"].Value.Split(", ").Select(static url => new Uri(url)).ToArray();
        // Kestrel lists endpoints in the order of their names
        return (server, addresses[1]);
    }

    /// <summary>A request of this version, with the given credential, if any.</summary>
    public static HttpRequestMessage Request(
        Version version, Uri address, string method, string path, string? token = null, string? json = null)
    {
        var request = new HttpRequestMessage(HttpMethod.Parse(method), new Uri(address, path))
        {
            Version = version,
            VersionPolicy = HttpVersionPolicy.RequestVersionExact,
        };
        if (token is not null)
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
        if (json is not null)
            request.Content = new StringContent(json, Encoding.UTF8, "application/json");
        return request;
    }

    [GeneratedRegex(@"Ready on (?<urls>https?://\S+(, https?://\S+)*): data", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Addresses();
}
