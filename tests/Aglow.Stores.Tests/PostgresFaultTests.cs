using System.Collections.Concurrent;
using System.Net;
using System.Net.Http.Json;
using System.Text;
using Aglow.Server.Tests;
using static Aglow.Stores.Tests.NodeCalls;

namespace Aglow.Stores.Tests;

/// <summary>A production node over a PostgreSQL that fails in every possible way. Calls get 503, and heartbeats continue.</summary>
[Collection(PostgresCollection.Name)]
public sealed class PostgresFaultTests(PostgresServer postgres) : IAsyncLifetime
{
    private RedisProcess? _redis;
    private string _database = "";

    public async Task InitializeAsync()
    {
        _redis = await RedisProcess.StartAsync();
        _database = await postgres.Process.CreateDatabaseAsync();
    }

    public async Task DisposeAsync() => await _redis!.DisposeAsync();

    [Fact]
    public async Task Whatever_postgres_answers_to_a_write_callers_get_503_and_nothing_is_lost()
    {
        await using var node = await NodeAsync(postgres.Process.Port);
        (await HeartbeatAsync(node, "alice")).StatusCode.ShouldBe(HttpStatusCode.OK);
        await postgres.Process.ExecuteAsync(
            """
            CREATE TABLE aglow.fault (code text);
            CREATE FUNCTION aglow.fail() RETURNS trigger LANGUAGE plpgsql AS $$
            DECLARE code text := (SELECT max(fault.code) FROM aglow.fault);
            BEGIN
                IF code = 'killed' THEN PERFORM pg_terminate_backend(pg_backend_pid()); PERFORM pg_sleep(1); END IF;
                IF code IS NOT NULL THEN RAISE EXCEPTION 'for the test' USING ERRCODE = code; END IF;
                RETURN NULL;
            END $$;
            DO $$ DECLARE t text; BEGIN
                FOREACH t IN ARRAY ARRAY['ids', 'profile', 'account', 'claim', 'visibility', 'relation', 'subscription'] LOOP
                    EXECUTE 'CREATE TRIGGER fails AFTER INSERT OR UPDATE OR DELETE ON aglow.' || t
                        || ' FOR EACH STATEMENT EXECUTE FUNCTION aglow.fail()';
                END LOOP;
            END $$
            """,
            _database);
        // no disk, memory or connection; an I/O error, a damaged table; stopping, crashed, starting; read-only; rolled back; other
        foreach (var code in (string[])
        [
            "53100", "53200", "53300", "58030", "XX000", "XX001", "57P01", "57P02", "57P03", "25006", "40001", "40P01", "57014", "55P03",
            "42501", "0A000", "killed",
        ])
        {
            await postgres.Process.ExecuteAsync($"INSERT INTO aglow.fault VALUES ('{code}')", _database);
            var answers = await Task.WhenAll(Writes(node, code));
            answers.ShouldAllBe(answer => answer == HttpStatusCode.ServiceUnavailable, code);
            (await HeartbeatAsync(node, "alice")).StatusCode.ShouldBe(HttpStatusCode.OK);
            await postgres.Process.ExecuteAsync("DELETE FROM aglow.fault", _database);
            // the next attempt uses a connection that works
            (await Task.WhenAll(Writes(node, code))).ShouldAllBe(answer => (int)answer < 300, code);
        }

        node.Output.ShouldNotContain("Something is wrong");
        // each cause is logged once, not for every call
        node.Output.Split('\n').Count(static line => line.Contains("Calls that need the directory get 503")).ShouldBeLessThan(20);
    }

    [Fact]
    public async Task A_deletion_that_fails_halfway_has_ended_the_tokens_shows_nobody_and_is_finished_by_the_same_call()
    {
        await using var node = await NodeAsync(postgres.Process.Port, flags: Token.ServerFlags);
        // ann is known only by heartbeats, and bea hides
        string[] users = ["ann", "bea"];
        var old = users.ToDictionary(
            static user => user,
            static user => Token.Signed(Token.Claims(user, static claims => claims["iat"] = Token.Now - 2), Token.Secret));
        foreach (var user in users)
            (await AsAsync(node, old[user], HttpMethod.Post, "/heartbeat")).Status.ShouldBe(HttpStatusCode.OK);
        (await AsAsync(node, old["bea"], HttpMethod.Put, "/users/bea/visibility", """{"online":"nobody"}"""))
            .Status.ShouldBe(HttpStatusCode.OK);
        await postgres.Process.ExecuteAsync(
            """
            CREATE FUNCTION aglow.stop() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'for the test'; END $$;
            CREATE TRIGGER stops AFTER DELETE ON aglow.profile FOR EACH STATEMENT EXECUTE FUNCTION aglow.stop()
            """,
            _database);
        foreach (var user in users)
        {
            (await AsAsync(node, old[user], HttpMethod.Delete, $"/users/{user}")).Status.ShouldBe(HttpStatusCode.ServiceUnavailable);
            await Eventually.HoldsAsync(
                async () => (await AsAsync(node, old[user], HttpMethod.Post, "/heartbeat")).Text.Contains("Token revoked"));
            (await AsAsync(node, Token.Of("carol"), HttpMethod.Get, $"/status/{user}")).Text
                .ShouldBe($$"""{"user_id":"{{user}}","is_online":false,"status":"offline","last_seen":null}""");
        }

        await postgres.Process.ExecuteAsync("DROP TRIGGER stops ON aglow.profile", _database);
        // Tokens of a later second are accepted. Nothing is left of ann, and the second deletion removes bea's visibility too.
        await HoldsAsync("ann", HttpMethod.Delete, "/users/ann", "No such user");
        await HoldsAsync("bea", HttpMethod.Delete, "/users/bea", "");
        await HoldsAsync("bea", HttpMethod.Get, "/users/bea/visibility", "everyone");

        Task HoldsAsync(string who, HttpMethod method, string path, string text) => Eventually.HoldsAsync(async () =>
        {
            var answer = await AsAsync(node, Token.Of(who), method, path);
            return answer.Status != HttpStatusCode.Unauthorized && (text.Length > 0 ? answer.Text.Contains(text) : answer.Text.Length == 0);
        });
    }

    private static async Task<(HttpStatusCode Status, string Text)> AsAsync(
        AglowProcess node, string token, HttpMethod method, string path, string? json = null)
    {
        using var request = new HttpRequestMessage(method, path);
        request.Headers.Authorization = new("Bearer", token);
        if (json is not null)
            request.Content = new StringContent(json, Encoding.UTF8, "application/json");
        using var answer = await node.Http.SendAsync(request);
        return (answer.StatusCode, await answer.Content.ReadAsStringAsync());
    }

    [Fact]
    public async Task While_postgres_is_restarted_in_every_way_callers_get_503_or_what_they_asked_for()
    {
        await using var node = await NodeAsync(postgres.Process.Port);
        var answers = new ConcurrentDictionary<HttpStatusCode, int>();
        using var done = new CancellationTokenSource();
        var callers = Task.WhenAll(Enumerable.Range(0, 8).Select(caller => Task.Run(async () =>
        {
            for (var round = 0; !done.IsCancellationRequested; round++)
            {
                foreach (var answer in await Task.WhenAll([.. Writes(node, $"{caller}-{round}"), .. Reads(node)]))
                    answers.AddOrUpdate(answer, 1, static (_, count) => count + 1);
            }
        })));
        // a fast shutdown, and one like a crash, with recovery afterwards
        foreach (var signal in (int[])[2, 3])
        {
            await Task.Delay(300);
            postgres.Process.Signal(signal);
            await postgres.Process.ExitAsync();
            await Task.Delay(300);
            await postgres.Process.RestartAsync();
            await Eventually.HoldsAsync(async () => await Writes(node, "after").First() is HttpStatusCode.OK);
        }

        await done.CancelAsync();
        await callers;
        answers.Keys.Where(static status => status != HttpStatusCode.ServiceUnavailable && (int)status >= 300).ShouldBeEmpty();
        answers.ShouldContainKey(HttpStatusCode.ServiceUnavailable);
        node.Output.ShouldNotContain("Something is wrong");
    }

    [Fact]
    public Task A_node_that_is_cut_off_from_postgres_answers_heartbeats_with_one_thread() =>
        // established connections without answers, and new connections without answers
        Task.WhenAll(CutOffAsync(dropsConnects: false), CutOffAsync(dropsConnects: true));

    /// <summary>
    /// The pool has one thread, so anything that blocks it delays every call. A blocking connect takes 45 s here.
    /// </summary>
    private async Task CutOffAsync(bool dropsConnects)
    {
        await using var proxy = new LosingProxy(postgres.Process.Port, dropsConnects);
        await using var node = await NodeAsync(proxy.Endpoint.Port, new() { ["DOTNET_ThreadPool_ForceMaxWorkerThreads"] = "1" });
        foreach (var user in (object[])["alice", 42])
            (await HeartbeatAsync(node, user)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await Task.WhenAll(Writes(node, "before"))).ShouldAllBe(static answer => (int)answer < 300);
        await proxy.CutAsync();
        Task<HttpStatusCode>[] cut = [.. Enumerable.Range(0, 3).SelectMany(i => Writes(node, $"{i}").Concat(Reads(node)))];
        // when the first call times out, its cancellation would block from then on
        var givenUp = Task.WhenAny(cut).ContinueWith(_ => Task.Delay(TimeSpan.FromSeconds(3)), TaskScheduler.Default).Unwrap();
        var answered = 0;
        for (; !givenUp.IsCompleted || answered <= 20; answered++)
        {
            using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(30));
            using var answer = await HeartbeatAsync(node, answered % 2 == 0 ? 42 : "alice", patience.Token);
            answer.StatusCode.ShouldBe(HttpStatusCode.OK);
            await Task.Delay(10);
        }

        (await await Task.WhenAny(cut)).ShouldBe(HttpStatusCode.ServiceUnavailable);
        proxy.Hold(false);
        (await Task.WhenAll(cut)).ShouldAllBe(static answer => answer == HttpStatusCode.ServiceUnavailable || (int)answer < 300);
        await Eventually.HoldsAsync(async () => await Writes(node, "after").First() == HttpStatusCode.OK);
    }

    private async Task<AglowProcess> NodeAsync(int port, Dictionary<string, string>? environment = null, params string[] flags)
    {
        environment ??= [];
        environment["AGLOW_POSTGRES_PASSWORD"] = PostgresProcess.Password;
        var node = AglowProcess.Run(
            null,
            [
                "--redis", $"{_redis!.Endpoint}", "--drain-seconds", "0", "--postgres",
                $"Host=127.0.0.1;Port={port};Database={_database};Username={PostgresProcess.User};Timeout=45", .. flags,
            ],
            environment);
        await node.ReadyAsync();
        return node;
    }

    // each kind of write, for its own users
    private static IEnumerable<Task<HttpStatusCode>> Writes(AglowProcess node, string who) =>
    [
        StatusOf(node.Http.PutAsJsonAsync("/users/42/status", new { status = "busy", text = who })),
        StatusOf(node.Http.PutAsJsonAsync($"/users/{who}", new { user_name = $"name {who}" })),
        StatusOf(HeartbeatAsync(node, $"new {who} {Guid.NewGuid():n}")),
        StatusOf(node.Http.PutAsJsonAsync("/users/43/visibility", new { online = "nobody" })),
        StatusOf(node.Http.PostAsJsonAsync("/users/44/blocked", new { user_ids = new[] { Random.Shared.Next(100, 1_000_000) } })),
        StatusOf(node.Http.PostAsJsonAsync("/users/45/subscriptions", new { user_ids = new[] { Random.Shared.Next(100, 1_000_000) } })),
        StatusOf(node.Http.PostAsJsonAsync("/users/46/revoke", new { })),
    ];

    private static IEnumerable<Task<HttpStatusCode>> Reads(AglowProcess node) =>
    [
        StatusOf(node.Http.GetAsync("/users?q=nam")),
        StatusOf(node.Http.GetAsync($"/status/nobody-{Guid.NewGuid():n}")),
        StatusOf(node.Http.GetAsync("/users/45/subscriptions")),
    ];

    private static async Task<HttpStatusCode> StatusOf(Task<HttpResponseMessage> call)
    {
        using var answer = await call;
        return answer.StatusCode;
    }
}
