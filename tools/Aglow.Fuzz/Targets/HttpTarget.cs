using System.Text;

namespace Aglow.Fuzz.Targets;

/// <summary>
/// Requests for every call of the API and for none: some pipelined on one connection, some smuggled inside other bodies.
/// </summary>
internal sealed class HttpTarget(FuzzedServer server) : ConnectionTarget(server)
{
    /// <summary>The targets of requests: every call, and what looks like one.</summary>
    public static IReadOnlyList<string> Targets { get; } =
    [
        "/heartbeat", "/status/update", "/offline", "/status/{u}", "/status/users?ids={u},{u}", "/status/batch",
        "/status/batch?definition={d}", "/status/{u}/explain", "/users/{u}/status", "/users",
        "/users/{u}", "/users/{u}/revoke", "/users/{u}/access", "/users/{u}/visibility", "/users/{u}/approved", "/users/{u}/blocked",
        "/users/{u}/waiting", "/users/batch", "/users/{u}/quiet-hours", "/reach", "/changes?limit={n}&after={c}", "/webhooks",
        "/webhooks/{u}", "/webhooks/{u}/log", "/webhooks/{u}/test", "/webhooks/{u}/pause", "/webhooks/{u}/resume", "/webhooks/{u}/rotate",
        "/status?user={u}", "/users?user={u}", "/users?q={u}&limit={n}", "/users?q={q}&cursor={c}", "/users/{u}/subscriptions",
        "/online?limit={n}&cursor={c}", "/online?definition={d}", "/online/count", "/health/live", "/health/ready",
        "/metrics", "/openapi/v1.json", "/ws?user_id={u}", "/watch?users={u}", "/", "/nope", "/status//", "/status/{u}/", "//status/1",
        "/./status/1", "/status/..%2f..%2fusers", "*", "http://a/status/1", "status/1", "/status/1#x",
    ];

    public override string Name => "http";

    public override string Feeds => "the web server with SocketMiddleware before it, every call behind it";

    public override void Make(Dice dice, InputWriter input)
    {
        input.Add(dice.CutLength());
        for (var i = dice.OneIn(3) ? dice.Between(2, 5) : 1; i > 0; i--)
            Request(dice, input);
        if (dice.OneIn(20))
            HandshakeGrammar.Handshake(dice, input);
    }

    protected override int Judge(ReadOnlySpan<byte> bytes, bool isWhole)
    {
        var behaviour = 7;
        while (HttpAnswer.TryRead(ref bytes, isWhole, out var answer))
        {
            behaviour = (behaviour * 31) + answer.Status;
            if (answer.Status >= 400 && answer.Body.IndexOf("\"detail\":\""u8) is >= 0 and var at)
                behaviour = (behaviour * 31) + Shape(answer.Body[at..]);
            if (answer.Status == 101)
                return behaviour + SocketTarget.JudgeFrames(bytes, isWhole: false);
        }

        return behaviour;
    }

    // four letters from the middle identify a detail, because whole details differ in what they quote
    private static int Shape(ReadOnlySpan<byte> detail) => (int)BitConverter.ToUInt32(detail.Length >= 44 ? detail[40..] : [1, 0, 0, 0]);

    /// <summary>One request, with these headers besides.</summary>
    public static void Request(Dice dice, InputWriter input, string headers = "")
    {
        var body = new InputWriter();
        var isPacked = dice.OneIn(8);
        var method = dice.OneIn(15)
            ? dice.Pick("OPTIONS", "TRACE", "CONNECT", "HEAD", "PATCH", "get", "G\u0000T", "PRI", "")
            : dice.Pick("GET", "GET", "POST", "POST", "PUT", "DELETE");
        if (method is "POST" or "PUT" or "DELETE" || dice.OneIn(10))
        {
            if (isPacked)
                Packed(dice, body);
            else
                JsonGrammar.Document(dice, body);
        }

        input.Add(method)
            .Add(" ")
            .Add(Path(dice))
            .Add(dice.OneIn(25) ? dice.Pick(" HTTP/1.0", " HTTP/2.0", "", " HTTP/1.1 ", " HTTP/9.9", "\tHTTP/1.1") : " HTTP/1.1")
            .Add(dice.OneIn(50) ? "\n" : "\r\n");
        if (!dice.OneIn(40))
            input.Add("Host: a\r\n");
        input.Add(headers);
        if (dice.OneIn(6))
            input.Add(Header(dice)).Add(dice.OneIn(30) ? "\n" : "\r\n");
        if (body.Written.Length > 0 || dice.OneIn(30))
            Body(dice, input, body.Written, isPacked);
        else
            input.Add("\r\n");
    }

    private static string Path(Dice dice)
    {
        var path = new StringBuilder(Targets[dice.Below(Targets.Count)]);
        for (var i = 0; i < 2; i++)
            path.Replace("{u}", dice.OneIn(2) ? $"{dice.SmallUser()}" : Uri.EscapeDataString(dice.User()));
        return path
            .Replace("{n}", dice.Number())
            .Replace("{d}", dice.Pick("chat", "active", "reachable", "none", "", "chat&definition=chat"))
            .Replace("{q}", dice.Pick("b", "bo", "bob", "ali", "x\u00E9", "%F0%9F%91%A9", "", "%25", "%22%20OR%201"))
            .Replace("{c}", dice.Pick("AAAAAAAAAAA", "AAAAAAAAAAB", "AAEAAAAA_v8", "_____w", "", "!", "AAAA", "AAAAAAAAAAAAAAAAAAAAAAAA"))
            .ToString();
    }

    private static void Packed(Dice dice, InputWriter body)
    {
        for (var i = dice.OneIn(50) ? dice.Between(10_000, 20_000) : dice.Below(8); i > 0; i--)
        {
            var user = dice.SmallUser();
            body.Add((byte)user).Add((byte)(user >> 8)).Add((byte)dice.Below(3)).Add(
                (byte)(dice.OneIn(20) ? (uint)dice.Below(256) : user >> 24));
        }

        if (dice.OneIn(8))
            body.Add("x");
    }

    private static void Body(Dice dice, InputWriter input, ReadOnlySpan<byte> body, bool isPacked)
    {
        var type =
            dice.OneIn(10) ? dice.Pick(
                "text/plain",
                "application/json; charset=utf-16",
                "multipart/form-data",
                "",
                "application/json;charset=\"utf-8\"",
                "a\u00E9b") : isPacked ? "application/octet-stream" : "application/json";
        input.Add("Content-Type: ").Add(type).Add("\r\n");
        if (dice.OneIn(25))
            input.Add(
                dice.Pick(
                    "Content-Encoding: gzip\r\n",
                    "Expect: 100-continue\r\n",
                    "Transfer-Encoding: identity\r\n",
                    "Content-Length: 3\r\n",
                    "Content-Length: +1\r\n",
                    "Transfer-Encoding: chunked, gzip\r\n"));
        if (dice.OneIn(5))
        {
            input.Add(dice.OneIn(10) ? "Transfer-Encoding : chunked\r\n\r\n" : "Transfer-Encoding: chunked\r\n\r\n");
            Chunks(dice, input, body);
            return;
        }

        var length = dice.OneIn(20) ? dice.Number() : $"{body.Length}";
        input.Add("Content-Length: ").Add(length).Add("\r\n\r\n").Add(body);
    }

    private static void Chunks(Dice dice, InputWriter input, ReadOnlySpan<byte> body)
    {
        while (!body.IsEmpty)
        {
            var length = Math.Min(body.Length, dice.Between(1, 500));
            input.Add(dice.OneIn(30) ? dice.Pick("0x1", "FFFFFFFFFFFFFFFF", "-1", "", "g") : $"{length:x}")
                .Add(dice.OneIn(15) ? ";a=\"b\"" : "")
                .Add(dice.OneIn(40) ? "\n" : "\r\n");
            input.Add(body[..length]).Add(dice.OneIn(40) ? "" : "\r\n");
            body = body[length..];
        }

        input.Add(dice.OneIn(20) ? "0\r\n" : "0\r\n\r\n");
    }

    private static string Header(Dice dice) => dice.Pick(
        "Connection: close", "Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
        "Host: b", "Host: a@b", "X: " + new string('x', dice.Pick(1, 9000, 40_000)), "X : y", " X: y", "X",
        ": y", "X: a\u0000b", "X: \u00E9", "Cookie: " + dice.Name(), "Authorization: Bearer "
            + dice.Name(), "X-Forwarded-For: 1.2.3.4", "Accept: text/html", "Accept-Encoding: gzip", "Range: bytes=0-1",
        "If-None-Match: *", "Last-Event-ID: " + dice.Name(), "Origin: https://evil.example", "Content-Length: 0",
        "Transfer-Encoding: chunked", "Expect: 100-continue", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==");
}
