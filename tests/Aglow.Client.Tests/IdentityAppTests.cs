using System.Net.WebSockets;
using Aglow.Hubs.Tests;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.SignalR.Client;

namespace Aglow.Client.Tests;

/// <summary>In an application with ASP.NET Core Identity a changed security stamp ends every kind of connection.</summary>
public sealed class IdentityAppTests
{
    [Fact]
    public async Task A_changed_security_stamp_ends_sockets_event_streams_and_hub_connections()
    {
        await using var app = await IdentityApp.StartAsync();
        using var ann = await PersonAsync(app, "ann");
        using var bob = await PersonAsync(app, "bob");
        await using var annsHub = await HubAsync(app, ann);
        await using var bobsHub = await HubAsync(app, bob);
        var hubClosed = annsHub.ClosedAsync();
        using var annsSocket = await SocketAsync(app, ann);
        using var bobsSocket = await SocketAsync(app, bob);
        using var stream = new StreamReader(await ann.GetStreamAsync("/watch?users=bob"));
        var streamEnded = stream.ReadToEndAsync();

        using (await bob.PostAsync("/stamp/ann", null))
            (await ClosedAsync(annsSocket)).ShouldBe(4401);
        await hubClosed.WaitAsync(Watching.Patience);
        // a stream starts a check with a comment, every 15 s, and hears of it with the next one
        (await streamEnded.WaitAsync(2 * Watching.Patience)).ShouldContain("retry: ");
        (await ann.GetAsync("/status/bob")).StatusCode.ShouldBe(HttpStatusCode.Unauthorized);

        // the checks of others go on, and find nothing wrong
        bobsHub.State.ShouldBe(HubConnectionState.Connected);
        bobsSocket.State.ShouldBe(WebSocketState.Open);
        (await bob.GetAsync("/status/ann")).StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    [Fact]
    public async Task A_check_leaves_the_current_request_of_its_caller_as_it_was()
    {
        var after = new TaskCompletionSource<HttpContext?>(TaskCreationOptions.RunContinuationsAsynchronously);
        await using var app = await IdentityApp.StartAsync(context =>
        {
            if (context.Request.Path == "/changes")
                after.TrySetResult(context.RequestServices.GetRequiredService<IHttpContextAccessor>().HttpContext);
        });
        using var ann = await PersonAsync(app, "ann");
        // a long poll checks the sign-in before its answer
        using var poll = await ann.GetAsync("/changes?after=latest&wait=1");
        (await after.Task.WaitAsync(Watching.Patience)).ShouldNotBeNull();
    }

    [Fact]
    public async Task Somebody_who_is_not_signed_in_is_refused_by_the_call_and_not_sent_to_a_page()
    {
        await using var app = await IdentityApp.StartAsync();
        using var nobody = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false }) { BaseAddress = app.Address };
        foreach (var path in new[] { "/status/bob", "/watch?users=bob", "/ws", "/openapi/v1.json" })
        {
            using var answer = await nobody.GetAsync(path);
            answer.StatusCode.ShouldBe(HttpStatusCode.Unauthorized, path);
            (await answer.Content.ReadAsStringAsync()).ShouldContain("urn:aglow:problem:", customMessage: path);
        }

        // both clients take that as final
        await using var client = new AglowClient(new AglowClientOptions(app.Address));
        (await Should.ThrowAsync<AglowException>(() => client.ConnectAsync())).Status.ShouldBe(401);
        client.State.ShouldBe(ConnectionState.Refused);
        using var page = new ClientWebSocket();
        page.Options.SetRequestHeader("Origin", app.Address.GetLeftPart(UriPartial.Authority));
        await page.ConnectAsync(new UriBuilder(new Uri(app.Address, "/ws")) { Scheme = "ws" }.Uri, CancellationToken.None);
        (await ClosedAsync(page)).ShouldBe(4401);

        // the application's own pages still redirect
        (await nobody.GetAsync("/page")).StatusCode.ShouldBe(HttpStatusCode.Redirect);
    }

    private static async Task<HttpClient> PersonAsync(OwnApp app, string name)
    {
        var http = app.Http();
        http.DefaultRequestHeaders.Add("Cookie", await IdentityApp.SignInAsync(app, name));
        return http;
    }

    private static string CookieOf(HttpClient person) => person.DefaultRequestHeaders.GetValues("Cookie").Single();

    private static async Task<HubConnection> HubAsync(OwnApp app, HttpClient person)
    {
        var hub = new HubConnectionBuilder()
            .WithUrl(new Uri(app.Address, "/hub"), o => o.Headers["Cookie"] = CookieOf(person))
            .Build();
        hub.KeepAliveInterval = TimeSpan.FromSeconds(1);
        await hub.StartAsync();
        // StartAsync may return before the hub runs OnConnectedAsync; a call completes after that
        (await hub.InvokeAsync<string>("Say", "hello")).ShouldBe("hello");
        return hub;
    }

    private static async Task<ClientWebSocket> SocketAsync(OwnApp app, HttpClient person)
    {
        var socket = new ClientWebSocket();
        socket.Options.SetRequestHeader("Cookie", CookieOf(person));
        await socket.ConnectAsync(new UriBuilder(new Uri(app.Address, "/ws")) { Scheme = "ws" }.Uri, CancellationToken.None);
        return socket;
    }

    private static async Task<int?> ClosedAsync(ClientWebSocket socket)
    {
        using var limit = new CancellationTokenSource(Watching.Patience);
        var buffer = new byte[4096];
        while ((await socket.ReceiveAsync(buffer, limit.Token)).MessageType != WebSocketMessageType.Close)
        {
            // ticks
        }

        return (int?)socket.CloseStatus;
    }
}
