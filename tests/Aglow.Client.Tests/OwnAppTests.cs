using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Security.Claims;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Hosting;
using Aglow.Model;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Hosting;

namespace Aglow.Client.Tests;

/// <summary><c>AddAglow()</c> and <c>MapAglow()</c> in somebody's own app.</summary>
public class OwnAppTests
{
    private static void AddAglow(WebApplicationBuilder builder, string folder) =>
        builder.Services.AddAglow(o => (o.OpenMode, o.DataDirectory) = (true, folder));

    private static Task<OwnApp> WithSettingsAsync(params (string Name, string Value)[] settings) => OwnApp.StartAsync(
        (builder, folder) =>
        {
            builder.Configuration.AddInMemoryCollection(settings.ToDictionary(static s => $"Aglow:{s.Name}", static s => (string?)s.Value));
            builder.Services.AddAglow(builder.Configuration.GetSection("Aglow"), o => (o.OpenMode, o.DataDirectory) = (true, folder));
        },
        static app => app.MapAglow());

    private static Task<OwnApp> AuthenticatedAsync(Action<WebApplication>? map = null, Action<WebApplicationBuilder>? build = null) =>
        OwnApp.StartAsync(
        (builder, folder) =>
        {
            builder.Services.AddAglow(o => o.DataDirectory = folder);
            SignedIn.Add(builder);
            builder.Services.AddAuthorizationBuilder().AddPolicy(AglowPolicies.Backend, static p => p.RequireRole("service"));
            build?.Invoke(builder);
        },
        map ?? (static app => app.MapAglow()));

    // ---- options ----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Options_come_from_a_section_and_then_from_code()
    {
        await using var app = await WithSettingsAsync(
            ("LeaseSeconds", "40"), ("Definitions:night:PulseSeconds", "36000"), ("AllowedOrigins:0", "https://chat.example"));
        await using var client = new AglowClient(app.Address.AbsoluteUri, "ann");
        (await client.HeartbeatAsync()).OfflineAfter.ShouldBe(TimeSpan.FromSeconds(40));
        (await client.StatusOfAsync("ann", "night")).Status.ShouldBe(PresenceStatus.Online);
        (await client.StatusOfAsync("ann", "reachable")).Status.ShouldBe(
            PresenceStatus.Online, "definitions of a section are added to those there are");
    }

    [Theory]
    [InlineData("LaeseSeconds", "40", "The section Aglow has a name that is not an option of Aglow: 'LaeseSeconds'.")]
    [InlineData("LeaseSeconds", "long", "LeaseSeconds")]
    [InlineData("LeaseSeconds", "5", "set at least 20")]
    public async Task What_is_wrong_in_a_section_stops_the_start_and_says_so(string name, string value, string said) =>
        (await Should.ThrowAsync<InvalidOperationException>(() => WithSettingsAsync((name, value)))).Message.ShouldContain(said);

    [Fact]
    public async Task Calls_without_services_say_what_is_missing() =>
        (await Should.ThrowAsync<InvalidOperationException>(() => OwnApp.StartAsync(static (_, _) => { }, static app => app.MapAglow())))
            .Message.ShouldContain("call builder.Services.AddAglow()");

    // ---- beside the app's own -----------------------------------------------------------------------------------------------

    [Fact]
    public async Task Under_a_prefix_every_call_works_and_the_apps_own_paths_stay_its_own()
    {
        await using var app = await OwnApp.StartAsync(AddAglow, static app =>
        {
            app.MapAglow("/presence");
            app.MapGet("/users", static () => "mine");
        });
        using var http = app.Http();
        (await http.GetStringAsync("/users")).ShouldBe("mine");
        await using var client = new AglowClient(new Uri(app.Address, "presence").AbsoluteUri, "a/b %41");
        await using var other = new AglowClient(new Uri(app.Address, "presence").AbsoluteUri, 42);
        await client.ConnectAsync();
        (await client.SetStatusAsync(ManualStatus.Busy)).ShouldBe(StatusOutcome.Saved);
        await using var seen = Watching.Of(client, 42);
        (await seen.NextTextAsync()).ShouldBe("42:Offline");
        await other.ConnectAsync();
        (await seen.NextTextAsync()).ShouldBe("42:Online");
        (await http.GetStringAsync("/presence/status/a%2Fb%20%2541")).ShouldContain("busy");
        using var created = await http.PostAsJsonAsync("/presence/users", new { user_name = "ann" });
        created.Headers.Location!.OriginalString.ShouldStartWith("/presence/users/");
        var described = await http.GetFromJsonAsync<JsonElement>("/presence/openapi/v1.json");
        described.GetProperty("servers")[0].GetProperty("url").GetString().ShouldBe("/presence");
        described.GetProperty("paths").EnumerateObject().Count().ShouldBe(36);
        using var notAllowed = await http.DeleteAsync("/presence/heartbeat");
        notAllowed.StatusCode.ShouldBe(HttpStatusCode.MethodNotAllowed);
        notAllowed.Content.Headers.ContentType!.MediaType.ShouldBe("application/problem+json");
        (await http.GetAsync("/heartbeat")).StatusCode.ShouldBe(HttpStatusCode.NotFound);
    }

    [Theory]
    [InlineData("/presence", null, false)]
    [InlineData("", "presence.example", false)]
    [InlineData("", null, true)]
    public async Task Sockets_before_HTTP_are_taken_only_where_the_calls_are_mapped(string prefix, string? onlyAt, bool isTaken)
    {
        await using var app = await OwnApp.StartAsync(
            static (builder, folder) =>
            {
                AddAglow(builder, folder);
                builder.WebHost.ConfigureKestrel(static k => k.ConfigureEndpointDefaults(static e => e.UseAglowSockets()));
            },
            app =>
            {
                var calls = app.MapGroup(prefix).MapAglow();
                if (onlyAt is not null)
                    calls.RequireHost(onlyAt);
            });
        using var socket = new ClientWebSocket();
        var connecting = socket.ConnectAsync(
            new UriBuilder(new Uri(app.Address, "/ws?user_id=7")) { Scheme = "ws" }.Uri, CancellationToken.None);
        if (isTaken)
            await connecting;
        else
            (await Should.ThrowAsync<WebSocketException>(() => connecting)).Message.ShouldContain("404");
        (await app.Presence.StatusAsync(7)).IsOnline.ShouldBe(isTaken);
    }

    [Fact]
    public async Task The_apps_own_handlers_ask_the_service()
    {
        await using var app = await OwnApp.StartAsync(AddAglow, static app =>
        {
            app.MapAglow("/presence");
            app.MapGet("/is/{user}", static async (uint user, PresenceService presence) => (await presence.StatusAsync(user)).IsOnline);
        });
        using var http = app.Http();
        (await http.GetStringAsync("/is/7")).ShouldBe("false");
        await using var client = new AglowClient(new Uri(app.Address, "presence").AbsoluteUri, 7);
        await client.HeartbeatAsync();
        (await http.GetStringAsync("/is/7")).ShouldBe("true");
    }

    [Fact]
    public async Task The_apps_health_checks_follow_presence_and_anybody_loads_the_client()
    {
        await using var app = await AuthenticatedAsync(static app =>
        {
            app.MapAglow("/presence").RequireAuthorization();
            app.MapHealthChecks("/ready", new() { Predicate = static check => check.Tags.Contains("ready") });
        });
        using var http = app.Http();
        (await http.GetStringAsync("/ready")).ShouldBe("Healthy");
        (await http.GetStringAsync("/presence/client/index.js")).ShouldContain("connect");
        (await http.GetAsync("/presence/client/react.js")).StatusCode.ShouldBe(HttpStatusCode.NotFound);
        app.Services.GetRequiredService<IHostApplicationLifetime>().StopApplication();
        var check = (await app.Services.GetRequiredService<HealthCheckService>().CheckHealthAsync()).Entries["presence"];
        check.Status.ShouldBe(HealthStatus.Unhealthy);
        check.Description.ShouldBe("This server is stopping. Use another node.");
    }

    // ---- callers that are authenticated -------------------------------------------------------------------------------------

    public static TheoryData<string, string, string?> SpeakingForAnn() => new()
    {
        { "POST", "/heartbeat", "{\"user_id\":\"ann\"}" },
        { "POST", "/heartbeat", "{\"user_ids\":[\"ann\"]}" },
        { "POST", "/status/update", "{\"user_id\":\"ann\",\"timestamp\":1763763300}" },
        { "POST", "/offline", "{\"user_id\":\"ann\"}" },
        { "POST", "/users", "{\"user_name\":\"ann\"}" },
        { "PUT", "/users/ann/status", "{\"status\":\"busy\"}" },
        { "GET", "/users/ann/subscriptions", null },
        { "POST", "/users/ann/subscriptions", "{\"user_ids\":[1]}" },
        { "DELETE", "/users/ann/subscriptions", "{\"user_ids\":[1]}" },
        { "DELETE", "/users/ann", null },
    };

    [Theory]
    [MemberData(nameof(SpeakingForAnn))]
    public async Task Who_is_signed_in_speaks_for_themself_and_a_backend_for_all(string method, string path, string? json)
    {
        await using var app = await AuthenticatedAsync();
        using var gateway = app.Http("gateway", isService: true);
        using var ann = app.Http("ann");
        using var bob = app.Http("bob");
        using var nobody = app.Http();
        // bob is registered, so that what he is refused is not refused for that
        (await SendAsync(bob, "POST", "/heartbeat", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
        await ShouldBeProblemAsync(await SendAsync(nobody, method, path, json), HttpStatusCode.Unauthorized, "sign-in");
        await ShouldBeProblemAsync(await SendAsync(bob, method, path, json), HttpStatusCode.Forbidden, "You speak for yourself only");
        (await gateway.GetStringAsync("/status/ann")).ShouldContain("\"last_seen\":null", Case.Sensitive, "nothing was written");
        if (path != "/users")
            (await SendAsync(gateway, "POST", "/heartbeat", "{\"user_id\":\"ann\"}")).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await SendAsync(ann, method, path, json)).IsSuccessStatusCode.ShouldBeTrue();
    }

    [Fact]
    public async Task Many_at_once_packed_ones_and_explanations_are_a_backends()
    {
        await using var app = await AuthenticatedAsync();
        using var gateway = app.Http("gateway", isService: true);
        using var bob = app.Http("bob");
        await ShouldBeProblemAsync(await SendAsync(bob, "POST", "/heartbeat", "{\"user_ids\":[\"bob\",1]}"), HttpStatusCode.Forbidden);
        await ShouldBeProblemAsync(await bob.GetAsync("/status/1/explain"), HttpStatusCode.Forbidden);
        foreach (var path in new[] { "/heartbeat", "/offline" })
        {
            await ShouldBeProblemAsync(await bob.PostAsync(path, Packed()), HttpStatusCode.Forbidden);
            (await gateway.PostAsync(path, Packed())).StatusCode.ShouldBe(HttpStatusCode.OK);
        }

        (await SendAsync(gateway, "POST", "/heartbeat", "{\"user_ids\":[\"bob\",1]}")).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await gateway.GetAsync("/status/1/explain")).StatusCode.ShouldBe(HttpStatusCode.OK);
        // what a person chose to be seen as is shown to them alone
        (await bob.GetStringAsync("/users/bob")).ShouldContain("\"manual\"");
        using var ann = app.Http("ann");
        (await ann.GetStringAsync("/users/bob")).ShouldNotContain("\"manual\"");

        static ByteArrayContent Packed() => new([1, 0, 0, 0]) { Headers = { ContentType = new("application/octet-stream") } };
    }

    [Fact]
    public async Task An_empty_body_and_a_socket_without_a_name_speak_for_who_is_signed_in()
    {
        // the short cut for sockets must not go past authentication
        await using var app = await AuthenticatedAsync(
            build: static b => b.WebHost.ConfigureKestrel(static k => k.ConfigureEndpointDefaults(static e => e.UseAglowSockets())));
        using var ann = app.Http("ann");
        using var bob = app.Http("42");
        (await SendAsync(ann, "POST", "/heartbeat", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await ann.GetStringAsync("/status/ann")).ShouldContain("online");
        (await SendAsync(ann, "POST", "/offline", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await ann.GetStringAsync("/status/ann")).ShouldContain("offline");

        await using var client = new AglowClient(new AglowClientOptions(app.Address) { HttpClient = ann });
        await client.ConnectAsync();
        await using var other = new AglowClient(new AglowClientOptions(app.Address) { HttpClient = bob, User = 42 });
        await using var seen = Watching.Of(other, "ann");
        (await seen.NextTextAsync()).ShouldBe("ann:Online");
        await client.LeaveAsync();
        (await seen.NextTextAsync()).ShouldBe("ann:Offline");

        await using var pretender = new AglowClient(new AglowClientOptions(app.Address) { HttpClient = bob, User = "ann" });
        (await Should.ThrowAsync<AglowException>(() => pretender.ConnectAsync())).Title.ShouldBe("Not yours");
        await using var nobody = new AglowClient(app.Address.AbsoluteUri, "ann");
        (await Should.ThrowAsync<AglowException>(() => nobody.ConnectAsync())).Status.ShouldBe(401);
    }

    [Theory]
    [InlineData("/metrics", true, false)]
    [InlineData("/status/1/explain", true, false)]
    [InlineData("/online", true, false)]
    [InlineData("/online/count", true, true)]
    [InlineData("/status/1", true, true)]
    [InlineData("/users?q=a", true, true)]
    [InlineData("/watch?users=1", true, true)]
    [InlineData("/health/live", false, true)]
    [InlineData("/openapi/v1.json", false, true)]
    public async Task The_table_of_calls_holds_in_an_app(string path, bool isClosed, bool isForPeople)
    {
        await using var app = await AuthenticatedAsync();
        foreach (var (http, expected) in new[]
        {
            (app.Http(), isClosed ? HttpStatusCode.Unauthorized : HttpStatusCode.OK),
            (app.Http("ann"), isForPeople ? HttpStatusCode.OK : HttpStatusCode.Forbidden),
            (app.Http("gateway", isService: true), HttpStatusCode.OK),
        })
        {
            using var answer = await http.GetAsync(path, HttpCompletionOption.ResponseHeadersRead);
            answer.StatusCode.ShouldBe(expected, path);
            if (expected == HttpStatusCode.Forbidden)
                (await answer.Content.ReadAsStringAsync()).ShouldContain("Aglow.Backend");
            http.Dispose();
        }
    }

    [Fact]
    public async Task Calls_for_people_may_be_opened_to_everybody_and_calls_for_backends_may_not()
    {
        await using var app = await AuthenticatedAsync(static app => app.MapAglow().AllowAnonymous());
        using var nobody = app.Http();
        (await nobody.GetAsync("/status/1")).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await nobody.GetAsync("/online")).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
        (await SendAsync(nobody, "POST", "/heartbeat", "{\"user_id\":1}")).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task An_app_that_decides_nothing_or_two_things_does_not_start()
    {
        var undecided = await Should.ThrowAsync<InvalidOperationException>(() => OwnApp.StartAsync(
            static (builder, folder) => builder.Services.AddAglow(o => o.DataDirectory = folder),
            static app =>
            {
                app.Use(static (context, next) =>
                {
                    context.User = new(new ClaimsIdentity([new(ClaimTypes.Name, "ann")], "own"));
                    return next(context);
                });
                app.MapAglow();
            }));
        undecided.Message.ShouldContain("AddAuthentication()");
        undecided.Message.ShouldContain("OpenMode");
        var both = await Should.ThrowAsync<InvalidOperationException>(() => OwnApp.StartAsync(
            static (builder, folder) =>
            {
                AddAglow(builder, folder);
                SignedIn.Add(builder);
            },
            static app => app.MapAglow()));
        both.Message.ShouldContain("leave one of them out");
    }

    [Theory]
    [InlineData("https://evil.example", "cross-site", null, HttpStatusCode.Forbidden)]
    [InlineData(null, "cross-site", null, HttpStatusCode.Forbidden)]
    [InlineData(null, null, "text/plain", HttpStatusCode.UnsupportedMediaType)]
    [InlineData(null, null, "application/x-www-form-urlencoded", HttpStatusCode.UnsupportedMediaType)]
    [InlineData(null, null, "multipart/form-data; boundary=x", HttpStatusCode.UnsupportedMediaType)]
    [InlineData(null, null, "application/json", HttpStatusCode.OK)]
    [InlineData(null, "same-origin", null, HttpStatusCode.OK)]
    public async Task A_page_cannot_write_for_its_visitor_from_elsewhere(
        string? origin, string? site, string? type, HttpStatusCode expected)
    {
        await using var app = await AuthenticatedAsync();
        foreach (var path in new[] { "/heartbeat", "/offline", "/users/ann/revoke" })
        {
            using var ann = app.Http("ann");
            (await SendAsync(ann, "POST", "/heartbeat", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
            using var request = new HttpRequestMessage(HttpMethod.Post, path) { Content = new ByteArrayContent([]) };
            if (origin is not null)
                request.Headers.Add("Origin", origin);
            if (site is not null)
                request.Headers.Add("Sec-Fetch-Site", site);
            if (type is not null)
                request.Content.Headers.TryAddWithoutValidation("Content-Type", type);
            using var answer = await ann.SendAsync(request);
            answer.StatusCode.ShouldBe(
                expected == HttpStatusCode.OK && path.EndsWith("revoke", StringComparison.Ordinal) ? HttpStatusCode.NoContent : expected,
                path);
            (await ann.GetStringAsync("/status/ann"))
                .ShouldContain(expected != HttpStatusCode.OK || path == "/heartbeat" ? "\"online\"" : "\"offline\"");
        }
    }

    [Fact]
    public async Task Required_authorization_holds_for_every_call()
    {
        await using var app = await AuthenticatedAsync(static app => app.MapAglow("/presence").RequireAuthorization());
        using var nobody = app.Http();
        foreach (var path in new[]
        {
            "status/1", "status/users?ids=1", "online", "users", "watch?users=1", "ws?user_id=1", "metrics", "openapi/v1.json",
            "health/live",
        })
            (await nobody.GetAsync($"/presence/{path}")).StatusCode.ShouldBe(HttpStatusCode.Unauthorized, path);
        using var ann = app.Http("ann");
        (await ann.GetAsync("/presence/status/1")).StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    private static Task<HttpResponseMessage> SendAsync(HttpClient http, string method, string path, string? json) =>
        http.SendAsync(
            new HttpRequestMessage(new HttpMethod(method), path)
            {
                Content = json is null ? null : new StringContent(json, Encoding.UTF8, "application/json"),
            });

    private static async Task ShouldBeProblemAsync(HttpResponseMessage answer, HttpStatusCode status, string? detail = null)
    {
        var text = await answer.Content.ReadAsStringAsync();
        answer.StatusCode.ShouldBe(status, text);
        answer.Content.Headers.ContentType!.MediaType.ShouldBe("application/problem+json");
        if (detail is not null)
            text.ShouldContain(detail);
    }
}
