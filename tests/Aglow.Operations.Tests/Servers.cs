using System.Diagnostics;
using System.Net;
using System.Net.Sockets;
using System.Net.WebSockets;
using System.Text;

namespace Aglow.Operations.Tests;

/// <summary>
/// What operators have: a server alone, and a node over Redis and PostgreSQL, both sending to a collector and logging JSON; started once
/// for all tests.
/// </summary>
public sealed class Servers : IAsyncLifetime
{
    /// <summary>Part of every key, name and cursor that the tests send: it must not be found where operators look.</summary>
    public const string Mark = "zzprivatezz";

    private Process? _redis;
    private string _redisFolder = "";
    private PostgresProcess? _postgres;

    internal Collector Collector { get; } = new();

    internal AglowProcess Alone { get; private set; } = null!;

    internal AglowProcess Node { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        var redis = await StartRedisAsync();
        _postgres = await PostgresProcess.StartAsync();
        var environment = new Dictionary<string, string>
        {
            ["OTEL_METRIC_EXPORT_INTERVAL"] = "500",
            ["OTEL_BSP_SCHEDULE_DELAY"] = "500",
            ["OTEL_TRACES_SAMPLER"] = "always_on",
            ["OTEL_RESOURCE_ATTRIBUTES"] = "deployment.environment=test",
        };
        Alone = AglowProcess.Run(
            null, ["--otlp", Collector.Url, "--log-format", "json", "--lease-seconds", "4", "--heartbeat-seconds", "2"], environment);
        Node = AglowProcess.Run(
            null,
            ["--redis", redis, "--postgres", _postgres.Address()],
            new()
            {
                ["AGLOW_POSTGRES_PASSWORD"] = PostgresProcess.Password,
                ["OTEL_EXPORTER_OTLP_ENDPOINT"] = Collector.Url,
                ["OTEL_METRIC_EXPORT_INTERVAL"] = "500",
            });
        await Alone.ReadyAsync();
        await Node.ReadyAsync();
        await UseAsync();
    }

    public async Task DisposeAsync()
    {
        await Alone.DisposeAsync();
        await Node.DisposeAsync();
        await Collector.DisposeAsync();
        _redis!.Kill();
        await _redis.WaitForExitAsync();
        _redis.Dispose();
        Directory.Delete(_redisFolder, recursive: true);
        await _postgres!.DisposeAsync();
    }

    /// <summary>What is measured under a name with these labels (<c>{kind="online",reason="sweep"}</c>), now.</summary>
    internal static async Task<double> ValueAsync(AglowProcess server, string name)
    {
        var metrics = await server.Http.GetStringAsync("/metrics");
        var line = metrics.Split('\n').Single(line => line.StartsWith($"{name} ", StringComparison.Ordinal));
        return double.Parse(line[(name.Length + 1)..]);
    }

    /// <summary>The names on <c>/metrics</c>, and what each is.</summary>
    internal static async Task<Dictionary<string, string>> NamesAsync(AglowProcess server) =>
        (await server.Http.GetStringAsync("/metrics")).Split('\n')
            .Where(static line => line.StartsWith("# TYPE ", StringComparison.Ordinal))
            .Select(static line => line.Split(' '))
            .ToDictionary(static words => words[2], static words => words[3], StringComparer.Ordinal);

    private static IEnumerable<int> Others => Enumerable.Range(100, 400);

    // Makes calls of every kind, valid and invalid. The names of the users contain a mark, which a test searches for.
    private async Task UseAsync()
    {
        const string Bob = $"bob-{Mark}";
        using var socket = new ClientWebSocket();
        await socket.ConnectAsync(new Uri($"ws://127.0.0.1:{Alone.Address.Port}/ws?user_id=ann-{Mark}"), CancellationToken.None);
        await SendAsync(socket, $$"""{"type":"watch","users":["{{Bob}}",7,{{string.Join(',', Others)}}]}""");
        // known before they come: else the snapshot has them online, and nothing is left to notify of
        await HearAsync(socket, $"\"user_id\":\"{Bob}\"", "\"user_id\":7");
        await SendAsync(socket, $$"""{"type":"{{Mark}}"}""");
        // a client answers pings only while it reads, and the server closes one that does not
        var reading = ReadAsync(socket);
        await PostAsync("/heartbeat", $$"""{"user_ids":["{{Bob}}",7],"active":true}""");
        // before bob leaves: a watcher is told only of the last of two changes that are close together
        await NotifyAsync("online", "/heartbeat");
        await PostAsync("/heartbeat", $$$"""{"user_id":{"{{{Mark}}}":1}}""");
        await PostAsync("/heartbeat", "{" + Mark);
        await PostAsync("/status/update", $$"""{"user_id":"{{Bob}}","timestamp":1763763300}""");
        await PostAsync("/status/batch", $$"""[{"user_id":"{{Bob}}"}]""");
        await PostAsync("/users", $$"""{"user_name":"carol-{{Mark}}","display_name":"Carol {{Mark}}"}""");
        await PostAsync("/users", $$"""{"user_name":"carol-{{Mark}}"}""");
        await PostAsync($"/users/{Bob}/subscriptions", $$"""{"user_ids":["carol-{{Mark}}"]}""");
        await Alone.Http.PutAsync($"/users/{Bob}/status", Json("""{"status":"busy"}"""));
        await Alone.Http.PutAsync($"/users/{Bob}/status", Json($$"""{"status":"{{Mark}}"}"""));
        foreach (var path in new[]
        {
            $"/status/{Bob}", $"/status/users?ids={Bob}", $"/users/{Bob}", $"/users?q={Mark}", $"/users?q=a&cursor={Mark}",
            $"/status/{Bob}/explain", $"/{Mark}", $"/status/{Bob}?definition={Mark}", "/online",
        })
            await Alone.Http.GetAsync(path);
        await PostAsync("/offline", $$"""{"user_id":"{{Bob}}"}""");
        await Alone.Http.DeleteAsync($"/users/carol-{Mark}");
        await Alone.Http.SendAsync(new HttpRequestMessage(HttpMethod.Patch, $"/users/{Bob}"));
        await Node.Http.PostAsync("/heartbeat", Json($$"""{"user_ids":["{{Bob}}"]}"""));
        await Node.Http.PostAsync("/heartbeat", Json("""{"user_ids":[1,2,3]}"""));
        await Node.Http.PostAsync("/heartbeat", Json("""{"user_ids":[1,2,3]}"""));
        // each may leave now
        await PostAsync("/heartbeat", $$"""{"user_ids":[{{string.Join(',', Others)}}]}""");
        await NotifyAsync("offline", "/offline");
        await socket.CloseOutputAsync(WebSocketCloseStatus.NormalClosure, Mark, CancellationToken.None);
        await reading;
    }

    // A change that a recheck finds before its hint has no measured lag. So one user after another changes until two lags are measured.
    private async Task NotifyAsync(string kind, string call)
    {
        var others = Others.GetEnumerator();
        await Eventually.HoldsAsync(async () =>
        {
            if (await ValueAsync(Alone, $"aglow_notification_lag_seconds_count{{kind=\"{kind}\"}}") >= 2)
                return true;
            if (others.MoveNext())
                await PostAsync(call, $$"""{"user_id":{{others.Current}}}""");
            return false;
        });
    }

    private async Task PostAsync(string path, string json) => (await Alone.Http.PostAsync(path, Json(json))).Dispose();

    private static StringContent Json(string json) => new(json, Encoding.UTF8, "application/json");

    // in one message or several, in any order
    private static async Task HearAsync(ClientWebSocket socket, params string[] texts)
    {
        var heard = "";
        var buffer = new byte[4096];
        while (!texts.All(text => heard.Contains(text, StringComparison.Ordinal)))
            heard += Encoding.UTF8.GetString(buffer, 0, (await socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None)).Count);
    }

    private static async Task ReadAsync(ClientWebSocket socket)
    {
        var buffer = new byte[64 * 1024];
        while (socket.State is WebSocketState.Open or WebSocketState.CloseSent
            && (await socket.ReceiveAsync(buffer.AsMemory(), CancellationToken.None)).MessageType != WebSocketMessageType.Close)
        {
            // what it hears does not matter
        }
    }

    private static async Task SendAsync(ClientWebSocket socket, string json)
    {
        await socket.SendAsync(Encoding.UTF8.GetBytes(json), WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);
        // an answer comes for each, so watchers hear what follows
        await socket.ReceiveAsync(new byte[64 * 1024], CancellationToken.None);
    }

    private async Task<string> StartRedisAsync()
    {
        _redisFolder = Directory.CreateTempSubdirectory("aglow-redis-").FullName;
        var port = 0;
        await Eventually.HoldsAsync(async () =>
        {
            // it ends if somebody else took the port meanwhile
            if (_redis is not { HasExited: false })
            {
                port = Ports.Free();
                _redis?.Dispose();
                string[] flags = ["--bind", "127.0.0.1", "--dir", _redisFolder, "--save", "", "--logfile", "redis.log"];
                _redis = Process.Start(new ProcessStartInfo("redis-server", ["--port", $"{port}", .. flags]))!;
            }

            try
            {
                using var client = new TcpClient();
                await client.ConnectAsync(IPAddress.Loopback, port);
                return true;
            }
            catch (SocketException)
            {
                return false;
            }
        });
        return $"127.0.0.1:{port}";
    }
}

/// <summary>Tests that look at <see cref="Servers"/>.</summary>
[CollectionDefinition(Name)]
public sealed class ServersCollection : ICollectionFixture<Servers>
{
    public const string Name = "servers";
}
