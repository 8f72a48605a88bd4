using System.Collections.Concurrent;

namespace Aglow.Server.Tests;

/// <summary>
/// The public conformance cases for WebSocket servers (the Autobahn suite's families 1 to 7, by their numbers), on a real server.
/// </summary>
/// <remarks>
/// The suite expects an echo, but this server answers with presence. So a message to echo is a watch here, and its snapshot is the answer.
/// A text to echo is in an unknown member, and an error that names the member is the answer. A binary message is refused with 1003 instead
/// of echoed. Families 9 (throughput), 12 and 13 (compression, which the server does not offer) do not apply. In 6.4 the suite lets a
/// server fail at once or at the message's end; this server fails at its end. The cases of a family run at the same time, each on its own
/// connection, because many of them wait.
/// </remarks>
[Collection(Calls.Name)]
public class ConformanceTests(SharedServer shared)
{
    private const byte Continuation = 0, TextFrame = 1, Binary = 2, CloseFrame = 8, Ping = 9, Pong = 10;

    // the expected results of a case
    private const string Snapshot = "snapshot", Silence = "silence";

    private static readonly byte[] Watch = "{\"type\":\"watch\",\"users\":[1]}"u8.ToArray();

    /// <summary>A case: the frames to send, the size of the pieces (0: all at once), and the expected results, in order.</summary>
    private sealed record Case(string Number, byte[][] Frames, string[] Expected, int Piece = 0);

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    [InlineData(5)]
    [InlineData(6)]
    [InlineData(7)]
    public async Task Every_case_of_the_family_ends_as_the_protocol_says(int family)
    {
        var cases = (family switch
        {
            1 => Framing(),
            2 => Pings(),
            3 => ReservedBits(),
            4 => Opcodes(),
            5 => Fragments(),
            6 => Utf8(),
            _ => Closes(),
        }).ToArray();
        cases.Length.ShouldBeGreaterThan(5);
        cases.Select(static one => one.Number).ShouldBeUnique();
        var wrong = new ConcurrentBag<string>();
        await Parallel.ForEachAsync(cases, new ParallelOptions { MaxDegreeOfParallelism = 32 }, async (one, _) =>
        {
            try
            {
                if (await RunAsync(one) is { } otherwise)
                    wrong.Add(otherwise);
            }
            catch (Exception failure) when (failure is IOException or OperationCanceledException or InvalidOperationException)
            {
                wrong.Add($"{one.Number}: {failure.GetType().Name} {failure.Message}");
            }
        });
        wrong.Order(StringComparer.Ordinal).ShouldBeEmpty();
    }

    // Returns null if the case ends as expected.
    private async Task<string?> RunAsync(Case one)
    {
        await using var socket = await RawSocket.OpenAsync(shared.Server.Address, $"{SharedServer.NewUsers()}");
        var bytes = one.Frames.SelectMany(static frame => frame).ToArray();
        foreach (var piece in one.Piece == 0 ? [bytes] : bytes.Chunk(one.Piece))
            await socket.WriteAsync(piece);
        // if a case leaves the connection open, the answer to a ping of this kind shows that nothing else came before it
        var endsOpen = one.Expected is [] or [.., not ['c', 'l', 'o', 's', 'e', ..]];
        if (endsOpen)
            await socket.SendAsync(Ping, "the end"u8.ToArray());
        var came = new List<string>();
        while (came is not [.., ['c', 'l', 'o', 's', 'e', ..]])
        {
            var (opcode, payload) = await socket.ReadFrameAsync();
            var text = Encoding.UTF8.GetString(payload);
            if (opcode == Ping || text == "{\"type\":\"tick\"}")
                continue;
            if (opcode == Pong && text == "the end")
                break;
            came.Add(opcode switch
            {
                TextFrame =>
                    text.StartsWith("{\"type\":\"presence\"", StringComparison.Ordinal) ? Snapshot : text.StartsWith(
                        "{\"type\":\"error\"", StringComparison.Ordinal) ? "error" : text,
                Pong => $"pong {Convert.ToHexString(payload)}",
                CloseFrame => $"close {(payload[0] << 8) | payload[1]}",
                _ => $"opcode {opcode}",
            });
        }

        // Snapshots come when the hub has read the message, pongs and errors at once. So order is promised only within each kind.
        var expected = one.Expected.Where(static e => e != Silence).ToArray();
        if (!endsOpen || !expected.Contains(Snapshot))
            return came.SequenceEqual(expected)
                ? null
                : $"{one.Number}: {string.Join(", ", came)} instead of {string.Join(", ", expected)}";
        while (came.Count < expected.Length)
        {
            var (opcode, payload) = await socket.ReadFrameAsync();
            if (opcode == TextFrame && Encoding.UTF8.GetString(payload).StartsWith("{\"type\":\"presence\"", StringComparison.Ordinal))
                came.Add(Snapshot);
        }

        return came.Order(StringComparer.Ordinal).SequenceEqual(expected.Order(StringComparer.Ordinal))
            ? null
            : $"{one.Number}: {string.Join(", ", came)} instead of {string.Join(", ", expected)}";
    }

    // ---- the cases ------------------------------------------------------------------------------------------------------------

    private static byte[] Frame(byte opcode, byte[] payload, bool final = true, byte reserved = 0) =>
        RawSocket.Frame(opcode, payload, final, masked: true, reserved);

    private static byte[] Padded(int length) => [.. Watch[..^1], .. Enumerable.Repeat((byte)' ', length - Watch.Length), (byte)'}'];

    // A watch with this text in an unknown member. If the text is valid, the answer is an error that names the member.
    private static byte[] Holding(byte[] text) => [.. "{\"type\":\"watch\",\"users\":[1],\"x\":\""u8, .. text, .. "\"}"u8];

    private static byte[] Hex(string hex) => Convert.FromHexString(hex.Replace(" ", ""));

    private static byte[] Code(int code, string reason = "") => [(byte)(code >> 8), (byte)code, .. Encoding.UTF8.GetBytes(reason)];

    private static IEnumerable<Case> Framing()
    {
        yield return new("1.1.1 empty text", [Frame(TextFrame, [])], ["close 1007"]);
        var number = 2;
        foreach (var length in new[] { 125, 126, 127, 128, 65_535, 65_536 })
            yield return new($"1.1.{number++} text of {length}", [Frame(TextFrame, Padded(length))], [Snapshot]);
        yield return new("1.1.8 text of 65536 in pieces of 997", [Frame(TextFrame, Padded(65_536))], [Snapshot], 997);
        number = 1;
        foreach (var length in new[] { 0, 125, 126, 127, 128, 65_535, 65_536 })
            yield return new($"1.2.{number++} binary of {length}", [Frame(Binary, new byte[length])], ["close 1003"]);
        yield return new("1.2.8 binary of 65536 in pieces of 997", [Frame(Binary, new byte[65_536])], ["close 1003"], 997);
    }

    private static IEnumerable<Case> Pings()
    {
        static string Answer(byte[] payload) => $"pong {Convert.ToHexString(payload)}";
        var text = "Hello, world!"u8.ToArray();
        var bytes = Hex("00 FF FE FD FC FB 00 FF");
        var long125 = Enumerable.Repeat((byte)0xFE, 125).ToArray();
        yield return new("2.1 ping", [Frame(Ping, [])], [Answer([])]);
        yield return new("2.2 ping with text", [Frame(Ping, text)], [Answer(text)]);
        yield return new("2.3 ping with bytes", [Frame(Ping, bytes)], [Answer(bytes)]);
        yield return new("2.4 ping of 125", [Frame(Ping, long125)], [Answer(long125)]);
        yield return new("2.5 ping of 126", [Frame(Ping, new byte[126])], ["close 1002"]);
        yield return new("2.6 ping of 125 byte by byte", [Frame(Ping, long125)], [Answer(long125)], 1);
        yield return new("2.7 pong unasked", [Frame(Pong, [])], [Silence]);
        yield return new("2.8 pong unasked with text", [Frame(Pong, text)], [Silence]);
        yield return new("2.9 pong unasked, then ping", [Frame(Pong, text), Frame(Ping, bytes)], [Answer(bytes)]);
        var ten = Enumerable.Range(0, 10).Select(static i => new[] { (byte)i }).ToArray();
        yield return new("2.10 ten pings", [.. ten.Select(static one => Frame(Ping, one))], [.. ten.Select(Answer)]);
        yield return new("2.11 ten pings byte by byte", [.. ten.Select(static one => Frame(Ping, one))], [.. ten.Select(Answer)], 1);
    }

    private static IEnumerable<Case> ReservedBits()
    {
        var good = Frame(TextFrame, Watch);
        yield return new("3.1 RSV 1, text", [Frame(TextFrame, Watch, reserved: 0x10)], ["close 1002"]);
        yield return new("3.2 RSV 2 after a good one", [good, Frame(TextFrame, Watch, reserved: 0x20), Frame(Ping, [])], ["close 1002"]);
        yield return new("3.3 RSV 3 in pieces", [good, Frame(TextFrame, Watch, reserved: 0x30), Frame(Ping, [])], ["close 1002"], 20);
        yield return new("3.4 RSV 4 byte by byte", [good, Frame(TextFrame, Watch, reserved: 0x40), Frame(Ping, [])], ["close 1002"], 1);
        yield return new("3.5 RSV 5, binary", [Frame(Binary, [1], reserved: 0x50)], ["close 1002"]);
        yield return new("3.6 RSV 6, ping", [Frame(Ping, [1], reserved: 0x60)], ["close 1002"]);
        yield return new("3.7 RSV 7, close", [Frame(CloseFrame, Code(1000), reserved: 0x70)], ["close 1002"]);
    }

    private static IEnumerable<Case> Opcodes()
    {
        var good = Frame(TextFrame, Watch);
        foreach (var (family, first) in new[] { (1, 3), (2, 11) })
        {
            yield return new($"4.{family}.1 opcode {first}", [Frame((byte)first, [])], ["close 1002"]);
            yield return new($"4.{family}.2 opcode {first + 1} with a payload", [Frame((byte)(first + 1), [1])], ["close 1002"]);
            yield return new(
                $"4.{family}.3 opcode {first + 2} after a good one", [good, Frame((byte)(first + 2), []), Frame(Ping, [])], ["close 1002"]);
            yield return new(
                $"4.{family}.4 opcode {first + 3} with a payload after a good one",
                [good, Frame((byte)(first + 3), [1]), Frame(Ping, [])],
                ["close 1002"]);
            yield return new(
                $"4.{family}.5 opcode {first + 4} byte by byte", [good, Frame((byte)(first + 4), [1]), Frame(Ping, [])], ["close 1002"], 1);
        }
    }

    private static IEnumerable<Case> Fragments()
    {
        var (one, two) = (Frame(TextFrame, Watch[..9], final: false), Frame(Continuation, Watch[9..]));
        var ping = Frame(Ping, [7]);
        var (more, last) = (Frame(Continuation, Watch, final: false), Frame(Continuation, Watch));
        yield return new("5.1 ping in two", [Frame(Ping, [1], final: false), Frame(Continuation, [2])], ["close 1002"]);
        yield return new("5.2 pong in two", [Frame(Pong, [1], final: false), Frame(Continuation, [2])], ["close 1002"]);
        yield return new("5.3 text in two", [one, two], [Snapshot]);
        yield return new("5.4 text in two, in pieces", [one, two], [Snapshot], 15);
        yield return new("5.5 text in two, byte by byte", [one, two], [Snapshot], 1);
        yield return new("5.6 text in two, a ping between", [one, ping, two], ["pong 07", Snapshot]);
        yield return new("5.7 text in two, a ping between, in pieces", [one, ping, two], ["pong 07", Snapshot], 15);
        yield return new("5.8 text in two, a ping between, byte by byte", [one, ping, two], ["pong 07", Snapshot], 1);
        yield return new("5.9 a last continuation of nothing", [last, Frame(TextFrame, Watch)], ["close 1002"]);
        yield return new("5.10 the same in pieces", [last, Frame(TextFrame, Watch)], ["close 1002"], 15);
        yield return new("5.11 the same byte by byte", [last, Frame(TextFrame, Watch)], ["close 1002"], 1);
        yield return new("5.12 a continuation of nothing", [more, Frame(TextFrame, Watch)], ["close 1002"]);
        yield return new("5.13 the same in pieces", [more, Frame(TextFrame, Watch)], ["close 1002"], 15);
        yield return new("5.14 the same byte by byte", [more, Frame(TextFrame, Watch)], ["close 1002"], 1);
        yield return new("5.15 a whole text, then a continuation of nothing", [one, two, more, Frame(TextFrame, Watch)], ["close 1002"]);
        yield return new(
            "5.16 a continuation before each text", [more, Frame(TextFrame, Watch), more, Frame(TextFrame, Watch)], ["close 1002"]);
        yield return new(
            "5.17 a last continuation before each text", [last, Frame(TextFrame, Watch), last, Frame(TextFrame, Watch)], ["close 1002"]);
        yield return new("5.18 a text inside a text", [one, Frame(TextFrame, Watch[9..])], ["close 1002"]);
        byte[][] five =
            [.. Watch.Chunk(6).Select((part, i) => Frame(i == 0 ? TextFrame : Continuation, part, final: (i + 1) * 6 >= Watch.Length))];
        yield return new(
            "5.19 text in five, pings between",
            [.. five.SelectMany(part => new[] { part, ping }).SkipLast(1)],
            [.. Enumerable.Repeat("pong 07", five.Length - 1), Snapshot]);
        yield return new(
            "5.20 the same in pieces",
            [.. five.SelectMany(part => new[] { part, ping }).SkipLast(1)],
            [.. Enumerable.Repeat("pong 07", five.Length - 1), Snapshot],
            11);
    }

    private static IEnumerable<Case> Utf8()
    {
        yield return new("6.1.1 empty text", [Frame(TextFrame, [])], ["close 1007"]);
        yield return new(
            "6.1.2 empty in three", [Frame(TextFrame, [], false), Frame(Continuation, [], false), Frame(Continuation, [])], ["close 1007"]);
        yield return new(
            "6.1.3 empty about something",
            [Frame(TextFrame, [], false), Frame(Continuation, Watch, false), Frame(Continuation, [])],
            [Snapshot]);
        var hello = Holding(Encoding.UTF8.GetBytes("Hello-µ@ßöäüàá-UTF-8!!"));
        yield return new("6.2.1 text", [Frame(TextFrame, hello)], ["error"]);
        yield return new("6.2.2 text in two", [Frame(TextFrame, hello[..43], false), Frame(Continuation, hello[43..])], ["error"]);
        yield return new(
            "6.2.3 text in frames of a byte",
            [.. hello.Select((b, i) => Frame(i == 0 ? TextFrame : Continuation, [b], i == hello.Length - 1))],
            ["error"]);
        var kosme = Holding(Hex("CE BA E1 BD B9 CF 83 CE BC CE B5"));
        yield return new(
            "6.2.4 Greek in frames of a byte",
            [.. kosme.Select((b, i) => Frame(i == 0 ? TextFrame : Continuation, [b], i == kosme.Length - 1))],
            ["error"]);
        var broken = Holding(Hex("CE BA E1 BD B9 CF 83 CE BC CE B5 ED A0 80 65 64 69 74 65 64"));
        yield return new("6.3.1 a surrogate", [Frame(TextFrame, broken)], ["close 1007"]);
        yield return new(
            "6.3.2 a surrogate, in frames of a byte",
            [.. broken.Select((b, i) => Frame(i == 0 ? TextFrame : Continuation, [b], i == broken.Length - 1))],
            ["close 1007"]);
        var above = Holding(Hex("F4 90 80 80"));
        yield return new(
            "6.4.1 above the last character, in three",
            [Frame(TextFrame, above[..37], false), Frame(Continuation, above[37..38], false), Frame(Continuation, above[38..])],
            ["close 1007"]);
        foreach (var (number, hex) in Valid())
            yield return new($"{number} {hex}", [Frame(TextFrame, Holding(Hex(hex)))], ["error"]);
        foreach (var (number, hex) in Invalid())
            yield return new($"{number} {hex}", [Frame(TextFrame, Holding(Hex(hex)))], ["close 1007"]);
    }

    private static IEnumerable<(string Number, string Hex)> Valid() =>
    [
        ("6.5.1", "CE BA E1 BD B9 CF 83 CE BC CE B5"), ("6.6.2", "CE BA"), ("6.6.5", "CE BA E1 BD B9"), (
            "6.6.11", "CE BA E1 BD B9 CF 83 CE BC CE B5"),
        ("6.7.2", "C2 80"), ("6.7.3", "E0 A0 80"), ("6.7.4", "F0 90 80 80"), ("6.9.1", "7F"), ("6.9.2", "DF BF"), ("6.9.3", "EF BF BF"),
        ("6.9.4", "F4 8F BF BF"),
        ("6.11.1", "ED 9F BF"), ("6.11.2", "EE 80 80"), ("6.11.3", "EF BF BD"), ("6.11.4", "F4 8F BF BF"),
        ("6.22.1", "EF BF BE"), ("6.22.2", "EF BF BF"), ("6.22.3", "F0 9F BF BE"), ("6.22.4", "F0 9F BF BF"), ("6.22.5", "F0 AF BF BE"),
        ("6.22.6", "F0 AF BF BF"), ("6.22.33", "F4 8F BF BE"), ("6.22.34", "F4 8F BF BF"),
        ("6.23.1", "EF BF B9"), ("6.23.2", "EF BF BA"), ("6.23.3", "EF BF BB"), ("6.23.4", "EF BF BC"), ("6.23.5", "EF BF BD"),
        ("6.23.6", "EF BF BE"), ("6.23.7", "EF BF BF"),
    ];

    private static IEnumerable<(string Number, string Hex)> Invalid() =>
    [
        ("6.6.1", "CE"), ("6.6.3", "CE BA E1"), ("6.6.4", "CE BA E1 BD"), ("6.6.6", "CE BA E1 BD B9 CF"),
        ("6.6.8", "CE BA E1 BD B9 CF 83 CE"), ("6.6.10", "CE BA E1 BD B9 CF 83 CE BC CE"),
        ("6.8.1", "F8 88 80 80 80"), ("6.8.2", "FC 84 80 80 80 80"), ("6.10.1", "F7 BF BF BF"), ("6.10.2", "FB BF BF BF BF"),
        ("6.10.3", "FD BF BF BF BF BF"), ("6.11.5", "F4 90 80 80"),
        ("6.12.1", "80"), ("6.12.2", "BF"), ("6.12.3", "80 BF"), ("6.12.4", "80 BF 80"), ("6.12.5", "80 BF 80 BF"),
        ("6.12.6", "80 BF 80 BF 80"), ("6.12.7", "80 BF 80 BF 80 BF"),
        ("6.12.8", "80 81 82 83 84 85 86 87 88 89 8A 8B 8C 8D 8E 8F 90 A0 B0 BF"),
        ("6.13.1", "C0 20 C1 20 C2 20 DF 20"), ("6.13.2", "E0 20 E1 20 EF 20"), ("6.13.3", "F0 20 F1 20 F7 20"),
        ("6.13.4", "F8 20 F9 20 FB 20"), ("6.13.5", "FC 20 FD 20"),
        ("6.14.1", "C0"), ("6.14.2", "E0 80"), ("6.14.3", "F0 80 80"), ("6.14.4", "F8 80 80 80"), ("6.14.5", "FC 80 80 80 80"),
        ("6.14.6", "DF"), ("6.14.7", "EF BF"), ("6.14.8", "F7 BF BF"), ("6.14.9", "FB BF BF BF"), ("6.14.10", "FD BF BF BF BF"),
        ("6.15.1", "C0 E0 80 F0 80 80 F8 80 80 80 FC 80 80 80 80 DF EF BF F7 BF BF FB BF BF BF FD BF BF BF BF"), ("6.16.1", "FE"),
        ("6.16.2", "FF"), ("6.16.3", "FE FE FF FF"),
        ("6.17.1", "C0 AF"), ("6.17.2", "E0 80 AF"), ("6.17.3", "F0 80 80 AF"), ("6.17.4", "F8 80 80 80 AF"), (
            "6.17.5", "FC 80 80 80 80 AF"),
        ("6.18.1", "C1 BF"), ("6.18.2", "E0 9F BF"), ("6.18.3", "F0 8F BF BF"), ("6.18.4", "F8 87 BF BF BF"), (
            "6.18.5", "FC 83 BF BF BF BF"),
        ("6.19.1", "C0 80"), ("6.19.2", "E0 80 80"), ("6.19.3", "F0 80 80 80"), ("6.19.4", "F8 80 80 80 80"), (
            "6.19.5", "FC 80 80 80 80 80"),
        ("6.20.1", "ED A0 80"), ("6.20.2", "ED AD BF"), ("6.20.3", "ED AE 80"), ("6.20.4", "ED AF BF"), ("6.20.5", "ED B0 80"),
        ("6.20.6", "ED BE 80"), ("6.20.7", "ED BF BF"),
        ("6.21.1", "ED A0 80 ED B0 80"), ("6.21.2", "ED A0 80 ED BF BF"), ("6.21.3", "ED AD BF ED B0 80"), ("6.21.4", "ED AD BF ED BF BF"),
        ("6.21.5", "ED AE 80 ED B0 80"), ("6.21.6", "ED AE 80 ED BF BF"), ("6.21.7", "ED AF BF ED B0 80"), ("6.21.8", "ED AF BF ED BF BF"),
    ];

    private static IEnumerable<Case> Closes()
    {
        var close = Frame(CloseFrame, Code(1000));
        yield return new(
            "7.1.1 a text, then close", [Frame(TextFrame, "{\"type\":\"dance\"}"u8.ToArray()), close], ["error", "close 1000"]);
        yield return new("7.1.2 close twice", [close, close], ["close 1000"]);
        yield return new("7.1.3 a ping after close", [close, Frame(Ping, [1])], ["close 1000"]);
        yield return new("7.1.4 a text after close", [close, Frame(TextFrame, "{}"u8.ToArray())], ["close 1000"]);
        yield return new(
            "7.1.5 close inside a text", [Frame(TextFrame, Watch[..9], false), close, Frame(Continuation, Watch[9..])], ["close 1000"]);
        yield return new(
            "7.1.6 a text over 64 KiB, close, ping", [Frame(TextFrame, new byte[256 * 1024]), close, Frame(Ping, [1])], ["close 1009"]);
        yield return new("7.3.1 close with nothing", [Frame(CloseFrame, [])], ["close 1000"]);
        yield return new("7.3.2 close with a byte", [Frame(CloseFrame, [3])], ["close 1002"]);
        yield return new("7.3.3 close with a code", [close], ["close 1000"]);
        yield return new("7.3.4 close with a reason", [Frame(CloseFrame, Code(1000, "Hello, world!"))], ["close 1000"]);
        yield return new("7.3.5 close with the longest reason", [Frame(CloseFrame, Code(1000, new string('*', 123)))], ["close 1000"]);
        yield return new("7.3.6 close with a longer reason", [Frame(CloseFrame, Code(1000, new string('*', 124)))], ["close 1002"]);
        yield return new(
            "7.5.1 a reason that is not text",
            [Frame(CloseFrame, [.. Code(1000), .. Hex("CE BA E1 BD B9 CF 83 CE BC CE B5 ED A0 80")])],
            ["close 1007"]);
        var number = 1;
        foreach (var code in new[] { 1000, 1001, 1002, 1003, 1007, 1008, 1009, 1010, 1011, 3000, 3999, 4000, 4999 })
            yield return new($"7.7.{number++} close with {code}", [Frame(CloseFrame, Code(code))], [$"close {code}"]);
        number = 1;
        foreach (var code in new[] { 0, 999, 1004, 1005, 1006, 1016, 1100, 2000, 2999 })
            yield return new($"7.9.{number++} close with {code}", [Frame(CloseFrame, Code(code))], ["close 1002"]);
        yield return new("7.13.1 close with 5000", [Frame(CloseFrame, Code(5000))], ["close 1002"]);
        yield return new("7.13.2 close with 65535", [Frame(CloseFrame, Code(65_535))], ["close 1002"]);
    }
}
