using System.Net;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Security.Claims;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Http;

namespace Aglow.Client.Tests;

/// <summary>In an application with cookies a connection lives no longer than the sign-in behind it.</summary>
public sealed class AppSessionTests
{
    private volatile bool _isStampOld;
    private volatile int _checks;

    [Fact]
    public async Task A_socket_ends_when_its_cookie_does() => (await ClosedAsync(TimeSpan.FromSeconds(3), static () => { })).ShouldBe(4401);

    [Fact]
    public async Task A_socket_ends_when_the_apps_own_check_refuses_its_cookie() =>
        (await ClosedAsync(TimeSpan.FromHours(1), () => _isStampOld = true)).ShouldBe(4401);

    [Fact]
    public async Task An_event_stream_ends_with_its_cookie_too()
    {
        await using var app = await AppAsync(TimeSpan.FromSeconds(3));
        using var http = app.Http();
        http.DefaultRequestHeaders.Add("Cookie", await SignInAsync(app));
        using var stream = new StreamReader(await http.GetStreamAsync("/watch?users=1"));
        (await stream.ReadToEndAsync().WaitAsync(Watching.Patience)).ShouldContain("retry: ");
    }

    [Fact]
    public async Task A_long_poll_answers_nobody_who_was_signed_out_while_it_waited()
    {
        await using var app = await AppAsync(TimeSpan.FromHours(1), isBackend: true);
        using var http = app.Http();
        http.DefaultRequestHeaders.Add("Cookie", await SignInAsync(app));
        (await http.GetAsync("/changes?after=latest&wait=1")).StatusCode.ShouldBe(HttpStatusCode.OK);
        var before = _checks;
        var poll = http.GetAsync("/changes?after=latest&wait=3");
        await Eventually.TrueAsync(() => _checks > before, "the poll is let in");
        _isStampOld = true;
        (await poll).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
    }

    private static async Task<string> SignInAsync(OwnApp app)
    {
        using var http = app.Http();
        using var answer = await http.PostAsJsonAsync("/sign-in", new { });
        return answer.EnsureSuccessStatusCode().Headers.GetValues("Set-Cookie").First().Split(';')[0];
    }

    private async Task<int?> ClosedAsync(TimeSpan lasts, Action then)
    {
        await using var app = await AppAsync(lasts);
        using var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Cookie", await SignInAsync(app));
        await socket.ConnectAsync(new UriBuilder(new Uri(app.Address, "/ws")) { Scheme = "ws" }.Uri, CancellationToken.None);
        using var limit = new CancellationTokenSource(Watching.Patience);
        var buffer = new byte[4096];
        (await socket.ReceiveAsync(buffer, limit.Token)).MessageType.ShouldBe(WebSocketMessageType.Text);
        then();
        while ((await socket.ReceiveAsync(buffer, limit.Token)).MessageType != WebSocketMessageType.Close)
        {
            // ticks
        }

        return (int?)socket.CloseStatus;
    }

    private Task<OwnApp> AppAsync(TimeSpan lasts, bool isBackend = false) => OwnApp.StartAsync(
        (builder, folder) =>
        {
            builder.Services.AddAglow(o => (o.DataDirectory, o.HeartbeatSeconds, o.LeaseSeconds) = (folder, 1, 4));
            if (isBackend)
                builder.Services.AddAuthorizationBuilder()
                    .AddPolicy(AglowPolicies.Backend, static policy => policy.RequireAuthenticatedUser());
            builder.Services.AddAuthentication("cookie").AddCookie("cookie", o =>
            {
                o.ExpireTimeSpan = lasts;
                // as the security stamp of ASP.NET Core Identity does
                o.Events.OnValidatePrincipal = context =>
                {
                    if (_isStampOld)
                        context.RejectPrincipal();
                    _checks++;
                    return Task.CompletedTask;
                };
            });
        },
        static app =>
        {
            app.MapAglow();
            app.MapPost(
                "/sign-in",
                static () => TypedResults.SignIn(new ClaimsPrincipal(new ClaimsIdentity([new(ClaimTypes.Name, "ann")], "cookie"))));
        });
}
