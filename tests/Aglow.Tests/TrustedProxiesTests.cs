using System.Net;
using Aglow.AspNetCore.Proxies;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.DependencyInjection;

namespace Aglow.Tests;

/// <summary>The client that the headers of a trusted proxy name.</summary>
public sealed class TrustedProxiesTests
{
    private const string Proxy = "10.0.0.1";
    private const string Victim = "198.51.100.9";
    private const string Me = "203.0.113.7";

    [Theory]
    // a proxy that sets one header, and passes on what the client wrote into the other one
    [InlineData($"for={Me}", Victim, Proxy)]
    [InlineData($"for={Victim}", Me, Proxy)]
    [InlineData($"for={Victim}, for={Me}", Victim, Proxy)]
    [InlineData($"for={Me}", "nonsense", Proxy)]
    // a client's open quote, and the element that the proxy added behind it
    [InlineData($"for=\"{Victim}, for={Me}", null, Proxy)]
    [InlineData($"for=\", for=\"{Me}\"", Victim, Proxy)]
    [InlineData($"for={Victim};for={Me}", null, Proxy)]
    // both say the same, and what the client wrote before does not count
    [InlineData($"for={Me}", Me, Me)]
    [InlineData($"for={Victim}, for=\"{Me}:4711\"", $"6.6.6.6, {Me}:80", Me)]
    // one header
    [InlineData($"for={Me}", null, Me)]
    [InlineData(null, Me, Me)]
    [InlineData($"for={Victim}, for={Me};by=\"_a,b\\\"\", for={Proxy}", null, Me)]
    [InlineData($"by=_a, For=\"{Me}:80\"", null, Me)]
    [InlineData("for=\"[2001:db8::1]:4711\"", null, "2001:db8::1")]
    [InlineData("for=unknown", null, Proxy)]
    [InlineData("by=_a", Me, Me)]
    [InlineData($", for={Me},", null, Me)]
    public async Task A_client_cannot_choose_its_address(string? forwarded, string? forwardedFor, string client) =>
        (await ThroughAsync(Proxy, forwarded, forwardedFor)).Connection.RemoteIpAddress.ShouldBe(IPAddress.Parse(client));

    [Fact]
    public async Task Nobody_else_names_a_client() =>
        (await ThroughAsync(Me, $"for={Victim}", null)).Connection.RemoteIpAddress.ShouldBe(IPAddress.Parse(Me));

    [Theory]
    [InlineData($"for={Me};proto=https", null, "https")]
    [InlineData($"for={Me};proto=https, for={Proxy};proto=http", null, "https")]
    [InlineData($"for={Victim};proto=https, for={Me};proto=http", null, "http")]
    [InlineData($"for={Victim};proto=https, for={Me}", null, "http")]
    [InlineData($"for={Me};proto=https", Me, "https")]
    [InlineData($"for={Me};proto=https", Victim, "http")]
    public async Task The_scheme_is_that_of_the_element_which_names_the_client(string forwarded, string? forwardedFor, string scheme) =>
        (await ThroughAsync(Proxy, forwarded, forwardedFor)).Request.Scheme.ShouldBe(scheme);

    private static async Task<HttpContext> ThroughAsync(string from, string? forwarded, string? forwardedFor)
    {
        await using var services = new ServiceCollection().AddLogging().BuildServiceProvider();
        var app = new ApplicationBuilder(services);
        new TrustedProxies([System.Net.IPNetwork.Parse("10.0.0.0/8")], readsProxyProtocol: false).Use(app);
        app.Run(static _ => Task.CompletedTask);
        var context = new DefaultHttpContext { RequestServices = services };
        context.Connection.RemoteIpAddress = IPAddress.Parse(from);
        context.Request.Scheme = "http";
        if (forwarded is not null)
            context.Request.Headers["Forwarded"] = forwarded;
        if (forwardedFor is not null)
            context.Request.Headers["X-Forwarded-For"] = forwardedFor;
        await app.Build()(context);
        return context;
    }
}
