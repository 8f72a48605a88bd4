using System.Net.Http.Headers;

namespace Aglow.Server.Tests;

/// <summary>
/// Mixes every call, every kind of caller and every way to send a credential on a few connections, as a balancer shares them. Each request
/// is answered by its own credential, whatever came before.
/// </summary>
public sealed class SharedConnectionTests : IAsyncLifetime
{
    private const int Connections = 3;
    private const int Lanes = 6;

    private readonly Dictionary<string, string> _keys = [];
    private AglowProcess _server = null!;
    private Uri _http2 = null!;

    private enum Way
    {
        Header,
        Query,
        Subprotocol,
    }

    private sealed record Ask(AccessTests.Row Row, string Who, int Expected, Way Way)
    {
        public string Me { get; } = SharedServer.NewKey("me");
    }

    public async Task InitializeAsync()
    {
        var folder = AglowProcess.NewFolder();
        foreach (var scope in new[] { "heartbeat", "read", "users", "operate" })
            _keys[scope] = await TokenServer.AddKeyAsync(folder, scope, scope);
        (_server, _http2) = await BothVersions.StartAsync(
            folder, [.. Token.ServerFlags, "--rate-limit", "0", "--rate-limit-key", "0", "--rate-limit-address", "0"]);
    }

    public async Task DisposeAsync()
    {
        await _server.DisposeAsync();
        Directory.Delete(_server.Folder, recursive: true);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    public async Task Every_call_is_answered_by_its_own_credential(int version)
    {
        var asks = ((IEnumerable<object[]>)AccessTests.Table).Select(static row => (AccessTests.Row)row[0])
            .SelectMany(row => row.Answers.SelectMany((answer, i) => new[] { Way.Header, i % 2 == 0 ? Way.Query : Way.Subprotocol }
                .Select(way => new Ask(row, answer.Who, way == Way.Header || TakesTokenInUrl(row) ? answer.Expected : 401, way))))
            .ToArray();
        new Random(version).Shuffle(asks);
        // HTTP/2 would send all requests of one client over one connection
        var clients = Enumerable.Range(0, version == 2 ? Connections : 1).Select(_ => new HttpClient(new SocketsHttpHandler
        {
            MaxConnectionsPerServer = version == 2 ? 1 : Connections,
            UseCookies = false,
            ResponseDrainTimeout = TimeSpan.Zero,
        })).ToArray();
        var wrong = new List<string>();
        await Task.WhenAll(Enumerable.Range(0, Lanes).Select(async lane =>
        {
            for (var i = lane; i < asks.Length; i += Lanes)
            {
                var (ask, http) = (asks[i], clients[i % clients.Length]);
                var status = await StatusOfAsync(http, Request(version, "POST", "/heartbeat", $"Bearer {Token.Of(ask.Me)}"));
                if (status == 200)
                    status = await StatusOfAsync(http, Request(version, ask));
                if (status == ask.Expected)
                    continue;
                lock (wrong)
                    wrong.Add($"{ask.Row} by {ask.Who}, {ask.Way}: {status} instead of {ask.Expected}");
            }
        }));
        wrong.ShouldBeEmpty();
        Array.ForEach(clients, static http => http.Dispose());
    }

    private static bool TakesTokenInUrl(AccessTests.Row row) =>
        row.Call.StartsWith("GET /ws", StringComparison.Ordinal) || row.Call.StartsWith("GET /watch", StringComparison.Ordinal);

    private static async Task<int> StatusOfAsync(HttpClient http, HttpRequestMessage request)
    {
        using (request)
        {
            using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            // over HTTP/2 a socket is an accepted stream
            return request.Method == HttpMethod.Connect && answer.StatusCode == HttpStatusCode.OK ? 101 : (int)answer.StatusCode;
        }
    }

    private HttpRequestMessage Request(int version, Ask ask)
    {
        var (method, path) = (ask.Row.Call.Split(' ')[0], ask.Row.Call.Split(' ')[1].Replace("ME", ask.Me));
        var credential = AccessTests.CredentialOf(ask.Who, ask.Me, _keys);
        if (ask.Way == Way.Query && credential is not null)
            path += $"{(path.Contains('?', StringComparison.Ordinal) ? '&' : '?')}access_token={credential}";
        var bearer = credential is null ? null : $"Bearer {credential}";
        var request = Request(version, method, path, ask.Way == Way.Header ? bearer : "Basic x");
        if (ask.Row.Body is { } body)
        {
            request.Content = ask.Row.IsPacked
                ? new ByteArrayContent(Calling.Pack([1, 2]))
                : new StringContent(body.Replace("ME", ask.Me).Replace("NEW", SharedServer.NewKey("new")), Encoding.UTF8);
            request.Content.Headers.ContentType = new MediaTypeHeaderValue(ask.Row.IsPacked ? Calling.Packed : "application/json");
        }

        if (path.StartsWith("/ws", StringComparison.Ordinal))
            MakeSocket(request, version);
        if (ask.Way == Way.Subprotocol && credential is not null)
            request.Headers.TryAddWithoutValidation("Sec-WebSocket-Protocol", $"aglow, aglow.token.{credential}");
        return request;
    }

    private static void MakeSocket(HttpRequestMessage request, int version)
    {
        request.Headers.TryAddWithoutValidation("Sec-WebSocket-Version", "13");
        if (version == 2)
        {
            request.Method = HttpMethod.Connect;
            request.Headers.Protocol = "websocket";
            return;
        }

        request.Headers.TryAddWithoutValidation("Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ==");
        request.Headers.Connection.Add("Upgrade");
        request.Headers.Upgrade.ParseAdd("websocket");
    }

    private HttpRequestMessage Request(int version, string method, string path, string? authorization)
    {
        var request = BothVersions.Request(
            version == 2 ? HttpVersion.Version20 : HttpVersion.Version11, version == 2 ? _http2 : _server.Address, method, path);
        if (authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", authorization);
        return request;
    }
}
