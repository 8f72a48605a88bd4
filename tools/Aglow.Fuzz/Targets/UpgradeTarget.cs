using System.Buffers;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Sockets;
using Aglow.Model;

namespace Aglow.Fuzz.Targets;

/// <summary>
/// The first bytes of a connection. The verdict on the pieces must be that on the whole, and more bytes must not change it.
/// </summary>
internal sealed class UpgradeTarget : RuleTarget
{
    private static readonly Origins Allowed = new(new AglowOptions { AllowedOrigins = ["https://chat.example"] });

    public override string Name => "upgrade";

    public override string Feeds => "RawUpgrade, SocketHello, SocketHandshake";

    public override int PerTurn => 8 * 1024;

    public override void Make(Dice dice, InputWriter input)
    {
        HandshakeGrammar.Handshake(dice, input.Add(dice.CutLength()));
        if (dice.OneIn(2))
            input.Add("\u0081\u0080\0\0\0\0");
    }

    public override int Run(ReadOnlyMemory<byte> input)
    {
        var whole = new ReadOnlySequence<byte>(Cut.Body(input));
        var (isUnfinished, upgrade) = Judge(whole);
        var inPieces = Judge(Cut.Sequence(input));
        if (isUnfinished != inPieces.IsUnfinished || upgrade?.Length != inPieces.Upgrade?.Length)
            throw new FindingException($"in pieces it is {inPieces}, whole {(isUnfinished, upgrade)}");
        // a verdict on the beginning must not change when more bytes come
        var half = Judge(whole.Slice(0, whole.Length / 2));
        if (!half.IsUnfinished && (isUnfinished || upgrade?.Length != half.Upgrade?.Length))
            throw new FindingException($"the first half is {half}, all of it {(isUnfinished, upgrade)}");
        if (isUnfinished && upgrade is not null)
            throw new FindingException("an upgrade whose head is to be waited for");
        if (upgrade is null)
            return isUnfinished ? 1 : 0;
        if (upgrade.Length > whole.Length || upgrade.Query.AsSpan().ContainsAny('\r', '\n', ' '))
            throw new FindingException("an upgrade holds what no line can");
        var behaviour = Allowed.IsAllowed(upgrade.Origin, upgrade.FetchSite, upgrade.Host) ? 3 : 4;
        try
        {
            var hello = SocketHello.Read(upgrade.Query);
            return behaviour + (hello.User is not { } who ? 30 : who.Key is null ? 10 : 20) + (hello.Device is null ? 0 : 100);
        }
        catch (ProblemException)
        {
            return behaviour;
        }
    }

    private static (bool IsUnfinished, RawUpgrade? Upgrade) Judge(ReadOnlySequence<byte> bytes) =>
        (RawUpgrade.IsUnfinished(bytes), RawUpgrade.Read(bytes));
}

/// <summary>Makes WebSocket handshakes, most of them correct.</summary>
internal static class HandshakeGrammar
{
    /// <summary>Adds a handshake that any server accepts, for this user.</summary>
    public static void Flawless(InputWriter input, string user) => input
        .Add("GET /ws?user_id=").Add(user)
        .Add(
            " HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
                + "dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n");

    /// <summary>Adds a handshake, usually with a mistake.</summary>
    public static void Handshake(Dice dice, InputWriter input)
    {
        input.Add(dice.OneIn(12) ? dice.Pick("POST", "get", "GET ", "HEAD", "CONNECT") : "GET")
            .Add(dice.OneIn(12) ? dice.Pick("", "\t", "  ") : " ")
            .Add(dice.OneIn(6) ? dice.Pick("/wsx", "/ws/", "//ws", "/WS", "/%77s", "/ws#", "/ws;", "http://a/ws", "*", "/w") : "/ws")
            .Add(dice.OneIn(10) ? "" : "?user_id=").Add(dice.OneIn(4) ? dice.User() : $"{dice.Below(50)}")
            .Add(
                dice.OneIn(8)
                    ? dice.Pick(
                        "&user_id=2",
                        "&x=%zz",
                        "&device_id=%C3%A4&device_kind=web",
                        "&device_kind=",
                        "&device_id=%00",
                        "&access_token=a.b.c",
                        "#f",
                        "\u0080",
                        "?")
                    : "")
            .Add(dice.OneIn(12) ? dice.Pick(" HTTP/1.0", " HTTP/2.0", " HTTP/1.10", "", " http/1.1", "\tHTTP/1.1") : " HTTP/1.1")
            .Add(End(dice));
        string[] headers =
        [
            "Host: a",
            "Upgrade: websocket",
            "Connection: Upgrade",
            "Sec-WebSocket-Version: 13",
            "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
        ];
        foreach (var header in headers)
        {
            if (!dice.OneIn(25))
                input.Add(header).Add(End(dice));
            if (dice.OneIn(25))
                input.Add(dice.Pick(headers)).Add(End(dice));
            if (dice.OneIn(12))
                input.Add(Odd(dice)).Add(End(dice));
        }

        input.Add(dice.OneIn(15) ? dice.Pick("", "\n", "\r", " \r\n") : "\r\n");
    }

    private static string End(Dice dice) => dice.OneIn(60) ? dice.Pick("\n", "\r", "\r\r\n", "\r\n ", "\0\r\n") : "\r\n";

    private static string Odd(Dice dice) => dice.Pick(
        "Content-Length: 0", "Content-Length: 5", "Transfer-Encoding: chunked", "Expect: 100-continue", "Origin: http://a",
        "Origin: https://chat.example", "Origin: null", "Origin: http://a@b", "Origin: http://[",
        "Authorization: Bearer x", "Sec-WebSocket-Extensions: permessage-deflate", "Sec-WebSocket-Protocol: aglow", "X: "
            + new string('y', dice.Pick(1, 8000, 9000)), ": empty", "No colon", "Host : a", " Host: a",
        "Upgrade: h2c, websocket", "Connection: close", "Connection: keep-alive,\tupgrade", "Cookie: a=b", "X: \u0001", "X: \u00FF",
        "Sec-WebSocket-Key: short");
}
