using System.Collections.Concurrent;
using Aglow.Stores.Tests;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Aglow.Client.Tests;

/// <summary><c>services.AddAglowClient(…)</c> in an application, against a real server.</summary>
public class RegistrationTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task Configuration_makes_one_client_whose_calls_and_socket_pass_the_applications_handlers()
    {
        var seen = new ConcurrentBag<string>();
        var builder = Builder(
            ("Presence:Address", server.Process.Address.ToString()), ("Presence:User", ServerFixture.NewKey().ToString()));
        builder.Services.AddAglowClient(builder.Configuration.GetSection("Presence")).AddHttpMessageHandler(() => new Recorder(seen));
        using var host = builder.Build();
        await host.StartAsync();
        var client = host.Services.GetRequiredService<AglowClient>();
        host.Services.GetRequiredService<AglowClient>().ShouldBeSameAs(client);

        var other = ServerFixture.NewKey();
        (await client.StatusOfAsync(other)).IsOnline.ShouldBeFalse();
        await client.ConnectAsync();
        client.State.ShouldBe(ConnectionState.Open);
        seen.ShouldContain("/status/batch");
        seen.ShouldContain("/ws");
    }

    [Theory]
    [InlineData("The address of the Aglow server is missing", null, null)]
    [InlineData("is not a server's address", "ftp://presence.example", null)]
    [InlineData("A user ID is an integer", "http://presence.example", "a\u0001b")]
    public async Task A_wrong_setting_stops_the_start_with_one_line(string said, string? address, string? user)
    {
        var builder = Builder(("Presence:Address", address), ("Presence:User", user));
        builder.Services.AddAglowClient(builder.Configuration.GetSection("Presence"));
        using var host = builder.Build();
        var failure = await Should.ThrowAsync<OptionsValidationException>(() => host.StartAsync());
        failure.Message.ShouldContain(said);
        failure.Message.Split('\n').Length.ShouldBe(1);
    }

    [Fact]
    public async Task A_name_that_is_not_a_setting_stops_the_start_with_one_line()
    {
        var builder = Builder(("Presence:address", "http://presence.example"), ("Presence:Tokn", "secret"));
        builder.Services.AddAglowClient(builder.Configuration.GetSection("Presence"));
        using var host = builder.Build();
        var failure = await Should.ThrowAsync<OptionsValidationException>(() => host.StartAsync());
        failure.Message.ShouldBe("Presence:Tokn is not a setting of the client. Settings are Address, OtherAddresses, Token, User.");
    }

    [Fact]
    public async Task The_health_check_says_that_the_server_refuses_the_calls_of_a_client_that_never_connects()
    {
        await using var own = await OwnApp.StartAsync(
            static (builder, folder) =>
            {
                builder.Services.AddAglow(o => o.DataDirectory = folder);
                SignedIn.Add(builder);
            },
            static app => app.MapAglow());
        var builder = Builder();
        var signedIn = false;
        builder.Services.AddAglowClient(settings => settings.Address = own.Address)
            .AddHttpMessageHandler(() => new SignsIn(() => signedIn));
        builder.Services.AddHealthChecks().AddAglowClient();
        using var host = builder.Build();
        await host.StartAsync();
        var client = host.Services.GetRequiredService<AglowClient>();
        var health = host.Services.GetRequiredService<HealthCheckService>();
        await Should.ThrowAsync<AglowException>(() => client.StatusOfAsync(1));
        for (var i = 0; i < 2; i++)
        {
            var check = (await health.CheckHealthAsync()).Entries["aglow"];
            check.Status.ShouldBe(HealthStatus.Degraded);
            check.Description.ShouldBe(
                "The presence server refused this client: Not authenticated: A call for a user needs a sign-in as that user, by this "
                    + "application's own authentication.");
        }

        signedIn = true;
        await client.StatusOfAsync(1);
        (await health.CheckHealthAsync()).Status.ShouldBe(HealthStatus.Healthy);
    }

    [Fact]
    public async Task Two_ways_to_get_a_token_stop_the_start()
    {
        var builder = Builder();
        builder.Services.AddAglowClient(settings =>
        {
            settings.Address = server.Process.Address;
            settings.Token = "one";
            settings.AccessToken = _ => ValueTask.FromResult("two");
        });
        using var host = builder.Build();
        (await Should.ThrowAsync<OptionsValidationException>(() => host.StartAsync())).Message.ShouldContain("not both");
    }

    [Fact]
    public async Task The_health_check_follows_the_server_at_any_of_its_addresses()
    {
        (await HealthAsync(server.Process.Address)).ShouldBe(HealthStatus.Healthy);
        (await HealthAsync(new Uri("http://127.0.0.1:1"))).ShouldBe(HealthStatus.Unhealthy);
        (await HealthAsync(new Uri("http://127.0.0.1:1"), server.Process.Address)).ShouldBe(HealthStatus.Healthy);
    }

    [Theory]
    [InlineData("{0}")]
    [InlineData("Endpoint={0};Token=aglow_secret=")]
    [InlineData(" token = x ; endpoint = {0} ; ")]
    public async Task A_connection_string_makes_the_client_and_its_health_check(string connection)
    {
        var builder = Builder(("ConnectionStrings:presence", string.Format(connection, server.Process.Address)));
        builder.AddAglowClient("presence");
        using var host = builder.Build();
        await host.StartAsync();
        (await host.Services.GetRequiredService<AglowClient>().StatusOfAsync(ServerFixture.NewKey())).IsOnline.ShouldBeFalse();
        (await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Entries.Single().ShouldSatisfyAllConditions(
            static check => check.Key.ShouldBe("aglow"), static check => check.Value.Status.ShouldBe(HealthStatus.Healthy));
        var token = host.Services.GetRequiredService<IOptions<AglowClientSettings>>().Value.Token;
        token.ShouldBe(connection.Contains("aglow_secret") ? "aglow_secret=" : connection.Contains("token") ? "x" : null);
    }

    [Fact]
    public async Task A_health_check_that_is_added_again_is_one_check_with_the_newer_tags()
    {
        var builder = Builder(("ConnectionStrings:presence", server.Process.Address.ToString()));
        builder.AddAglowClient("presence");
        builder.Services.AddHealthChecks().AddAglowClient(tags: "ready");
        using var host = builder.Build();
        await host.StartAsync();
        (await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Entries.Single().Value.Tags.ShouldBe(["ready"]);
    }

    [Theory]
    [InlineData(null, "\"presence\" is missing: set ConnectionStrings:presence")]
    [InlineData("presence.example", "cannot be read")]
    [InlineData("Endpoint=http://presence.example;Tokens=secret", "cannot be read")]
    [InlineData("Endpoint=;Token=secret", "cannot be read")]
    [InlineData("Token=secret", "The address of the Aglow server is missing")]
    public async Task A_wrong_connection_string_stops_the_start_without_showing_it(string? connection, string said)
    {
        var builder = Builder(("ConnectionStrings:presence", connection));
        builder.AddAglowClient("presence");
        using var host = builder.Build();
        var failure = await Should.ThrowAsync<Exception>(() => host.StartAsync());
        failure.Message.ShouldContain(said);
        failure.Message.ShouldNotContain("secret");
    }

    [Fact]
    public async Task A_failure_in_the_background_is_logged()
    {
        var log = new Lines();
        var builder = Builder();
        builder.Logging.AddProvider(log);
        builder.Services.AddAglowClient(settings => settings.Address = new Uri("http://127.0.0.1:1"));
        using var host = builder.Build();
        await host.StartAsync();
        await Should.ThrowAsync<AglowException>(() => host.Services.GetRequiredService<AglowClient>().ConnectAsync());
        await Eventually.TrueAsync(
            () => log.All.Any(
                static line => line.StartsWith("Warning Aglow.Client.AglowClient ", StringComparison.Ordinal)), "the failure is logged");
    }

    private static HostApplicationBuilder Builder(params (string Key, string? Value)[] settings)
    {
        var builder = Host.CreateEmptyApplicationBuilder(new HostApplicationBuilderSettings());
        builder.Configuration.AddInMemoryCollection(
            settings.Where(static s => s.Value is not null).Select(static s => KeyValuePair.Create(s.Key, s.Value)));
        return builder;
    }

    private static async Task<HealthStatus> HealthAsync(Uri address, params Uri[] others)
    {
        var builder = Builder();
        builder.Services.AddAglowClient(settings =>
        {
            settings.Address = address;
            foreach (var other in others)
                settings.OtherAddresses.Add(other);
        });
        builder.Services.AddHealthChecks().AddAglowClient();
        using var host = builder.Build();
        await host.StartAsync();
        return (await host.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Status;
    }

    private sealed class SignsIn(Func<bool> isSignedIn) : DelegatingHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (isSignedIn())
                request.Headers.Add(SignedIn.User, "ann");
            return base.SendAsync(request, cancellationToken);
        }
    }

    private sealed class Recorder(ConcurrentBag<string> seen) : DelegatingHandler
    {
        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            seen.Add(request.RequestUri!.AbsolutePath);
            return base.SendAsync(request, cancellationToken);
        }
    }
}
