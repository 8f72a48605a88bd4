using System.Net.Http.Json;
using System.Net.ServerSentEvents;
using System.Net.WebSockets;
using Aglow.AspNetCore.Endpoints;

namespace Aglow.Client.Tests;

/// <summary><c>samples/ChatApp</c>: two users with cookies of their own.</summary>
public sealed class ChatAppTests : IAsyncLifetime
{
    private ChatAppProcess _app = null!;

    // the lease is longer than a test, so that nobody goes offline because the machine is busy
    public async Task InitializeAsync() => _app = await ChatAppProcess.StartAsync(leaseSeconds: 120);

    public async Task DisposeAsync() => await _app.DisposeAsync();

    [Fact]
    public async Task Two_people_talk_and_see_each_other_come_and_go()
    {
        using var ann = await SignInAsync("ann");
        using var bob = await SignInAsync("bob");
        await using var annsDot = new AglowClient(new AglowClientOptions(new Uri(_app.Address, "presence")) { HttpClient = ann });
        await using var bobsDot = new AglowClient(
            new AglowClientOptions(new Uri(_app.Address, "presence")) { HttpClient = bob, User = "bob" });
        await annsDot.ConnectAsync();
        await using var seenByAnn = Watching.Of(annsDot, "bob");
        (await seenByAnn.NextTextAsync()).ShouldBe("bob:Offline");
        await bobsDot.ConnectAsync();
        (await seenByAnn.NextTextAsync()).ShouldBe("bob:Online");
        await using var seenByBob = Watching.Of(bobsDot, "ann");
        (await seenByBob.NextTextAsync()).ShouldBe("ann:Online");
        (await bob.GetAsync("presence/online")).StatusCode.ShouldBe(HttpStatusCode.Forbidden, "lists of who is online are for backends");

        await using var heardByBob = await ListenAsync(bob);
        (await NextAsync(heardByBob)).ShouldBe("bob: is here");
        await using var heardByAnn = await ListenAsync(ann);
        (await NextAsync(heardByAnn)).ShouldBe("ann: is here");
        (await NextAsync(heardByBob)).ShouldBe("ann: is here");
        // the cookie says whose line it is, not the message
        (await ann.PostAsJsonAsync("chat", new { name = "bob", text = "hello" })).EnsureSuccessStatusCode();
        (await NextAsync(heardByBob)).ShouldBe("ann: hello");
        (await NextAsync(heardByAnn)).ShouldBe("ann: hello");

        await annsDot.LeaveAsync();
        (await seenByBob.NextTextAsync()).ShouldBe("ann:Offline");
        await annsDot.ConnectAsync();
        (await seenByBob.NextTextAsync()).ShouldBe("ann:Online");
    }

    [Fact]
    public async Task After_a_sign_out_everywhere_cookies_of_before_are_refused()
    {
        using var otherTab = await SignInAsync("zoe");
        (await otherTab.PostAsync("presence/heartbeat", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
        // a cookie of the second of the sign-out would count
        await Eventually.TrueAsync(
            async () =>
            {
                using var first = await SignInAsync("zoe");
                (await first.PostAsync("sign-out", null)).EnsureSuccessStatusCode();
                using var again = await SignInAsync("zoe");
                (await again.PostAsync("presence/heartbeat", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
                return (await otherTab.PostAsync("presence/heartbeat", null)).StatusCode == HttpStatusCode.Unauthorized;
            },
            "the cookie is older than the sign-out");
        (await (await otherTab.GetAsync("presence/status/zoe")).Content.ReadAsStringAsync()).ShouldContain("Sign-in revoked");
        await using var dot = new AglowClient(new AglowClientOptions(new Uri(_app.Address, "presence")) { HttpClient = otherTab });
        (await Should.ThrowAsync<AglowException>(() => dot.ConnectAsync())).Status.ShouldBe(401);
    }

    [Fact]
    public async Task Nobody_is_online_as_somebody_else()
    {
        using var ann = await SignInAsync("ann");
        await using var pretender = new AglowClient(
            new AglowClientOptions(new Uri(_app.Address, "presence")) { HttpClient = ann, User = "bob" });
        (await Should.ThrowAsync<AglowException>(() => pretender.ConnectAsync())).Title.ShouldBe("Not yours");
        using var stranger = Http();
        (await stranger.GetAsync("presence/status/ann")).IsSuccessStatusCode.ShouldBeFalse();
        (await stranger.GetAsync("chat")).IsSuccessStatusCode.ShouldBeFalse();
    }

    [Fact]
    public async Task Who_signs_out_is_gone_everywhere_and_a_forgotten_tab_does_not_bring_them_back()
    {
        using var ann = await SignInAsync("ann");
        using var bob = await SignInAsync("bob");
        using var here = new ClientWebSocket();
        var cookie =
            (await ann.PostAsJsonAsync("sign-in", new { name = "ann", text = "" })).Headers.GetValues("Set-Cookie").First().Split(';')[0];
        here.Options.SetRequestHeader("Cookie", cookie);
        await here.ConnectAsync(new UriBuilder(new Uri(_app.Address, "presence/ws")) { Scheme = "ws" }.Uri, CancellationToken.None);
        await using var bobsDot = new AglowClient(
            new AglowClientOptions(new Uri(_app.Address, "presence")) { HttpClient = bob, User = "bob" });
        await using var seen = Watching.Of(bobsDot, "ann");
        (await seen.NextTextAsync()).ShouldBe("ann:Online");
        (await ann.PostAsync("sign-out", null)).EnsureSuccessStatusCode();
        (await seen.NextTextAsync()).ShouldBe("ann:Offline");
        // what the tab sends now comes too late
        var closed = CloseOf(here);
        try
        {
            await here.SendAsync(
                "{\"type\":\"active\"}"u8.ToArray(), WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);
        }
        catch (WebSocketException)
        {
            // closed already
        }

        (await closed.WaitAsync(Watching.Patience)).ShouldBe(4401);
        (await bob.GetStringAsync("presence/status/ann")).ShouldContain("\"offline\"");
        (await ann.GetAsync("presence/status/bob")).IsSuccessStatusCode.ShouldBeFalse("the cookie is gone");

        static async Task<int?> CloseOf(ClientWebSocket socket)
        {
            var buffer = new byte[4096];
            while ((await socket.ReceiveAsync(buffer, CancellationToken.None)).MessageType != WebSocketMessageType.Close)
            {
                // what it is told until then
            }

            return (int?)socket.CloseStatus;
        }
    }

    [Fact]
    public async Task The_page_and_every_module_it_imports_are_served()
    {
        using var anyone = Http();
        (await anyone.GetStringAsync("")).ShouldContain("./presence/client/index.js");
        var folder = Path.Combine(AglowProcess.Root, "clients", "js", "src");
        foreach (var module in Directory.GetFiles(folder, "*.js").Select(Path.GetFileName).Where(static m => m != "react.js"))
        {
            using var answer = await anyone.GetAsync($"presence/client/{module}");
            answer.StatusCode.ShouldBe(HttpStatusCode.OK, module);
            answer.Content.Headers.ContentType!.MediaType.ShouldBe("text/javascript");
        }
    }

    [Fact]
    public void It_takes_fewer_than_fifty_lines() =>
        Directory.GetFiles(Path.Combine(AglowProcess.Root, "samples", "ChatApp"), "*.cs")
            .Sum(static f => File.ReadLines(f).Count(static line => !line.StartsWith("using ", StringComparison.Ordinal)))
                .ShouldBeLessThan(50);

    // no redirects: who is not signed in is sent to a page that there is not
    private HttpClient Http() => new(new SocketsHttpHandler { AllowAutoRedirect = false }) { BaseAddress = _app.Address };

    private async Task<HttpClient> SignInAsync(string name)
    {
        var http = Http();
        (await http.PostAsJsonAsync("sign-in", new { name, text = "" })).EnsureSuccessStatusCode();
        return http;
    }

    private static async Task<IAsyncEnumerator<SseItem<string>>> ListenAsync(HttpClient http)
    {
        var answer = await http.GetAsync("chat", HttpCompletionOption.ResponseHeadersRead);
        return SseParser.Create(await answer.EnsureSuccessStatusCode().Content.ReadAsStreamAsync()).EnumerateAsync().GetAsyncEnumerator();
    }

    private static async Task<string> NextAsync(IAsyncEnumerator<SseItem<string>> lines)
    {
        (await lines.MoveNextAsync().AsTask().WaitAsync(Watching.Patience)).ShouldBeTrue();
        var line = JsonDocument.Parse(lines.Current.Data).RootElement;
        return $"{line.GetProperty("name").GetString()}: {line.GetProperty("text").GetString()}";
    }
}
