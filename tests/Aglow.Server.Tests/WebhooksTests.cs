namespace Aglow.Server.Tests;

/// <summary>Webhooks: <c>/webhooks</c>, <c>./aglow webhooks</c>, and what a receiver gets.</summary>
public class WebhooksTests
{
    [Fact]
    public async Task A_receiver_gets_signed_batches_in_order_of_what_it_asked_for()
    {
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "12", "--heartbeat-seconds", "2");
        await using var all = new Receiver();
        await using var some = new Receiver();
        // it receives changes from now on
        await server.PostAsync("/heartbeat", "{\"user_id\":1}");
        var (id, secret) = await AddAsync(server, $"{{\"url\":\"{all.Url}\"}}");
        await AddAsync(server, $"{{\"url\":\"{some.Url}\",\"events\":[\"offline\"],\"users_prefix\":\"bo\"}}");
        await server.PostAsync("/heartbeat", "{\"user_ids\":[42,\"bob\"]}");
        await server.PutAsync("/users/bob/status", "{\"status\":\"busy\"}");
        await server.PostAsync("/offline", "{\"user_id\":\"bob\"}");
        // what is not delivered by then may be withheld after the deletion
        await all.UntilAsync(() => all.Received.Contains("bob offline"), "bob leaves");
        await some.UntilAsync(() => some.Received.Contains("bob offline"), "bob leaves");
        await server.DeleteAsync("/users/bob");
        await all.UntilAsync(() => all.Received.Contains("42 offline"), "the lease expires");
        all.Received.Where(static t => t.StartsWith("bob ", StringComparison.Ordinal)).ShouldBe(
            ["bob online", "bob status", "bob offline", "bob offline"]);
        all.Received.Where(static t => t.StartsWith("42 ", StringComparison.Ordinal)).ShouldBe(["42 online", "42 offline"]);
        await some.UntilAsync(() => some.Received.Count() == 2, "of bob alone, and offline alone");
        some.Received.ShouldAllBe(static t => t == "bob offline");
        foreach (var message in all.Messages)
        {
            message.IsSignedBy(secret).ShouldBeTrue();
            message.ContentType.ShouldBe("application/cloudevents-batch+json; charset=utf-8");
            (Token.Now - long.Parse(message.Timestamp)).ShouldBeInRange(-2, 120);
            message.Events.ShouldAllBe(
                static e => e.Source!.ToString() == "urn:aglow:changes" && e.DataContentType == "application/json" && e.Time != null);
        }

        var events = all.Messages.SelectMany(static m => m.Events).ToArray();
        events.Select(static e => e.Id).Distinct().Count().ShouldBe(events.Length);
        var first = all.Messages[0].DataOf(0);
        first.EnumerateObject().Select(static m => m.Name).ShouldBe(["user_id", "is_online", "status", "last_seen", "reason", "at"]);
        // the same as in the feed
        var feed = (await server.GetAsync("/changes")).Json["changes"]!.AsArray();
        feed.Select(static c => c!["id"]!.GetValue<string>()).ShouldContain(events[0].Id);

        // the receiver learns of a delivery before the server has its answer
        await Eventually.TrueAsync(
            async () => (await server.GetAsync($"/webhooks/{id}")).Json["delivered"]!.GetValue<int>() == all.Received.Count(),
            60,
            "all is acknowledged");
        var listed = (await server.GetAsync("/webhooks")).Json["webhooks"]!.AsArray();
        listed.Count.ShouldBe(2);
        listed.ToJsonString().ShouldNotContain("whsec_");
        var log = (await server.GetAsync($"/webhooks/{id}/log")).Json["deliveries"]!.AsArray();
        log.Select(static d => d!["message_id"]!.GetValue<string>()).ShouldBe(all.Messages.Select(static m => m.Id));
        log.ShouldAllBe(static d => d!["acknowledged"]!.GetValue<bool>() && d["http_status"]!.GetValue<int>() == 200);
        (await server.GetAsync("/metrics")).Text.ShouldContain("\naglow_webhooks 2\n");
    }

    [Fact]
    public async Task Nothing_is_lost_or_out_of_order_while_a_receiver_fails_and_the_server_is_killed_and_others_do_not_wait()
    {
        var folder = AglowProcess.NewFolder();
        await using var failing = new Receiver();
        await using var hanging = new Receiver();
        await using var well = new Receiver();
        failing.Answer(503);
        using var never = new CancellationTokenSource();
        hanging.Answer(async _ =>
        {
            await Task.Delay(Timeout.Infinite, never.Token).ContinueWith(static _ => { }, TaskScheduler.Default);
            return 200;
        });
        string id;
        await using (var server = await AglowProcess.StartAsync(folder))
        {
            (id, _) = await AddAsync(server, $"{{\"url\":\"{failing.Url}\"}}");
            await AddAsync(server, $"{{\"url\":\"{hanging.Url}\"}}");
            await AddAsync(server, $"{{\"url\":\"{well.Url}\"}}");
            for (var i = 0; i < 300; i++)
                await server.PostAsync(i % 2 == 0 ? "/heartbeat" : "/offline", "{\"user_id\":\"ann\"}");
            await well.UntilAsync(() => well.Received.Count() >= 300, "one that works waits for nobody");
            await failing.UntilAsync(() => failing.Messages.Count >= 2, "it is tried again");
            failing.Messages.Select(static m => m.Id).Distinct().Count().ShouldBe(1, "the same message again");
            var shown = (await server.GetAsync($"/webhooks/{id}")).Json;
            shown["failing_since"].ShouldNotBeNull();
            shown["delivered"]!.GetValue<int>().ShouldBe(0);
            (await server.GetAsync("/metrics")).Text.ShouldContain("\naglow_webhooks_failing ");
            await server.KillAsync();
        }

        await never.CancelAsync();
        failing.Answer(200);
        await using (var server = await AglowProcess.StartAsync(folder))
        {
            await server.PostAsync($"/webhooks/{id}/resume", "{}");
            string[] expected = [.. Enumerable.Range(0, 300).Select(static i => i % 2 == 0 ? "ann online" : "ann offline")];
            await failing.UntilAsync(() => failing.Received.Count() >= 300, "all of it, late");
            // after a kill, changes acknowledged in the last second may come again; this receiver had acknowledged nothing
            failing.Received.Take(300).ShouldBe(expected);
            failing.Messages.Where(static m => m.Status == 200).ShouldAllBe(static m => m.Events.Count <= 100);
            await hanging.UntilAsync(() => hanging.Received.Count() >= 300, "the slow one, too");
            hanging.Received.Take(300).ShouldBe(expected);
            (await server.StopAsync()).ShouldBe(0);
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_webhook_is_tested_paused_resumed_rotated_and_removed_on_the_command_line_and_410_pauses_it()
    {
        await using var server = await AglowProcess.StartAsync(null, "--lease-seconds", "600");
        await using var receiver = new Receiver();
        var added = JsonNode.Parse(await RunAsync("add", "--url", receiver.Url.AbsoluteUri, "--events", "online,offline"))!;
        var (id, secret) = (added["id"]!.GetValue<string>(), added["secret"]!.GetValue<string>());
        JsonNode.Parse(await RunAsync("test", id))!["acknowledged"]!.GetValue<bool>().ShouldBeTrue();
        receiver.Messages.Single().Events.Single().Type.ShouldBe("aglow.presence.test");
        JsonNode.Parse(await RunAsync("pause", id))!["paused"]!.GetValue<bool>().ShouldBeTrue();
        await server.PostAsync("/heartbeat", "{\"user_id\":1}");
        var next = JsonNode.Parse(await RunAsync("rotate", id, "--overlap-hours", "1"))!["secret"]!.GetValue<string>();
        receiver.Received.ShouldBeEmpty();
        await RunAsync("resume", id);
        await receiver.UntilAsync(() => receiver.Received.Any(), "what happened while it was paused");
        receiver.Received.ShouldBe(["1 online"]);
        receiver.Messages[^1].IsSignedBy(secret).ShouldBeTrue("the secret before still signs");
        receiver.Messages[^1].IsSignedBy(next).ShouldBeTrue();
        await RunAsync("rotate", id, "--overlap-hours", "0");
        await server.PostAsync("/offline", "{\"user_id\":1}");
        await receiver.UntilAsync(() => receiver.Received.Count() == 2, "offline");
        receiver.Messages[^1].IsSignedBy(next).ShouldBeFalse("it has ended");
        receiver.Answer(301);
        (await AglowProcess.RunToEndAsync(["webhooks", "test", id, "--server", server.Address.AbsoluteUri])).Code.ShouldBe(1);
        receiver.Messages.ShouldAllBe(static m => m.Path == "/hook", "a redirect is not followed");
        receiver.Answer(410);
        await server.PostAsync("/heartbeat", "{\"user_id\":2}");
        await Eventually.TrueAsync(
            async () => (await server.GetAsync($"/webhooks/{id}")).Json["paused"]!.GetValue<bool>(), 60, "410 pauses");
        (await RunAsync("list")).ShouldContain("410 Gone");
        (await RunAsync("log", id)).Split('\n', StringSplitOptions.RemoveEmptyEntries).Length.ShouldBe(3);
        await RunAsync("remove", id);
        (await server.GetAsync($"/webhooks/{id}")).ShouldBeProblem(404, "GET /webhooks");
        (await AglowProcess.RunToEndAsync(["webhooks", "remove", id, "--server", server.Address.AbsoluteUri])).Code.ShouldBe(2);

        async Task<string> RunAsync(params string[] arguments)
        {
            var (code, output, errors) =
                await AglowProcess.RunToEndAsync(["webhooks", .. arguments, "--server", server.Address.AbsoluteUri]);
            code.ShouldBe(0, errors);
            return output;
        }
    }

    [Fact]
    public async Task Targets_that_are_not_public_are_refused_unless_their_network_is_allowed()
    {
        string[] never =
        [
            "http://example.com/", "ftp://example.com/", "https://user:secret@example.com/", "https://example.com/#x", "no url", "https://",
            "https://10.0.0.1/", "https://172.16.5.5/", "https://192.168.1.1/", "https://169.254.169.254/latest", "https://100.64.0.1/",
                "https://0.0.0.0/",
            "https://[fe80::1]/", "https://[fd00::1]/", "https://[::ffff:10.0.0.1]/", "https://[64:ff9b::a00:1]/",
                "https://[2002:a00:1::]/", "https://0x0a000001/",
        ];
        await using var alone = await AglowProcess.StartAsync();
        foreach (var url in never)
            (await alone.PostAsync("/webhooks", $"{{\"url\":\"{url}\"}}")).ShouldBeProblem(422, "url");
        foreach (var body in new[] { "{\"url\":\"https://a.example\",\"definition\":\"any\"}",
            "{}", "[]", "{\"url\":1}", "{\"url\":\"https://a.example\",\"events\":[]}",
            "{\"url\":\"https://a.example\",\"evnts\":[]}" })
            (await alone.PostAsync("/webhooks", body)).ShouldBeProblem(400);
        (await alone.GetAsync("/webhooks")).Json["webhooks"]!.AsArray().Count.ShouldBe(0);
        (await alone.GetAsync("/changes?definition=any")).ShouldBeProblem(400);
        (await alone.GetAsync("/changes?definition=chat")).Status.ShouldBe(200);

        // in the order of creation, even within a second
        var made = new List<string>();
        for (var i = 0; i < 10; i++)
            made.Add((await AddAsync(alone, $"{{\"url\":\"https://example.com/{i}\",\"definition\":\"chat\"}}")).Id);
        (await alone.GetAsync("/webhooks")).Json["webhooks"]!.AsArray().Select(static w => w!["id"]!.GetValue<string>()).ShouldBe(made);

        // a server that other machines can reach does not call its own machine
        await using var open = AglowProcess.Run(
            null, ["--allow-open", "--webhooks-allow", "10.1.0.0/16,127.0.0.2/32"], urls: "http://127.0.0.1:0,http://0.0.0.0:0");
        await open.ReadyAsync();
        await using var receiver = new Receiver();
        (await open.PostAsync("/webhooks", $"{{\"url\":\"{receiver.Url}\"}}")).ShouldBeProblem(422, "http is for this machine alone");
        (await open.PostAsync("/webhooks", "{\"url\":\"https://localhost/\"}")).ShouldBeProblem(422, "--webhooks-allow");
        (await open.PostAsync("/webhooks", "{\"url\":\"https://127.0.0.1/\"}")).ShouldBeProblem(422, "--webhooks-allow");
        (await open.PostAsync("/webhooks", "{\"url\":\"https://10.2.0.1/\"}")).ShouldBeProblem(422, "--webhooks-allow");
        (await open.PostAsync("/webhooks", "{\"url\":\"https://10.1.0.1/\"}")).Status.ShouldBe(201);
        var allowed = (await open.PostAsync("/webhooks", "{\"url\":\"https://127.0.0.2:1/\"}")).Json["id"]!.GetValue<string>();
        (await open.PostAsync($"/webhooks/{allowed}/test", "{}")).Json["error"]!.GetValue<string>().ShouldContain("refused");
    }

    private static async Task<(string Id, string Secret)> AddAsync(AglowProcess server, string body)
    {
        var answer = await server.PostAsync("/webhooks", body);
        answer.Status.ShouldBe(201, answer.Text);
        var secret = answer.Json["secret"]!.GetValue<string>();
        secret.ShouldStartWith("whsec_");
        return (answer.Json["id"]!.GetValue<string>(), secret);
    }
}
