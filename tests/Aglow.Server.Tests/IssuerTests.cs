using System.Diagnostics;
using System.Security.Cryptography;

namespace Aglow.Server.Tests;

/// <summary>Tokens of an issuer that publishes its keys, and changes them.</summary>
public class IssuerTests
{
    [Fact]
    public async Task Keys_are_discovered_and_rotated_and_forgeries_with_them_are_refused()
    {
        using var issuer = new LocalIssuer();
        using RSA first = RSA.Create(2048), second = RSA.Create(2048), stranger = RSA.Create(2048);
        issuer.Publish(("one", first));
        await using var server = await AglowProcess.StartAsync(
            null, "--auth", "token", "--jwt-authority", issuer.Address, "--jwt-audience", Token.Audience);
        JsonObject Claims(Action<JsonObject>? change = null) => Token.Claims("ann", c =>
        {
            c["iss"] = issuer.Address;
            change?.Invoke(c);
        });
        Task<Answer> HeartbeatAsync(string token) => server.CallAsync(token, "POST", "/heartbeat");

        (await HeartbeatAsync(Token.Signed(Claims(), first, "one"))).Status.ShouldBe(200);
        (await HeartbeatAsync(Token.Signed(Claims(), stranger, "one"))).ShouldBeProblem(401);
        (await HeartbeatAsync(Token.Signed(Claims(c => c["aud"] = "another"), first, "one"))).ShouldBeProblem(401);
        (await HeartbeatAsync(Token.Signed(Claims(c => c["iss"] = "https://evil.example"), first, "one"))).ShouldBeProblem(401);
        (await HeartbeatAsync(Token.Signed(Claims(c => c["exp"] = Token.Now - 61), first, "one"))).ShouldBeProblem(401, "has expired");
        // the public key used as a secret, in each common form
        foreach (var secret in new[]
        {
            first.ExportSubjectPublicKeyInfo(), first.ExportRSAPublicKey(), Encoding.ASCII.GetBytes(first.ExportSubjectPublicKeyInfoPem()),
            first.ExportParameters(false).Modulus!,
        })
            (await HeartbeatAsync(Token.Signed(Claims(), secret, new JsonObject { ["alg"] = "HS256", ["kid"] = "one" })))
                .ShouldBeProblem(401);
        (await HeartbeatAsync($"{Token.Content(new JsonObject { ["alg"] = "none", ["kid"] = "one" }, Claims())}.")).ShouldBeProblem(401);

        // the server asks once for a key that the issuer does not publish, not for each token that names it
        var (asked, since) = (issuer.Requests, Stopwatch.GetTimestamp());
        (await HeartbeatAsync(Token.Signed(Claims(), stranger, "invented"))).ShouldBeProblem(401);
        for (var i = 0; i < 20; i++)
            (await HeartbeatAsync(Token.Signed(Claims(), stranger, $"invented-{i}"))).ShouldBeProblem(401);
        // after ten seconds it may ask again
        issuer.Requests.ShouldBeLessThanOrEqualTo(asked + 1 + (int)(Stopwatch.GetElapsedTime(since).TotalSeconds / 10));

        // From now on the issuer signs with another key. The server asks again within ten seconds, and removes withdrawn keys.
        issuer.Publish(("two", second));
        await Eventually.TrueAsync(
            async () => (await HeartbeatAsync(Token.Signed(Claims(), second, "two"))).Status == 200, 90, "a new key is taken");
        (await HeartbeatAsync(Token.Signed(Claims(c => c["jti"] = "not seen before"), first, "one"))).ShouldBeProblem(401);

        // while the issuer is away, its known keys stay valid
        issuer.IsAway = true;
        (await HeartbeatAsync(Token.Signed(Claims(c => c["jti"] = "another"), second, "two"))).Status.ShouldBe(200);
    }

    [Fact]
    public async Task While_keys_were_never_read_tokens_are_neither_taken_nor_refused()
    {
        using var issuer = new LocalIssuer { IsAway = true };
        using var key = RSA.Create(2048);
        issuer.Publish(("one", key));
        await using var server = await AglowProcess.StartAsync(null, "--auth", "token", "--jwt-authority", issuer.Address);
        server.Output.ShouldContain("set --jwt-audience to accept only those for this server");
        var token = Token.Signed(Token.Claims("ann", c => c["iss"] = issuer.Address), key, "one");
        var away = (await server.CallAsync(token, "POST", "/heartbeat")).ShouldBeProblem(503);
        away.Headers.RetryAfter!.Delta.ShouldBe(TimeSpan.FromSeconds(5));
        await Eventually.TrueAsync(
            () => Task.FromResult(server.Output.Contains("The issuer's keys cannot be read", StringComparison.Ordinal)),
            90,
            "the log says so");
        server.Output.ShouldContain("answered 503");
        server.Output.Split('\n').Where(static line => line.Contains("PII", StringComparison.Ordinal)).ShouldBeEmpty();
        issuer.IsAway = false;
        await Eventually.TrueAsync(
            async () => (await server.CallAsync(token, "POST", "/heartbeat")).Status == 200,
            90,
            "the keys are read when the issuer is back");
    }

    /// <summary>An issuer of tokens on a free port: only its discovery.</summary>
    private sealed class LocalIssuer : IDisposable
    {
        private readonly HttpListener _listener = new();
        private volatile string _keys = "{\"keys\":[]}";
        private int _requests;

        public LocalIssuer()
        {
            // HttpListener cannot choose a free port itself
            for (var port = Random.Shared.Next(20_000, 30_000); ; port++)
            {
                Address = $"http://127.0.0.1:{port}";
                _listener.Prefixes.Clear();
                _listener.Prefixes.Add($"{Address}/");
                try
                {
                    _listener.Start();
                    break;
                }
                catch (HttpListenerException)
                {
                    // the port is in use: try another
                }
            }

            _ = ServeAsync();
        }

        public string Address { get; }

        /// <summary>The number of requests that it received.</summary>
        public int Requests => Volatile.Read(ref _requests);

        public volatile bool IsAway;

        public void Publish(params (string Id, RSA Key)[] keys) => _keys = new JsonObject
        {
            ["keys"] = new JsonArray([.. keys.Select(static k => (JsonNode)new JsonObject
            {
                ["kty"] = "RSA",
                ["use"] = "sig",
                ["kid"] = k.Id,
                ["n"] = System.Buffers.Text.Base64Url.EncodeToString(k.Key.ExportParameters(false).Modulus),
                ["e"] = System.Buffers.Text.Base64Url.EncodeToString(k.Key.ExportParameters(false).Exponent),
            })]),
        }.ToJsonString();

        public void Dispose() => _listener.Close();

        private async Task ServeAsync()
        {
            while (_listener.IsListening)
            {
                try
                {
                    var context = await _listener.GetContextAsync();
                    var isKeys = context.Request.Url!.AbsolutePath == "/keys";
                    if (!isKeys)
                        Interlocked.Increment(ref _requests);
                    context.Response.StatusCode = IsAway ? 503 : 200;
                    context.Response.ContentType = "application/json";
                    await using (var output = context.Response.OutputStream)
                        await output.WriteAsync(
                            Encoding.UTF8.GetBytes(isKeys ? _keys : $"{{\"issuer\":\"{Address}\",\"jwks_uri\":\"{Address}/keys\"}}"));
                }
                catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
                {
                    // closed, or the server under test asks no longer
                }
            }
        }
    }
}
