using System.Net.Http.Headers;
using Aglow.Model;

namespace Aglow.Client.Tests;

/// <summary>Every verb, against a real server over real sockets.</summary>
public class AglowClientTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    private static UserId NewUser() => ServerFixture.NewUser();

    private async Task<PresenceStatus> StatusAsync(UserId user)
    {
        await using var anyone = server.Client();
        return (await anyone.StatusOfAsync(user)).Status;
    }

    // The clients of other tests are gone, too, once the server has noticed.
    private Task NobodyIsWatchedAsync() =>
        Eventually.TrueAsync(async () => await server.GaugeAsync("aglow_watches") == 0, "nobody is watched at the server");

    // ---- being online -----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Connecting_is_being_online_and_leaving_is_being_offline()
    {
        var user = NewUser();
        await using var client = server.Client(user);
        client.State.ShouldBe(ConnectionState.Closed);
        await client.ConnectAsync();
        client.State.ShouldBe(ConnectionState.Open);
        (await StatusAsync(user)).ShouldBe(PresenceStatus.Online);
        await client.LeaveAsync();
        client.State.ShouldBe(ConnectionState.Closed);
        (await StatusAsync(user)).ShouldBe(PresenceStatus.Offline);
        // and back again, by the same client
        await client.ConnectAsync();
        (await StatusAsync(user)).ShouldBe(PresenceStatus.Online);
    }

    [Fact]
    public async Task Two_people_see_each_other_come_and_go()
    {
        var (ann, bob) = (ServerFixture.NewKey("ann"), NewUser());
        await using var client = server.Client(ann);
        await using var other = server.Client(bob);
        await using var seenByAnn = Watching.Of(client, bob);
        await Eventually.TrueAsync(() => client.State == ConnectionState.Open, "a watch connects");
        await seenByAnn.UntilAsync(bob, PresenceStatus.Offline);
        await using var seenByBob = Watching.Of(other, ann);
        await seenByBob.UntilAsync(ann, PresenceStatus.Online);
        (await seenByAnn.UntilAsync(bob, PresenceStatus.Online)).LastSeen.ShouldNotBeNull();
        await client.LeaveAsync();
        await seenByBob.UntilAsync(ann, PresenceStatus.Offline);
        await seenByAnn.Ended.WaitAsync(Watching.Patience);
    }

    [Fact]
    public async Task Disposing_leaves_the_lease_running()
    {
        var user = NewUser();
        var client = server.Client(user);
        await client.ConnectAsync();
        await client.DisposeAsync();
        (await StatusAsync(user)).ShouldBe(PresenceStatus.Online);
        await Should.ThrowAsync<ObjectDisposedException>(() => client.ConnectAsync());
    }

    [Fact]
    public async Task A_user_without_a_connection_lives_by_heartbeats_and_leaves_over_HTTP()
    {
        var user = ServerFixture.NewKey();
        await using var client = server.Client(user);
        using var stop = new CancellationTokenSource();
        var beating = client.RunHeartbeatsAsync(() => true, stop.Token);
        await Eventually.TrueAsync(async () => await StatusAsync(user) == PresenceStatus.Online, "the first heartbeat");
        var first = (await client.StatusOfAsync(user)).LastSeen;
        await Eventually.TrueAsync(async () => (await client.StatusOfAsync(user)).LastSeen > first, "the next heartbeat");
        await stop.CancelAsync();
        await Should.ThrowAsync<OperationCanceledException>(() => beating);
        (await client.StatusOfAsync(user, "active")).Status.ShouldBe(PresenceStatus.Online);
        await client.LeaveAsync();
        (await StatusAsync(user)).ShouldBe(PresenceStatus.Offline);
        client.State.ShouldBe(ConnectionState.Closed);
    }

    [Fact]
    public async Task Heartbeats_say_when_to_send_the_next_and_may_speak_for_many()
    {
        await using var gateway = server.Client();
        UserId[] users = [NewUser(), ServerFixture.NewKey(), NewUser()];
        (await gateway.HeartbeatAsync(users)).ShouldBe(new HeartbeatAnswer(TimeSpan.FromSeconds(4), TimeSpan.FromSeconds(120)));
        (await gateway.StatusAsync(users)).ShouldAllBe(static r => r.IsOnline);
        await Should.ThrowAsync<ArgumentException>(() => gateway.HeartbeatAsync(Array.Empty<UserId>()));
    }

    [Fact]
    public async Task Activity_reaches_the_server_and_is_sent_at_most_every_30_seconds()
    {
        var user = NewUser();
        await using var client = server.Client(user);
        await using var watcher = server.Client(NewUser());
        await using var seen = Watching.Under("active", watcher, user);
        (await seen.NextTextAsync()).ShouldBe($"{user}:Offline");
        await client.ConnectAsync();
        await client.ActiveAsync();
        await client.ActiveAsync();
        // the device may be told of before the activity
        var told = await seen.NextTextAsync();
        if (told == $"{user}:Offline")
            told = await seen.NextTextAsync();
        told.ShouldBe($"{user}:Online");
    }

    [Fact]
    public async Task A_manual_status_is_seen_by_who_watches()
    {
        var user = NewUser();
        await using var client = server.Client(user);
        await client.ConnectAsync();
        await using var watcher = server.Client(NewUser());
        await using var seen = Watching.Of(watcher, user);
        (await seen.NextTextAsync()).ShouldBe($"{user}:Online");
        (await client.SetStatusAsync(ManualStatus.Busy)).ShouldBe(StatusOutcome.Saved);
        (await seen.NextTextAsync()).ShouldBe($"{user}:Busy");
        (await client.SetStatusAsync(ManualStatus.Away)).ShouldBe(StatusOutcome.Saved);
        (await seen.NextTextAsync()).ShouldBe($"{user}:Away");
        (await client.SetStatusAsync(ManualStatus.Offline)).ShouldBe(StatusOutcome.Saved);
        (await seen.NextTextAsync()).ShouldBe($"{user}:Offline");
        (await client.SetStatusAsync(ManualStatus.Online)).ShouldBe(StatusOutcome.Saved);
        (await client.SetStatusAsync(ManualStatus.Auto)).ShouldBe(StatusOutcome.Saved);
        (await seen.NextTextAsync()).ShouldBe($"{user}:Online");
        await using var nobody = server.Client();
        await Should.ThrowAsync<InvalidOperationException>(() => nobody.SetStatusAsync(ManualStatus.Busy));
    }

    // ---- asking -------------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Statuses_come_in_the_order_asked_for()
    {
        var (online, never, key) = (NewUser(), NewUser(), ServerFixture.NewKey("a/b ?#%"));
        await using var client = server.Client(online);
        await client.HeartbeatAsync();
        var records = await client.StatusAsync([never, key, online, never, "users", "batch"]);
        records.Select(static r => r.User).ShouldBe([never, key, online, never, "users", "batch"]);
        records.Select(static r => r.IsOnline).ShouldBe([false, false, true, false, false, false]);
        records[0].ShouldBe(new PresenceRecord(never, PresenceStatus.Offline, null));
        (DateTimeOffset.UtcNow - records[2].LastSeen!.Value).ShouldBeInRange(TimeSpan.FromSeconds(-5), TimeSpan.FromMinutes(1));
        (await client.StatusAsync([])).ShouldBeEmpty();
        (await client.StatusOfAsync(online, "reachable")).Status.ShouldBe(PresenceStatus.Online);
    }

    [Fact]
    public async Task More_users_than_a_call_takes_are_several_calls()
    {
        await using var client = server.Client();
        var users = Enumerable.Range(1_000_000, 20_001).Select(static n => (UserId)n).ToArray();
        (await client.StatusAsync(users)).Select(static r => r.User).ShouldBe(users);
    }

    // ---- watching -----------------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_watch_is_first_everybody_as_they_are_and_then_who_changes()
    {
        var (online, key, number) = (NewUser(), ServerFixture.NewKey("k\"\\ey"), NewUser());
        await using var gateway = server.Client();
        await gateway.HeartbeatAsync([online]);
        await using var client = server.Client(NewUser());
        await using var seen = Watching.Of(client, online, key, number, number);
        string[] snapshot = [await seen.NextTextAsync(), await seen.NextTextAsync(), await seen.NextTextAsync()];
        snapshot.ShouldBe([$"{online}:Online", $"{key}:Offline", $"{number}:Offline"], ignoreOrder: true);
        await gateway.HeartbeatAsync([key]);
        (await seen.NextTextAsync()).ShouldBe($"{key}:Online");
        // another watch of the same user is told at once what is known, and costs the server nothing
        await using var again = Watching.Of(client, key);
        (await again.NextTextAsync()).ShouldBe($"{key}:Online");
        client.WatchedUsers.ShouldBe(3);
    }

    [Fact]
    public async Task One_user_is_watched_under_two_definitions()
    {
        var user = NewUser();
        await using var gateway = server.Client(user);
        await gateway.HeartbeatAsync();
        await gateway.LeaveAsync();
        await using var client = server.Client(NewUser());
        await using var chat = Watching.Under(AglowClient.DefaultDefinition, client, user);
        await using var reachable = Watching.Under("reachable", client, user);
        (await chat.NextTextAsync()).ShouldBe($"{user}:Offline");
        (await reachable.NextTextAsync()).ShouldBe($"{user}:Online");
    }

    [Fact]
    public async Task A_definition_that_is_none_ends_its_watch_and_no_other()
    {
        var user = NewUser();
        await using var client = server.Client(user);
        await using var fine = Watching.Of(client, user);
        (await fine.NextTextAsync()).ShouldBe($"{user}:Online");
        await using var wrong = Watching.Under("drowsy", client, user);
        var refusal = await Should.ThrowAsync<AglowException>(() => wrong.Ended);
        refusal.Title.ShouldBe("No such definition");
        refusal.Detail.ShouldContain("reachable");
        await client.SetStatusAsync(ManualStatus.Busy);
        (await fine.NextTextAsync()).ShouldBe($"{user}:Busy");
    }

    public static TheoryData<string> AnyIds =>
        ["3105550123", "9223372036854775807", "batch", "..", "042", "Zoë 🦊", $"!{new string('ë', 127)}"];

    [Theory]
    [MemberData(nameof(AnyIds))]
    public async Task Any_ID_heartbeats_is_asked_for_and_is_watched(string id)
    {
        UserId user = id;
        await using var client = server.Client(user);
        await client.HeartbeatAsync();
        (await client.StatusOfAsync(user))
            .ShouldSatisfyAllConditions(static record => record.IsOnline.ShouldBeTrue(), record => record.User.ShouldBe(user));
        await foreach (var record in client.WatchAsync([user]))
        {
            record.User.ShouldBe(user);
            if (record.IsOnline)
                break;
        }
    }

    [Fact]
    public async Task Ten_thousand_users_of_the_longest_names_are_watched_in_several_frames()
    {
        var prefix = ServerFixture.NewKey(new string('x', 80)).ToString();
        var users = Enumerable.Range(0, AglowClient.MaxWatches).Select(n => (UserId)$"{prefix}-{n:00000}").ToArray();
        await using var client = server.Client(NewUser());
        await using var seen = Watching.Of(client, users);
        var heard = new HashSet<UserId>();
        while (heard.Count < users.Length)
            heard.Add((await seen.NextAsync()).User);
        heard.SetEquals(users).ShouldBeTrue();
        await using var gateway = server.Client();
        await gateway.HeartbeatAsync([users[^1]]);
        (await seen.NextTextAsync()).ShouldBe($"{users[^1]}:Online");
        // one more is too many, and says so before anything is sent
        var refusal = await Should.ThrowAsync<AglowException>(
            async () => await client.WatchAsync([1]).GetAsyncEnumerator().MoveNextAsync());
        refusal.Title.ShouldBe("Too many watches");
        await using var among = Watching.Of(client, users[7]);
        (await among.NextTextAsync()).ShouldBe($"{users[7]}:Offline");
    }

    [Fact]
    public async Task Cancelling_or_leaving_the_loop_ends_the_watch_at_the_server()
    {
        var (kept, left) = (NewUser(), NewUser());
        await using var client = server.Client(NewUser());
        await NobodyIsWatchedAsync();
        await using var keeps = Watching.Of(client, kept);
        await keeps.NextAsync();
        using var stop = new CancellationTokenSource();
        var cancelled = Should.ThrowAsync<OperationCanceledException>(async () =>
        {
            await foreach (var record in client.WatchAsync([kept, left], cancellationToken: stop.Token))
            {
                if (record.User == left)
                    await stop.CancelAsync();
            }
        });
        await cancelled;
        await Eventually.TrueAsync(async () => await server.GaugeAsync("aglow_watches") == 1, "the watch of one is left");
        await foreach (var record in client.WatchAsync([left]))
        {
            record.User.ShouldBe(left);
            break;
        }

        await Eventually.TrueAsync(async () => await server.GaugeAsync("aglow_watches") == 1, "the watch of one is left");
        // the client hears of it a moment after the server has done it
        await Eventually.TrueAsync(() => client.WatchedUsers == 1, "the client knows of one");
    }

    [Fact]
    public async Task A_thousand_watches_that_came_and_went_leave_nothing()
    {
        await using var client = server.Client(NewUser());
        await client.ConnectAsync();
        await NobodyIsWatchedAsync();
        var complaints = 0;
        client.Failed += _ => complaints++;
        for (var i = 0; i < 1_000; i++)
        {
            using var stop = new CancellationTokenSource();
            var watch = client.WatchAsync([2_000_000 + i, 3_000_000], cancellationToken: stop.Token).GetAsyncEnumerator(stop.Token);
            var next = watch.MoveNextAsync();
            await stop.CancelAsync();
            try
            {
                await next;
            }
            catch (OperationCanceledException)
            {
                // or a snapshot came first
            }

            await watch.DisposeAsync();
        }

        await Eventually.TrueAsync(() => client.WatchedUsers == 0, "nobody is watched");
        await NobodyIsWatchedAsync();
        complaints.ShouldBe(0, "they are gathered into few messages");
    }

    // ---- what goes wrong ----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task A_refusal_carries_the_servers_title_and_detail()
    {
        using (
            var disabled = await server.Process.Http.PutAsync(
                "/users/4000000000/access", new StringContent("{\"disabled\":true}", null, "application/json")))
            disabled.EnsureSuccessStatusCode();
        await using var client = server.Client(4_000_000_000u);
        var refused = await Should.ThrowAsync<AglowException>(() => client.HeartbeatAsync());
        refused.Status.ShouldBe(403);
        refused.Title.ShouldBe("User disabled");
        refused.Detail.ShouldContain("enables them");
        refused.IsTransient.ShouldBeFalse();
        refused.Message.ShouldBe($"{refused.Title}: {refused.Detail}");
        // the same of the socket's handshake, which a WebSocket does not tell by itself
        (await Should.ThrowAsync<AglowException>(() => client.ConnectAsync())).Detail.ShouldBe(refused.Detail);
        client.State.ShouldBe(ConnectionState.Refused);
        client.Refusal!.Detail.ShouldBe(refused.Detail);
        await using var nobody = server.Client();
        (await Should.ThrowAsync<AglowException>(() => nobody.ConnectAsync())).Status.ShouldBe(401);
        (await Should.ThrowAsync<AglowException>(() => nobody.HeartbeatAsync())).Status.ShouldBe(401);
        (await Should.ThrowAsync<AglowException>(() => nobody.StatusAsync([1], "drowsy"))).Detail.ShouldContain("reachable");
    }

    [Fact]
    public async Task A_server_that_is_not_there_is_said_so_and_tried_again()
    {
        await using var client = new AglowClient("http://127.0.0.1:1/", 1);
        var failure = await Should.ThrowAsync<AglowException>(() => client.ConnectAsync());
        failure.IsTransient.ShouldBeTrue();
        failure.Detail.ShouldContain("127.0.0.1:1");
        failure.Detail.ShouldContain("Check the address");
        client.State.ShouldBe(ConnectionState.Connecting);
        (await Should.ThrowAsync<AglowException>(() => client.StatusOfAsync(1))).IsTransient.ShouldBeTrue();
    }

    [Fact]
    public async Task An_address_that_is_not_Aglows_is_said_so()
    {
        await using var client = new AglowClient(new AglowClientOptions(new Uri(server.Process.Address, "nowhere/")) { User = 1 });
        var failure = await Should.ThrowAsync<AglowException>(() => client.StatusOfAsync(1));
        failure.Status.ShouldBe(404);
        (await Should.ThrowAsync<AglowException>(() => client.ConnectAsync())).Status.ShouldBe(404);
    }

    // ---- whose HTTP client ----------------------------------------------------------------------------------------------------

    [Fact]
    public async Task Calls_and_the_sockets_handshake_go_through_the_callers_HTTP_client_with_a_token_of_their_own()
    {
        var handler = new Noting { InnerHandler = new SocketsHttpHandler() };
        using var http = new HttpClient(handler);
        var tokens = 0;
        await using (var client = new AglowClient(new AglowClientOptions(server.Process.Address)
        {
            User = NewUser(),
            HttpClient = http,
            AccessToken = _ => ValueTask.FromResult($"token-{++tokens}"),
        }))
        {
            await client.HeartbeatAsync();
            await client.ConnectAsync();
            await client.StatusOfAsync(1);
        }

        // a token that is less than a second old is good for another call
        handler.Seen.Select(static s => s.Split(' ')[0]).ShouldBe(["/heartbeat", "/ws", "/status/batch"]);
        handler.Seen[..2].ShouldBe(["/heartbeat Bearer token-1", "/ws Bearer token-2"]);
        // it is its owner's still
        (await http.GetAsync(new Uri(server.Process.Address, "health/live"))).StatusCode.ShouldBe(HttpStatusCode.OK);
    }

    private sealed class Noting : DelegatingHandler
    {
        public List<string> Seen { get; } = [];

        protected override Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, CancellationToken cancellationToken)
        {
            if (request.Headers.Authorization is AuthenticationHeaderValue proof)
                Seen.Add($"{request.RequestUri!.AbsolutePath} {proof}");
            return base.SendAsync(request, cancellationToken);
        }
    }
}
