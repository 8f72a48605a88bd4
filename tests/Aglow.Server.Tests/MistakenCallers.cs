namespace Aglow.Server.Tests;

/// <summary>
/// Sends requests of many people over a few connections, as a balancer does, with every kind of credential and with none. Finds callers
/// whom the server takes for another user.
/// </summary>
/// <remarks>
/// Each request has one right answer, which follows from its own credential: 200 about the caller, 403 about another user, 401 without a
/// credential. Earlier requests on the connection must not matter.
/// </remarks>
internal sealed class MistakenCallers(int people)
{
    private const int Ways = 9;

    private readonly string[] _tokens = [.. Enumerable.Range(0, people).Select(static i => Token.Of(Name(i), seconds: 3600))];
    private string? _first;

    /// <summary>The first caller who was taken for another user; null: nobody was.</summary>
    public string? First => _first;

    /// <summary>
    /// Sends this many requests to a server over this many connections. The seed determines the order of people and credentials.
    /// </summary>
    public async Task RunAsync(Uri address, Version version, int connections, int requests, int seed)
    {
        // HTTP/2 would put all requests of one client on one connection
        var clients = version == HttpVersion.Version20 ? connections : 1;
        var perClient = version == HttpVersion.Version20 ? 1 : connections;
        await Task.WhenAll(Enumerable.Range(0, clients).Select(async client =>
        {
            using var http = new HttpClient(new SocketsHttpHandler
            {
                MaxConnectionsPerServer = perClient,
                UseCookies = false,
                PooledConnectionIdleTimeout = TimeSpan.FromMinutes(5),
            })
            {
                BaseAddress = address,
            };
            var lanes = perClient * 2;
            await Task.WhenAll(Enumerable.Range(0, lanes).Select(
                lane => SendAsync(http, version, requests / clients / lanes, new Random(HashCode.Combine(seed, client, lane)))));
        }));
    }

    private static string Name(int person) => $"person-{person}";

    private async Task SendAsync(HttpClient http, Version version, int requests, Random dice)
    {
        for (var i = 0; i < requests; i++)
        {
            var (person, way) = (dice.Next(people), dice.Next(Ways));
            var other = (person + 1 + dice.Next(people - 1)) % people;
            using var request = Request(way, person, other, out var expected);
            (request.Version, request.VersionPolicy) = (version, HttpVersionPolicy.RequestVersionExact);
            using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
            if ((int)answer.StatusCode == expected)
                continue;
            var said = await answer.Content.ReadAsStringAsync();
            Interlocked.CompareExchange(
                ref _first, $"way {way} ({request.Method} {request.RequestUri}): {(int)answer.StatusCode} instead of {expected}: {said}",
                null);
        }
    }

    private HttpRequestMessage Request(int way, int person, int other, out int expected)
    {
        var own = $"/users/{Name(person)}/visibility";
        var (mine, theirs) = (_tokens[person], _tokens[other]);
        (HttpMethod Method, string Path, string? Authorization, int Expected) ask = way switch
        {
            0 => (HttpMethod.Get, own, $"Bearer {mine}", 200),
            1 => (HttpMethod.Get, own, $"Bearer {theirs}", 403),
            2 => (HttpMethod.Get, own, null, 401),
            3 => (HttpMethod.Get, own, "Basic x", 401),
            4 => (HttpMethod.Get, $"{own}?access_token={mine}", "Basic x", 401),
            5 => (HttpMethod.Head, $"/watch?users=1&viewer={Name(person)}&access_token={mine}", "Basic x", 200),
            6 => (HttpMethod.Head, $"/watch?users=1&viewer={Name(person)}&access_token={mine}", $"Bearer {theirs}", 403),
            7 => (HttpMethod.Get, own, $"Bearer {mine[..^4]}AAAA", 401),
            _ => (HttpMethod.Get, own, null, 401),
        };
        expected = ask.Expected;
        var request = new HttpRequestMessage(ask.Method, ask.Path);
        if (ask.Authorization is not null)
            request.Headers.TryAddWithoutValidation("Authorization", ask.Authorization);
        if (way == 8)
            request.Headers.TryAddWithoutValidation("Sec-WebSocket-Protocol", $"aglow, aglow.token.{mine}");
        return request;
    }
}
