using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using System.Net.WebSockets;
using System.Security.Claims;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.Hubs.Tests;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.SignalR.Client;

namespace Aglow.Client.Tests;

/// <summary>In an application with cookies a connection lives no longer than the sign-in behind it.</summary>
public sealed class AppSessionTests
{
    private volatile bool _isStampOld;
    private volatile int _checks;

    [Fact]
    public async Task A_socket_whose_cookie_expires_is_asked_to_reconnect_and_is_refused_with_the_same_cookie()
    {
        await using var app = await AppAsync(TimeSpan.FromSeconds(8));
        var cookie = await SignInAsync(app);
        using (var socket = await SocketAsync(app, cookie))
        {
            var heard = await HearAllAsync(socket);
            socket.CloseStatus.ShouldBe(WebSocketCloseStatus.EndpointUnavailable);
            heard[^1].ShouldBe("{\"type\":\"reconnect\",\"after_ms\":0}");
        }

        // connects as a page, which cannot read the answer to a refused handshake
        using var again = await SocketAsync(app, cookie, isPage: true);
        await HearAllAsync(again);
        ((int?)again.CloseStatus).ShouldBe(4401);
    }

    [Fact]
    public async Task Somebody_whose_cookie_is_renewed_stays_online()
    {
        await using var app = await AppAsync(TimeSpan.FromSeconds(8));
        var cookies = new CookieContainer();
        using var http = new HttpClient(new SocketsHttpHandler { CookieContainer = cookies }) { BaseAddress = app.Address };
        (await http.PostAsJsonAsync("/sign-in", new { })).EnsureSuccessStatusCode();
        var (dials, failures) = (0, new ConcurrentQueue<string>());
        await using var client = new AglowClient(new AglowClientOptions(app.Address)
        {
            ConnectSocket = async (address, _, stop) =>
            {
                dials++;
                var socket = new ClientWebSocket { Options = { Cookies = cookies } };
                await socket.ConnectAsync(address, stop);
                return socket;
            },
        });
        client.Failed += failure => failures.Enqueue(failure.Message);
        await client.ConnectAsync();
        await using var hub = new HubConnectionBuilder()
            .WithUrl(new Uri(app.Address, "/room"), o => o.Cookies = cookies)
            .WithAutomaticReconnect()
            .Build();
        var reconnects = 0;
        hub.Reconnected += _ =>
        {
            reconnects++;
            return Task.CompletedTask;
        };
        var hubClosed = hub.ClosedAsync();
        await hub.StartAsync();
        await Eventually.TrueAsync(
            async () =>
            {
                // the application's own calls renew the cookie
                (await http.GetAsync("/status/ann")).EnsureSuccessStatusCode();
                (await app.StatusAsync("ann")).IsOnline.ShouldBeTrue();
                return dials > 2 && reconnects > 1;
            },
            "both connect again and again");
        failures.ShouldBeEmpty();
        hubClosed.IsCompleted.ShouldBeFalse();
    }

    [Fact]
    public async Task A_socket_ends_when_the_apps_own_check_refuses_its_cookie() =>
        (await ClosedAsync(TimeSpan.FromHours(1), () => _isStampOld = true)).ShouldBe(4401);

    [Fact]
    public async Task An_event_stream_ends_with_its_cookie_too()
    {
        await using var app = await AppAsync(TimeSpan.FromSeconds(8));
        using var http = app.Http();
        http.DefaultRequestHeaders.Add("Cookie", await SignInAsync(app));
        using var stream = new StreamReader(await http.GetStreamAsync("/watch?users=1"));
        (await stream.ReadToEndAsync().WaitAsync(2 * Watching.Patience)).ShouldContain("retry: ");
    }

    [Fact]
    public async Task A_long_poll_answers_nobody_who_was_signed_out_while_it_waited()
    {
        await using var app = await AppAsync(TimeSpan.FromHours(1), isBackend: true);
        using var http = app.Http();
        http.DefaultRequestHeaders.Add("Cookie", await SignInAsync(app));
        (await http.GetAsync("/changes?after=latest&wait=1")).StatusCode.ShouldBe(HttpStatusCode.OK);
        var before = _checks;
        var poll = http.GetAsync("/changes?after=latest&wait=30");
        await Eventually.TrueAsync(() => _checks > before, "the poll is let in");
        _isStampOld = true;
        // what it would answer
        await app.Presence.HeartbeatAsync(Aglow.Model.UserId.Parse("bob"));
        (await poll).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task A_long_poll_answers_nobody_who_was_signed_out_everywhere_while_it_waited()
    {
        await using var app = await AppAsync(TimeSpan.FromHours(1), isBackend: true);
        using var http = app.Http();
        http.DefaultRequestHeaders.Add("Cookie", await SignInAsync(app));
        (await http.GetAsync("/changes?after=latest&wait=1")).StatusCode.ShouldBe(HttpStatusCode.OK);
        // a cookie of the second of the sign-out would count
        await Task.Delay(TimeSpan.FromSeconds(1.1));
        var before = _checks;
        var poll = http.GetAsync("/changes?after=latest&wait=30");
        await Eventually.TrueAsync(() => _checks > before, "the poll is let in");
        await app.Presence.RevokeAsync(await app.Presence.RegisterAsync(Aglow.Model.UserId.Parse("ann")));
        await app.Presence.HeartbeatAsync(Aglow.Model.UserId.Parse("bob"));
        (await poll).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);
    }

    [Fact]
    public async Task A_cookie_of_before_a_sign_out_everywhere_connects_no_more()
    {
        await using var app = await AppAsync(TimeSpan.FromHours(1));
        var ann = Aglow.Model.UserId.Parse("ann");
        var cookie = await SignInAsync(app);
        using var http = app.Http();
        http.DefaultRequestHeaders.Add("Cookie", cookie);
        (await http.PostAsync("/heartbeat", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
        // a cookie of the second of the sign-out still counts
        await Eventually.TrueAsync(
            async () =>
            {
                await app.Presence.RevokeAsync(await app.Presence.FindAsync(ann));
                return (await http.PostAsync("/heartbeat", null)).StatusCode == HttpStatusCode.Unauthorized;
            },
            "the cookie is older than the sign-out");
        (await http.GetStringAsync("/client/index.js")).ShouldNotBeEmpty("anybody may load it");
        (await (await http.GetAsync("/watch?users=bob")).Content.ReadAsStringAsync()).ShouldContain("Sign-in revoked");
        using var page = await SocketAsync(app, cookie, isPage: true);
        await HearAllAsync(page);
        ((int?)page.CloseStatus).ShouldBe(4401);
        await using (var hub = Hub(app, cookie))
        {
            var closed = hub.ClosedAsync();
            await hub.StartAsync();
            await closed.WaitAsync(Watching.Patience);
        }

        (await app.StatusAsync("ann")).IsOnline.ShouldBeFalse();
        await using var again = Hub(app, await SignInAsync(app));
        await again.StartAsync();
        await Eventually.TrueAsync(async () => (await app.StatusAsync("ann")).IsOnline, "a new sign-in is let in");
    }

    private static HubConnection Hub(OwnApp app, string cookie) =>
        new HubConnectionBuilder().WithUrl(new Uri(app.Address, "/room"), o => o.Headers["Cookie"] = cookie).Build();

    private static async Task<string> SignInAsync(OwnApp app)
    {
        using var http = app.Http();
        using var answer = await http.PostAsJsonAsync("/sign-in", new { });
        return answer.EnsureSuccessStatusCode().Headers.GetValues("Set-Cookie").First().Split(';')[0];
    }

    private async Task<int?> ClosedAsync(TimeSpan lasts, Action then)
    {
        await using var app = await AppAsync(lasts);
        using var socket = await SocketAsync(app, await SignInAsync(app));
        then();
        await HearAllAsync(socket);
        return (int?)socket.CloseStatus;
    }

    private static async Task<ClientWebSocket> SocketAsync(OwnApp app, string cookie, bool isPage = false)
    {
        var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Cookie", cookie);
        if (isPage)
            socket.Options.SetRequestHeader("Origin", app.Address.GetLeftPart(UriPartial.Authority));
        await socket.ConnectAsync(new UriBuilder(new Uri(app.Address, "/ws")) { Scheme = "ws" }.Uri, CancellationToken.None);
        return socket;
    }

    // All messages until the close.
    private static async Task<List<string>> HearAllAsync(ClientWebSocket socket)
    {
        using var limit = new CancellationTokenSource(Watching.Patience);
        var buffer = new byte[4096];
        var heard = new List<string>();
        while (true)
        {
            var message = await socket.ReceiveAsync(buffer, limit.Token);
            if (message.MessageType == WebSocketMessageType.Close)
                return heard;
            heard.Add(Encoding.UTF8.GetString(buffer.AsSpan(0, message.Count)));
        }
    }

    private Task<OwnApp> AppAsync(TimeSpan lasts, bool isBackend = false) => OwnApp.StartAsync(
        (builder, folder) =>
        {
            builder.Services.AddAglow(o => (o.DataDirectory, o.HeartbeatSeconds, o.LeaseSeconds) = (folder, 1, 30));
            builder.Services.AddSignalR(static o => o.ClientTimeoutInterval = TimeSpan.FromSeconds(30)).AddAglowPresence();
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
            app.MapHub<Room>("/room");
            app.MapPost(
                "/sign-in",
                static () => TypedResults.SignIn(new ClaimsPrincipal(new ClaimsIdentity([new(ClaimTypes.Name, "ann")], "cookie"))));
        });
}
