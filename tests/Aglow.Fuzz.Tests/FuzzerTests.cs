using System.Text;
using System.Text.RegularExpressions;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Fuzz.Tests;

/// <summary>The fuzzer itself: what is planted is found.</summary>
public partial class FuzzerTests
{
    [Fact]
    public async Task A_fault_that_takes_a_rare_byte_behind_a_rare_word_is_found_and_kept()
    {
        var folder = Directory.CreateTempSubdirectory("aglow-fuzz-tests-").FullName;
        var findings = new Findings(folder);
        var faulty = new Faulty();
        var worker = new Worker(1, [(faulty, [])], findings, static () => null);
        for (var turns = 0; turns < 100 && findings.All.Count == 0; turns++)
            await worker.TurnAsync();
        var (_, input, message) = findings.All.ShouldHaveSingleItem();
        message.ShouldContain("IndexOutOfRange");
        Encoding.Latin1.GetString(input).ShouldContain("word:\0");
        // what is kept finds it again at once
        Corpus.Read(folder, faulty).ShouldHaveSingleItem().ShouldBe(input);
        var again = new Findings(null);
        await new Worker(2, [(faulty, Corpus.Read(folder, faulty))], again, static () => null).TurnAsync();
        again.All.Count.ShouldBe(1);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Requests_go_to_every_call()
    {
        var folder = Directory.CreateTempSubdirectory("aglow-fuzz-tests-").FullName;
        await using (var server = await FuzzedServer.StartAsync(folder, takesTokens: true))
        {
            var targets = Targets.HttpTarget.Targets.Select(static target => target.Split('?')[0]).ToHashSet(StringComparer.Ordinal);
            var calls = server.Calls.Select(static call => Parameter().Replace(call, "{u}")).Distinct().ToArray();
            calls.Length.ShouldBeGreaterThan(30);
            calls.Except(targets).ShouldBeEmpty();
        }

        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task A_finding_of_one_kind_is_kept_once()
    {
        var findings = new Findings(null);
        var worker = new Worker(1, [(new Refusing(), [])], findings, static () => null);
        await worker.TurnAsync();
        findings.All.Count.ShouldBe(1);
        worker.Pools.Single().Count.ShouldBe(Refusing.Share);
    }

    [Theory]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", null)]
    [InlineData("HTTP/1.1 204 No Content\r\n\r\n", null)]
    [InlineData("HTTP/1.1 505 X\r\nContent-Length: 0\r\n\r\n", null)]
    [InlineData("HTTP/1.1 507 X\r\nContent-Length: 0\r\n\r\n", null)]
    [InlineData("HTTP/1.1 500 X\r\nContent-Length: 4\r\n\r\nhelp", "500: HTTP")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok", "2 bytes of 3")]
    [InlineData("HTTP/1.1 200 OK\r\nSet-Cookie", "breaks off")]
    [InlineData("HTTP/1.1 200 OK\r\nX: a\u0001\r\n\r\n", "not a header")]
    [InlineData("ok", "breaks off")]
    [InlineData("HTTP/9 ok\r\n\r\n", "not an answer")]
    [InlineData("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{]", "not JSON")]
    [InlineData(
        "HTTP/1.1 400 X\r\nContent-Type: application/problem+json\r\nContent-Length: 71\r\n\r\n{\"status\":400,\"title\":\"x\","
            + "\"detail\":\"a JsonException at somewhere here\"}", "not a problem document")]
    public void An_answer_is_read_strictly(string answer, string? wrong)
    {
        var bytes = Encoding.Latin1.GetBytes(answer);
        string? found = null;
        try
        {
            ReadOnlySpan<byte> rest = bytes;
            HttpAnswer.TryRead(ref rest, isWhole: true, out _).ShouldBeTrue();
            rest.IsEmpty.ShouldBeTrue();
        }
        catch (FindingException finding)
        {
            found = finding.Message;
        }

        if (wrong is null)
            found.ShouldBeNull();
        else
            found.ShouldNotBeNull().ShouldContain(wrong);
    }

    [Theory]
    [InlineData("8102 7B7D", "")]
    [InlineData("8182 00000000 7B7D", "no frame")]
    [InlineData("C102 7B7D", "no frame")]
    [InlineData("8103 7B7D", "breaks off")]
    [InlineData("8202 7B7D", "opcode 2")]
    [InlineData("8802 03EE", "closes with 1006")]
    [InlineData("8802 03E8 8900", "after its close")]
    public void A_servers_frames_are_read_strictly(string hex, string wrong)
    {
        var bytes = Convert.FromHexString(hex.Replace(" ", ""));
        // an object without a type is not a message, either
        var failure = Should.Throw<Exception>(() => Targets.SocketTarget.JudgeFrames(bytes, isWhole: true));
        if (wrong.Length > 0)
            failure.ShouldBeOfType<FindingException>().Message.ShouldContain(wrong);
    }

    [Theory]
    [InlineData(0, false)]
    [InlineData(10, true)]
    public void Memory_that_grows_with_the_inputs_is_a_leak(int bytesAnInput, bool isLeak)
    {
        var samples = Enumerable.Range(1, 30)
            .Select(i => new MemorySample(i * 1_000_000L, 20_000_000 + (i % 3 * 1_000_000) + (i * 1_000_000L * bytesAnInput), 0));
        new FuzzReport([new FuzzedTarget(new Refusing(), 1, TimeSpan.Zero, 0)], [], [.. samples], 1).IsClean.ShouldBe(!isLeak);
    }

    [Fact]
    public void A_corpus_holds_any_bytes() => Prop.ForAll(
        ArbMap.Default.ArbFor<byte[]>(),
        static bytes => Corpus.Unescape(Corpus.Escape(bytes)).SequenceEqual(bytes)
            && !Corpus.Escape(bytes).ContainsAny(['\r', '\n'])).QuickCheckThrowOnFailure();

    [Fact]
    public void Pieces_make_the_whole() => Prop.ForAll(
        ArbMap.Default.ArbFor<byte[]>(),
        static bytes => Cut.Pieces(bytes).SelectMany(static piece => piece.ToArray()).SequenceEqual(bytes.Skip(1))
            && System.Buffers.BuffersExtensions.ToArray(Cut.Sequence(bytes)).SequenceEqual(bytes.Skip(1))).QuickCheckThrowOnFailure();

    [GeneratedRegex(@"\{[^}]*\}", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Parameter();

    private sealed class Faulty : RuleTarget
    {
        public override string Name => "faulty";

        public override string Feeds => "nothing";

        public override int PerTurn => 4096;

        public override void Make(Dice dice, InputWriter input) =>
            input.Add((byte)0).Add(dice.Pick("wor", "word", "other")).Add(dice.Pick(":", "", "."));

        public override int Run(ReadOnlyMemory<byte> input)
        {
            var at = input.Span.IndexOf("word:"u8);
            if (at < 0)
                return 0;
            var rest = input.Span[(at + 5)..];
            return rest.IsEmpty ? 1 : rest[0] == 0 ? rest[rest.Length] : 2;
        }
    }

    private sealed class Refusing : RuleTarget
    {
        public const int Share = 100;

        private int _calls;

        public override string Name => "refusing";

        public override string Feeds => "nothing";

        public override int PerTurn => Share;

        public override void Make(Dice dice, InputWriter input) => input.Add((byte)dice.Below(256));

        public override int Run(ReadOnlyMemory<byte> input) => throw new FindingException($"refused for the {_calls++}th time");
    }
}
