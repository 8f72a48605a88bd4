using System.Buffers.Text;
using System.Security.Cryptography;

namespace Aglow.Server.Tests;

/// <summary>Every call by every kind of caller: which callers may make which calls, and nothing else.</summary>
[Collection(TokenCalls.Name)]
public class AccessTests(TokenServer shared)
{
    private const string Me = "ME";

    private readonly AglowProcess _server = shared.Server;

    /// <summary>
    /// One call about the user ME, and its status for ME, for another user, and for keys with one scope each. Without a valid token it is
    /// 401.
    /// </summary>
    public sealed record Row(
        string Call, string? Body, int Self, int Other, int Heartbeat, int Read, int Users, int Operate, bool IsPacked = false)
    {
        public override string ToString() => $"{Call} {Body}";

        /// <summary>The expected status for each kind of caller.</summary>
        public IEnumerable<(string Who, int Expected)> Answers =>
        [
            ("self", Self), ("other", Other), ("heartbeat", Heartbeat), ("read", Read), ("users", Users), ("operate", Operate),
            ("nobody", 401), ("expired", 401), ("junk", 401), ("a key with another secret", 401),
        ];
    }

    /// <summary>The credential of a kind of caller, about the user <paramref name="me"/>; null: none.</summary>
    internal static string? CredentialOf(string who, string me, IReadOnlyDictionary<string, string> keys) => who switch
    {
        "self" => Token.Of(me),
        "other" => Token.Of(SharedServer.NewKey("other")),
        "nobody" => null,
        "expired" => Token.Of(me, seconds: -61),
        "junk" => "abc.def.ghi",
        "a key with another secret" => keys["heartbeat"][..^4] + "AAAA",
        _ => keys[who],
    };

    public static TheoryData<Row> Table => new(
        new("POST /heartbeat", null, Self: 200, Other: 200, Heartbeat: 400, Read: 403, Users: 403, Operate: 403), // for the caller
        new("POST /heartbeat", "{\"active\":true}", 200, 200, 400, 403, 403, 403),
        new("POST /heartbeat", "{\"device\":{\"id\":\"a\"},\"active\":true}", 200, 200, 400, 403, 403, 403),
        new("POST /heartbeat", "{\"user_id\":\"ME\"}", 200, 403, 200, 403, 403, 403),
        new("POST /heartbeat", "{\"user_ids\":[\"ME\"]}", 200, 403, 200, 403, 403, 403),
        new("POST /heartbeat", "{\"user_ids\":[\"ME\",1]}", 403, 403, 200, 403, 403, 403),
        new("POST /heartbeat", "", 403, 403, 200, 403, 403, 403, IsPacked: true),
        new("POST /status/update", "{\"user_id\":\"ME\",\"timestamp\":1763763300}", 200, 403, 200, 403, 403, 403),
        new("POST /offline", null, 200, 200, 400, 403, 403, 403),
        new("POST /offline", "{\"user_id\":\"ME\"}", 200, 403, 200, 403, 403, 403),
        new("POST /offline", "", 403, 403, 200, 403, 403, 403, IsPacked: true),
        new("GET /status/ME", null, 200, 200, 403, 200, 403, 403),
        new("GET /status?user=ME", null, 200, 200, 403, 200, 403, 403),
        new("GET /status/users?ids=ME", null, 200, 200, 403, 200, 403, 403),
        new("POST /status/batch", "[{\"user_id\":\"ME\"}]", 200, 200, 403, 200, 403, 403),
        new("POST /status/batch", "", 200, 200, 403, 200, 403, 403, IsPacked: true),
        new("GET /status/ME/explain", null, 403, 403, 403, 403, 403, 200),
        new("PUT /users/ME/status", "{\"status\":\"busy\"}", 200, 403, 403, 403, 200, 403),
        new("GET /users/ME/status", null, 200, 403, 403, 403, 200, 403),
        new("DELETE /users/ME/status", null, 204, 403, 403, 403, 204, 403),
        new("GET /users/ME/quiet-hours", null, 404, 403, 403, 403, 404, 403),
        new("PUT /users/ME/quiet-hours", "{\"from\":\"22:00\",\"to\":\"07:00\",\"time_zone\":\"UTC\"}", 200, 403, 403, 403, 200, 403),
        new("DELETE /users/ME/quiet-hours", null, 204, 403, 403, 403, 204, 403),
        new("POST /users", "{\"user_name\":\"NEW\"}", 403, 403, 403, 403, 201, 403),
        new("POST /users", "{\"user_name\":\"ME\"}", 201, 403, 403, 403, 201, 403),
        new("POST /users", "{\"user_name\":\"NEW\",\"user_id\":\"ME\"}", 201, 403, 403, 403, 201, 403),
        new("POST /users/batch", "{\"users\":[{\"user_id\":\"ME\",\"user_name\":\"NEW\"}]}", 403, 403, 403, 403, 200, 403),
        new("PUT /users/ME", "{\"user_name\":\"NEW\"}", 201, 403, 403, 403, 201, 403),
        new("PATCH /users/ME", "{\"display_name\":\"Me\"}", 200, 403, 403, 403, 200, 403),
        new("POST /users/ME/revoke", null, 204, 403, 403, 403, 204, 403),
        new("PUT /users/ME/access", "{\"disabled\":true}", 403, 403, 403, 403, 200, 403),
        new("GET /users?user=ME", null, 200, 200, 403, 200, 403, 403),
        new("PUT /users?user=ME", "{\"user_name\":\"NEW\"}", 201, 403, 403, 403, 201, 403),
        new("PATCH /users?user=ME", "{\"display_name\":\"Me\"}", 200, 403, 403, 403, 200, 403),
        new("DELETE /users?user=ME", null, 204, 403, 403, 403, 204, 403),
        new("GET /users/ME", null, 200, 200, 403, 200, 403, 403),
        new("DELETE /users/ME", null, 204, 403, 403, 403, 204, 403),
        new("GET /users?q=ali", null, 200, 200, 403, 200, 403, 403),
        new("GET /users/ME/subscriptions", null, 200, 403, 403, 403, 200, 403),
        new("POST /users/ME/subscriptions", "{\"user_ids\":[1]}", 200, 403, 403, 403, 200, 403),
        new("DELETE /users/ME/subscriptions", "{\"user_ids\":[1]}", 200, 403, 403, 403, 200, 403),
        new("GET /users/ME/visibility", null, 200, 403, 403, 403, 200, 403),
        new("PUT /users/ME/visibility", "{\"online\":\"everyone\"}", 200, 403, 403, 403, 200, 403),
        new("GET /users/ME/approved", null, 200, 403, 403, 403, 200, 403),
        new("POST /users/ME/approved", "{\"user_ids\":[1]}", 200, 403, 403, 403, 200, 403),
        new("DELETE /users/ME/approved", "{\"user_ids\":[1]}", 200, 403, 403, 403, 200, 403),
        new("GET /users/ME/waiting", null, 200, 403, 403, 403, 200, 403),
        new("GET /users/ME/blocked", null, 200, 403, 403, 403, 200, 403),
        new("POST /users/ME/blocked", "{\"user_ids\":[1]}", 200, 403, 403, 403, 200, 403),
        new("DELETE /users/ME/blocked", "{\"user_ids\":[1]}", 200, 403, 403, 403, 200, 403),
        new("GET /status/ME?viewer=ME", null, 200, 403, 403, 200, 403, 403),
        new("GET /online", null, 403, 403, 403, 200, 403, 403),
        new("GET /online/count", null, 200, 200, 403, 200, 403, 403),
        new("POST /reach", "{\"user_ids\":[\"ME\"]}", 403, 403, 403, 200, 403, 403),
        new("GET /changes?limit=1", null, 403, 403, 403, 200, 403, 403),
        new("GET /webhooks", null, 403, 403, 403, 403, 403, 200),
        new("POST /webhooks", "{\"url\":\"http://10.0.0.1/\"}", 403, 403, 403, 403, 403, 422),
        new("GET /webhooks/{webhook}", null, 403, 403, 403, 403, 403, 404),
        new("DELETE /webhooks/{webhook}", null, 403, 403, 403, 403, 403, 404),
        new("POST /webhooks/{webhook}/test", null, 403, 403, 403, 403, 403, 404),
        new("POST /webhooks/{webhook}/pause", null, 403, 403, 403, 403, 403, 404),
        new("POST /webhooks/{webhook}/resume", null, 403, 403, 403, 403, 403, 404),
        new("POST /webhooks/{webhook}/rotate", null, 403, 403, 403, 403, 403, 404),
        new("GET /webhooks/{webhook}/log", null, 403, 403, 403, 403, 403, 404),
        new("GET /watch?users=ME", null, 200, 200, 403, 200, 403, 403),
        new("GET /ws", null, 101, 101, 400, 403, 403, 403),
        new("GET /ws?user_id=ME", null, 101, 403, 101, 403, 403, 403),
        new("GET /metrics", null, 403, 403, 403, 403, 403, 200));

    [Theory]
    [MemberData(nameof(Table))]
    public async Task A_call_is_answered_by_who_asks(Row row)
    {
        var wrong = new List<string>();
        foreach (var (who, expected) in row.Answers)
        {
            var me = SharedServer.NewKey("me");
            (await _server.CallAsync(Token.Of(me), "POST", "/heartbeat")).Status.ShouldBe(200);
            var status = await StatusOfAsync(row, me, CredentialOf(who, me, shared.Keys));
            if (status != expected)
                wrong.Add($"{who}: {status} instead of {expected}");
        }

        wrong.ShouldBeEmpty(row.ToString());
    }

    [Fact]
    public async Task The_table_has_every_call_but_those_for_anybody()
    {
        foreach (var path in new[] { "/health/live", "/health/ready", "/openapi/v1.json", "/", "/docs" })
            (await _server.GetAsync(path)).Status.ShouldBe(200, path);
        var described = (await _server.GetAsync("/openapi/v1.json")).Json["paths"]!.AsObject()
            .SelectMany(static path => path.Value!.AsObject().Select(call => $"{call.Key.ToUpperInvariant()} {path.Key}"))
            .Where(static call => !call.Contains("/health/") && call != "GET /docs")
            .Order();
        ((IEnumerable<object[]>)Table).Select(static row => ((Row)row[0]).Call.Split('?')[0].Replace(Me, "{user}")).Distinct().Order()
            .ShouldBe(described);
    }

    [Fact]
    public async Task A_refusal_says_how_to_authenticate_and_nothing_of_what_is_inside()
    {
        var missing = (await _server.GetAsync("/status/1")).ShouldBeProblem(401, "Authorization: Bearer");
        missing.Headers.WwwAuthenticate.ToString().ShouldBe("Bearer");
        var refused = (await _server.CallAsync("a.b.c", "GET", "/status/1")).ShouldBeProblem(401, "Get another one");
        refused.Headers.WwwAuthenticate.ToString().ShouldBe("Bearer error=\"invalid_token\"");
        refused.Text.ShouldNotContain("IDX");
        (await _server.CallAsync(Token.Of("a", seconds: -61), "GET", "/status/1")).ShouldBeProblem(401, "has expired")
            .Headers.WwwAuthenticate.ToString().ShouldBe("Bearer error=\"invalid_token\"");
        var me = SharedServer.NewKey("me");
        // one of the next second would be newer than the revocation
        var revoked = Token.Of(me);
        (await _server.CallAsync(revoked, "POST", $"/users/{me}/revoke")).Status.ShouldBe(204);
        (await _server.CallAsync(revoked, "GET", "/status/1")).ShouldBeProblem(401, "signed out everywhere")
            .Headers.WwwAuthenticate.ToString().ShouldBe("Bearer error=\"invalid_token\"");
        (await _server.CallAsync(shared.Keys["read"], "POST", "/heartbeat", "{\"user_id\":1}"))
            .ShouldBeProblem(403, "lacks the scope \"heartbeat\"");
    }

    [Theory]
    [InlineData("exp")]
    [InlineData("iat")]
    [InlineData("nbf")]
    public async Task A_date_of_a_token_that_is_no_number_is_named(string date)
    {
        string With(JsonNode? value, byte[] secret) => Token.Signed(Token.Claims("a", c => c[date] = value), secret);
        (await _server.CallAsync(With($"{Token.Now + 30}", Token.Secret), "GET", "/status/1"))
            .ShouldBeProblem(401, $"The token's {date} is not a number");
        foreach (var value in new JsonNode?[] { "tomorrow", "", true, null, new JsonArray(Token.Now) })
            (await _server.CallAsync(With(value, Token.Secret), "GET", "/status/1")).ShouldBeProblem(401);
        // the reason is for those for whom the issuer signed
        (await _server.CallAsync(With($"{Token.Now + 30}", new byte[32]), "GET", "/status/1")).ShouldBeProblem(401, "Get another one");
        (await _server.CallAsync(Token.Signed(Token.Claims("a", c => c["iat"] = Token.Now - 0.5), Token.Secret), "GET", "/status/1"))
            .Status.ShouldBe(200);
    }

    [Fact]
    public async Task A_first_heartbeat_registers_its_own_subject_and_nothing_else()
    {
        var (me, other) = (SharedServer.NewKey("me"), SharedServer.NewKey("other"));
        (await _server.CallAsync(Token.Of(me), "POST", "/heartbeat", $"{{\"user_id\":\"{other}\"}}")).ShouldBeProblem(403);
        (await _server.CallAsync(Token.Of(me), "POST", "/heartbeat", $"{{\"user_ids\":[\"{me}\",\"{other}\"]}}")).ShouldBeProblem(403);
        (await _server.CallAsync(Token.Of(me), "POST", $"/users/{other}/subscriptions", "{\"user_ids\":[1]}")).ShouldBeProblem(403);
        foreach (var one in new[] { me, other })
            (await _server.CallAsync(shared.Keys["read"], "GET", $"/users/{one}")).ShouldBeProblem(404);
        (await _server.CallAsync(Token.Of(me), "POST", "/heartbeat")).Status.ShouldBe(200);
        (await _server.CallAsync(shared.Keys["read"], "GET", $"/users/{me}")).Status.ShouldBe(200);
        (await _server.CallAsync(Token.Of(me), "POST", $"/users/{me}/subscriptions", $"{{\"user_ids\":[\"{other}\"]}}"))
            .Status.ShouldBe(200);
        (await _server.CallAsync(shared.Keys["read"], "GET", $"/users/{other}")).ShouldBeProblem(404);
    }

    [Fact]
    public async Task A_number_is_the_same_person_in_every_form()
    {
        foreach (var own in new[] { SharedServer.NewUsers(2), Random.Shared.NextInt64(1L << 31, long.MaxValue - 1) })
        {
            foreach (var token in new[] { Token.Of($"{own}"), Token.Signed(Token.Claims("", c => c["sub"] = own), Token.Secret) })
            {
                (await _server.CallAsync(token, "POST", "/heartbeat", $"{{\"user_id\":{own}}}")).Status.ShouldBe(200);
                (await _server.CallAsync(token, "POST", "/heartbeat", $"{{\"user_id\":\"{own}\"}}")).Status.ShouldBe(200);
                (await _server.CallAsync(token, "POST", "/heartbeat", $"{{\"user_id\":{own + 1}}}")).ShouldBeProblem(403);
                (await _server.CallAsync(token, "POST", "/heartbeat", $"{{\"user_id\":\"0{own}\"}}")).ShouldBeProblem(403);
            }
        }
    }

    // ---- other people's ids ---------------------------------------------------------------------------------------------------

    [Theory]
    [InlineData("POST", "/heartbeat", "{\"user_id\":\"OTHER\",\"active\":true}")]
    [InlineData("POST", "/heartbeat", "{\"active\":true,\"user_id\":\"OTHER\"}")]
    [InlineData("POST", "/heartbeat", "{\"user_id\":NUMBER}")]
    [InlineData("POST", "/heartbeat", "{\"user_id\":\"NUMBER\"}")]
    [InlineData("POST", "/heartbeat", "{\"user_ids\":[\"ME\",\"OTHER\"]}")]
    [InlineData("POST", "/heartbeat", "{\"user_ids\":[\"ME\",NUMBER]}")]
    [InlineData("POST", "/status/update", "{\"user_id\":NUMBER,\"timestamp\":1763763300}")]
    [InlineData("POST", "/offline", "{\"user_ids\":[NUMBER]}")]
    [InlineData("PUT", "/users/NUMBER/status", "{\"status\":\"busy\"}")]
    [InlineData("PUT", "/users/%4fTHER/status", "{\"status\":\"busy\"}")]
    [InlineData("DELETE", "/users/NUMBER", null)]
    [InlineData("POST", "/users", "{\"user_name\":\"OTHER\"}")]
    [InlineData("POST", "/users", "{\"user_name\":\"mine\",\"user_id\":NUMBER}")]
    [InlineData("PUT", "/users/OTHER", "{\"user_name\":\"mine\"}")]
    [InlineData("PATCH", "/users/NUMBER", "{\"display_name\":\"mine\"}")]
    [InlineData("POST", "/users/NUMBER/revoke", null)]
    [InlineData("POST", "/users/OTHER/revoke", null)]
    [InlineData("PUT", "/users/OTHER/access", "{\"disabled\":true}")]
    [InlineData("GET", "/users/NUMBER/subscriptions", null)]
    [InlineData("POST", "/users/NUMBER/subscriptions", "{\"user_ids\":[1]}")]
    [InlineData("DELETE", "/users/OTHER/subscriptions", "{\"user_ids\":[1]}")]
    [InlineData("GET", "/users/NUMBER/visibility", null)]
    [InlineData("PUT", "/users/NUMBER/visibility", "{\"online\":\"nobody\"}")]
    [InlineData("GET", "/users/OTHER/approved", null)]
    [InlineData("GET", "/users/NUMBER/waiting", null)]
    [InlineData("POST", "/users/NUMBER/approved", "{\"user_ids\":[\"ME\"]}")]
    [InlineData("DELETE", "/users/NUMBER/blocked", "{\"user_ids\":[\"ME\"]}")]
    [InlineData("GET", "/status/ME?viewer=NUMBER", null)]
    [InlineData("GET", "/users/ME?viewer=OTHER", null)]
    [InlineData("GET", "/watch?users=1&viewer=OTHER", null)]
    public async Task Nobody_speaks_for_somebody_else(string method, string path, string? body)
    {
        var (me, other) = (SharedServer.NewKey("me"), "OTHER" + SharedServer.NewKey(""));
        var number = Random.Shared.NextInt64(1L << 31, long.MaxValue);
        var before = new Dictionary<string, string>();
        await _server.CallAsync(Token.Of(me), "POST", "/heartbeat");
        foreach (var somebody in new[] { other, $"{number}" })
        {
            await _server.CallAsync(Token.Of(somebody), "POST", "/heartbeat");
            await _server.CallAsync(Token.Of(somebody), "POST", "/offline");
            before[somebody] = (await _server.CallAsync(Token.Of(somebody), "GET", $"/users/{somebody}")).Text;
        }

        string Named(string text) => text.Replace("NUMBER", $"{number}").Replace("OTHER", other).Replace("%4fTHER", "%4f" + other[1..])
            .Replace("\"ME\"", $"\"{me}\"").Replace("=ME", $"={me}").Replace("/ME", $"/{me}");
        (await _server.CallAsync(Token.Of(me), method, Named(path), body is null ? null : Named(body))).ShouldBeProblem(403);
        foreach (var (somebody, was) in before)
            (await _server.CallAsync(Token.Of(somebody), "GET", $"/users/{somebody}")).Text.ShouldBe(was, "and nothing happened");
    }

    // ---- forged tokens --------------------------------------------------------------------------------------------------------

    public static TheoryData<string, Func<string, string>> Forged => new()
    {
        { "alg none", user => $"{Token.Content(new JsonObject { ["alg"] = "none", ["typ"] = "JWT" }, Token.Claims(user))}." },
        { "alg None, with a signature", user => $"{Token.Content(new JsonObject { ["alg"] = "None" }, Token.Claims(user))}.AAAA" },
        { "no alg", user => Token.Signed(Token.Claims(user), Token.Secret, new JsonObject { ["typ"] = "JWT" }) },
        { "another secret", user => Token.Signed(Token.Claims(user), new byte[32]) },
        { "no signature", user => Token.Of(user)[..(Token.Of(user).LastIndexOf('.') + 1)] },
        { "half a signature", user => Token.Of(user)[..^20] },
        { "alg HS512 over the HS256 secret",
            user => Token.Signed(Token.Claims(user), Token.Secret, new JsonObject { ["alg"] = "HS512", ["typ"] = "JWT" }) },
        { "alg RS256 over the secret",
            user => Token.Signed(Token.Claims(user), Token.Secret, new JsonObject { ["alg"] = "RS256", ["typ"] = "JWT" }) },
        { "claims of somebody else under the signature",
            user => string.Join('.', Token.Of("x").Split('.')[0], Token.Of(user).Split('.')[1], Token.Of("x").Split('.')[2]) },
        { "wrong audience", user => Token.Signed(Token.Claims(user, c => c["aud"] = "another"), Token.Secret) },
        { "no audience", user => Token.Signed(Token.Claims(user, c => c.Remove("aud")), Token.Secret) },
        { "wrong issuer", user => Token.Signed(Token.Claims(user, c => c["iss"] = "https://evil.example"), Token.Secret) },
        { "no issuer", user => Token.Signed(Token.Claims(user, c => c.Remove("iss")), Token.Secret) },
        { "expired over a minute ago", user => Token.Of(user, seconds: -61) },
        { "no expiry", user => Token.Signed(Token.Claims(user, c => c.Remove("exp")), Token.Secret) },
        { "expiry as text", user => Token.Signed(Token.Claims(user, c => c["exp"] = "9999999999x"), Token.Secret) },
        { "expiry as a string", user => Token.Signed(Token.Claims(user, c => c["exp"] = $"{Token.Now + 600}"), Token.Secret) },
        { "issued at a string", user => Token.Signed(Token.Claims(user, c => c["iat"] = $"{Token.Now}"), Token.Secret) },
        { "not good before a string", user => Token.Signed(Token.Claims(user, c => c["nbf"] = $"{Token.Now}"), Token.Secret) },
        { "not good before the future", user => Token.Signed(Token.Claims(user, c => c["nbf"] = Token.Now + 90), Token.Secret) },
        { "issued in the future", user => Token.Signed(Token.Claims(user, c => c["iat"] = Token.Now + 90), Token.Secret) },
        { "no subject", user => Token.Signed(Token.Claims(user, c => c.Remove("sub")), Token.Secret) },
        { "an empty subject", user => Token.Signed(Token.Claims(user, c => c["sub"] = ""), Token.Secret) },
        { "a subject with a line break",
            user => Token.Signed(Token.Claims(user, c => c["sub"] = $"{user}\r\nX-User: root"), Token.Secret) },
        { "a subject with NUL", user => Token.Signed(Token.Claims(user, c => c["sub"] = $"{user}\0"), Token.Secret) },
        { "a subject of 256 bytes", user => Token.Signed(Token.Claims(user, c => c["sub"] = new string('a', 256)), Token.Secret) },
        { "a negative number as subject", user => Token.Signed(Token.Claims(user, c => c["sub"] = -1), Token.Secret) },
        { "a fraction as subject", user => Token.Signed(Token.Claims(user, c => c["sub"] = 1.5), Token.Secret) },
        { "a number above all as subject", user => Token.Signed(Token.Claims(user, c => c["sub"] = 9223372036854775808), Token.Secret) },
        { "null as subject", user => Token.Signed(Token.Claims(user, c => c["sub"] = null), Token.Secret) },
        { "true as subject", user => Token.Signed(Token.Claims(user, c => c["sub"] = true), Token.Secret) },
        { "a list as subject", user => Token.Signed(Token.Claims(user, c => c["sub"] = new JsonArray(user)), Token.Secret) },
        { "two subjects", TwoSubjects },
        { "kid as a path to an empty file",
            user => Token.Signed(Token.Claims(user), new byte[32], new JsonObject
            {
                ["alg"] = "HS256",
                ["kid"] = "../../../../dev/null",
            }) },
        { "a header that must be understood",
            user => Token.Signed(
                Token.Claims(user), Token.Secret, new JsonObject { ["alg"] = "HS256", ["crit"] = new JsonArray("x"), ["x"] = 1 }) },
        { "kid as SQL",
            user => Token.Signed(Token.Claims(user), Encoding.UTF8.GetBytes("x"), new JsonObject
            {
                ["alg"] = "HS256",
                ["kid"] = "' UNION SELECT 'x",
            }) },
        { "its own key in the header",
            user => Token.Signed(Token.Claims(user), new byte[32], new JsonObject
            {
                ["alg"] = "HS256",
                ["jwk"] = new JsonObject { ["kty"] = "oct", ["k"] = Convert.ToBase64String(new byte[32]) },
            }) },
        { "keys at an address of its own",
            user => Token.Signed(Token.Claims(user), new byte[32], new JsonObject
            {
                ["alg"] = "HS256",
                ["jku"] = "http://127.0.0.1:1/keys",
            }) },
        { "four parts", user => Token.Of(user) + ".AAAA" },
        { "an encrypted one", _ => "eyJhbGciOiJkaXIiLCJlbmMiOiJBMjU2R0NNIn0..AAAA.AAAA.AAAA" },
        { "9,000 characters", user => Token.Signed(Token.Claims(user, c => c["pad"] = new string('a', 9000)), Token.Secret) },
        { "claims that are no JSON", _ => $"{Token.Of("x").Split('.')[0]}.bm90IGpzb24.AAAA" },
        { "not base64", _ => "a.b!.c" },
        { "nothing", _ => "" },
        { "only dots", _ => "....." },
        { "a key of the right form", _ => "aglow_AAAAAAAA_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA" },
        { "a key without its secret", _ => "aglow_AAAAAAAA" },
    };

    private static string TwoSubjects(string user)
    {
        var header = Token.Content(new JsonObject { ["alg"] = "HS256", ["typ"] = "JWT" }, Token.Claims(user)).Split('.')[0];
        var claims = Token.Claims(user).ToJsonString().TrimEnd('}') + ",\"sub\":\"somebody else\"}";
        var content = $"{header}.{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims))}";
        return $"{content}.{Base64Url.EncodeToString(HMACSHA256.HashData(Token.Secret, Encoding.ASCII.GetBytes(content)))}";
    }

    [Theory]
    [MemberData(nameof(Forged))]
    public async Task A_forged_token_is_refused_and_does_nothing(string how, Func<string, string> forge)
    {
        var user = SharedServer.NewKey("forged");
        (await _server.CallAsync(forge(user), "POST", "/heartbeat")).ShouldBeProblem(401);
        (await _server.CallAsync(shared.Keys["read"], "GET", $"/users/{user}")).ShouldBeProblem(404);
        // and on a socket, with the shortcut before HTTP and through HTTP
        await using var socket = await RawSocket.HandshakeAsync(_server.Address, "/ws", $"Authorization: Bearer {forge(user)}\r\n");
        (await socket.ReadHeadAsync()).ShouldStartWith("HTTP/1.1 401 ", customMessage: how);
    }

    [Fact]
    public async Task A_minutes_difference_of_clocks_is_forgiven()
    {
        var user = SharedServer.NewKey("me");
        (await _server.CallAsync(Token.Of(user, seconds: -30), "POST", "/heartbeat")).Status.ShouldBe(200);
        (await _server.CallAsync(Token.Signed(Token.Claims(user, c => c["nbf"] = Token.Now + 30), Token.Secret), "POST", "/heartbeat"))
            .Status.ShouldBe(200);
        (await _server.CallAsync(
            Token.Signed(Token.Claims(user, c => c["aud"] = new JsonArray("another", Token.Audience)), Token.Secret), "POST", "/heartbeat"))
            .Status.ShouldBe(200);
    }

    [Fact]
    public async Task A_token_of_a_clock_that_is_off_by_more_says_to_compare_the_clocks()
    {
        var user = SharedServer.NewKey("me");
        (await _server.CallAsync(Token.Of(user, seconds: -90), "POST", "/heartbeat"))
            .ShouldBeProblem(401, "the clock of its issuer or of this server is wrong");
        (await _server.CallAsync(Token.Signed(Token.Claims(user, c => c["nbf"] = Token.Now + 90), Token.Secret), "POST", "/heartbeat"))
            .ShouldBeProblem(401, "do the clocks of its issuer and this server agree?");
    }

    [Fact]
    public async Task A_connection_that_had_one_token_asks_again_for_another()
    {
        var (me, other) = (SharedServer.NewKey("me"), SharedServer.NewKey("other"));
        using var http = new HttpClient(new SocketsHttpHandler { MaxConnectionsPerServer = 1 }) { BaseAddress = _server.Address };
        foreach (var (token, user, status) in new[]
        {
            (Token.Of(me), me, 200), (Token.Of(other), me, 403), (Token.Of(me), me, 200), ("junk", me, 401), (Token.Of(other), other, 200),
        })
        {
            using var request = new HttpRequestMessage(HttpMethod.Post, "/heartbeat")
            {
                Content = new StringContent($"{{\"user_id\":\"{user}\"}}", Encoding.UTF8, "application/json"),
            };
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
            using var answer = await http.SendAsync(request);
            ((int)answer.StatusCode).ShouldBe(status);
        }
    }

    [Fact]
    public async Task The_url_is_no_place_for_a_token_but_where_a_browser_has_no_other()
    {
        var me = SharedServer.NewKey("me");
        (await _server.GetAsync($"/status/1?access_token={Token.Of(me)}")).ShouldBeProblem(401);
        (await _server.SendAsync(HttpMethod.Post, $"/heartbeat?access_token={Token.Of(me)}")).ShouldBeProblem(401);
        (await StatusOfAsync(new Row($"GET /watch?users=1&access_token={Token.Of(me)}", null, 0, 0, 0, 0, 0, 0), me, null))
            .ShouldBe(200);
    }

    // Sockets are upgraded. Of a stream only the head is read.
    private async Task<int> StatusOfAsync(Row row, string me, string? token)
    {
        var (method, path) = (row.Call.Split(' ')[0], row.Call.Split(' ')[1].Replace(Me, me));
        if (path.StartsWith("/ws", StringComparison.Ordinal))
        {
            await using var socket = await RawSocket.HandshakeAsync(
                _server.Address, path, token is null ? "" : $"Authorization: Bearer {token}\r\n");
            return int.Parse((await socket.ReadHeadAsync()).Split(' ')[1]);
        }

        using var request = new HttpRequestMessage(HttpMethod.Parse(method), path);
        if (row.Body is not null)
            request.Content = row.IsPacked ? new ByteArrayContent(Calling.Pack([1, 2])) : new StringContent(
                row.Body.Replace(Me, me).Replace("NEW", SharedServer.NewKey("new")));
        if (request.Content is not null)
            request.Content.Headers.ContentType = new(row.IsPacked ? Calling.Packed : "application/json");
        if (token is not null)
            request.Headers.TryAddWithoutValidation("Authorization", $"Bearer {token}");
        using var answer = await _server.Http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        return (int)answer.StatusCode;
    }
}
