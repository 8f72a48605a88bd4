using System.Text;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Redis;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Stores.Tests;

/// <summary>Replies of Redis: whole or in pieces they read the same, and what is none is one clear error.</summary>
public class RespTests
{
    // as many kinds as RESP3 has, nested; texts with line ends in them
    private static readonly Gen<string> Leaf = Gen.OneOf(
        Gen.Choose(int.MinValue, int.MaxValue).Select(n => $":{n}\r\n"),
        Gen.Elements(":0\r\n", ":-1\r\n", ":4294967295\r\n", ":9223372036854775807\r\n", "_\r\n", "#t\r\n", "#f\r\n", ",1.5e3\r\n", ",inf\r\n", "(12345678901234567890123\r\n", "$-1\r\n", "*-1\r\n", "*0\r\n"),
        Gen.Elements("", "OK", "MOVED 3999 127.0.0.1:6381", "a b").Select(text => $"+{text}\r\n"),
        Gen.Elements("ERR no", "MOVED 1 :7000").Select(text => $"-{text}\r\n"),
        Gen.Elements("", "a", "\r\n", "$5\r\n", "{p:7}:pulse", new string('x', 3000)).Select(text => $"${text.Length}\r\n{text}\r\n"),
        Gen.Elements("txt:a", "mkd:\r\n").Select(text => $"={text.Length}\r\n{text}\r\n"),
        Gen.Constant("!5\r\nERR x\r\n"));

    private static readonly Gen<string> Reply = Nested(3);

    [Fact]
    public void A_reply_is_whole_when_its_last_byte_has_come_and_not_before() => ForAll(Reply, text =>
    {
        var bytes = Encoding.Latin1.GetBytes(text);
        for (var have = 0; have < bytes.Length; have += have < 200 || have > bytes.Length - 50 ? 1 : 37)
            RespFrame.Measure(bytes.AsSpan(0, have)).ShouldBe(0);
        RespFrame.Measure(bytes).ShouldBe(bytes.Length);
    });

    [Fact]
    public void What_comes_behind_a_reply_is_left_alone() => ForAll(from first in Reply from next in Reply from some in Gen.Choose(0, 100) select (first, next, some), replies =>
    {
        var (first, next, some) = replies;
        var bytes = Encoding.Latin1.GetBytes(first + next[..Math.Min(some, next.Length)]);
        RespFrame.Measure(bytes).ShouldBe(first.Length);
    });

    [Fact]
    public void Any_reply_that_is_whole_can_be_read() => ForAll(Reply, text =>
    {
        // throws nothing
        _ = new RespReader(Encoding.Latin1.GetBytes(text)).ReadAny();
    });

    [Fact]
    public void Bytes_of_any_kind_are_a_reply_or_the_beginning_of_one_or_one_clear_error()
    {
        var noise = Gen.OneOf(
            Gen.Elements("*", "$", ":", "+", "-", "%", ">", "~", "|", "=", "!", "_", "#", "(", ",", "\r\n", "\r", "\n", "1", "2", "-1", "0", "99999999999", "a", " "),
            Gen.Choose(0, 255).Select(b => ((char)b).ToString()));
        ForAll(Gen.ArrayOf(noise).Select(string.Concat), text =>
        {
            var bytes = Encoding.Latin1.GetBytes(text);
            try
            {
                var length = RespFrame.Measure(bytes);
                length.ShouldBeInRange(0, bytes.Length);
                if (length > 0)
                    _ = new RespReader(bytes.AsSpan(0, length)).ReadAny();
            }
            catch (RespException wrong)
            {
                wrong.Message.ShouldNotContain('\n');
            }
        });
    }

    [Theory]
    [InlineData("HTTP/1.1 400 Bad Request\r\n")]
    [InlineData("\u0015\u0003\u0003")]
    [InlineData(":12a\r\n")]
    [InlineData(":\r\n")]
    [InlineData(":123456789012345678901234")]
    [InlineData("$3\r\nabcd\r\n")]
    [InlineData("$-2\r\n")]
    [InlineData("$99999999\r\n")]
    [InlineData("*-2\r\n")]
    [InlineData("*99999999\r\n")]
    [InlineData("%-1\r\n")]
    [InlineData("#x\r\n")]
    [InlineData("_1\r\n")]
    [InlineData("*2\r\n:1\r\n?")]
    public void What_is_no_reply_is_refused(string text)
    {
        var bytes = Encoding.Latin1.GetBytes(text);
        Should.Throw<RespException>(() => RespFrame.Measure(bytes)).Message.ShouldContain("not RESP");
    }

    [Fact]
    public void A_line_without_end_is_refused_when_it_is_too_long()
    {
        var bytes = new byte[RespFrame.MaxBytes + 10];
        bytes.AsSpan().Fill((byte)'+');
        Should.Throw<RespException>(() => RespFrame.Measure(bytes));
    }

    [Fact]
    public void Replies_are_read_as_what_they_are()
    {
        var reply = "*6\r\n:7\r\n$3\r\na\r\n\r\n+b\r\n%1\r\n+k\r\n:1\r\n$-1\r\n|1\r\n+ttl\r\n:5\r\n#t\r\n"u8.ToArray();
        RespFrame.Measure(reply).ShouldBe(reply.Length);
        var read = (object?[])new RespReader(reply).ReadAny()!;
        read[0].ShouldBe(7L);
        read[1].ShouldBe("a\r\n");
        read[2].ShouldBe("b");
        read[3].ShouldBe(new object?[] { "k", 1L });
        read[4].ShouldBeNull();
        read[5].ShouldBe("t");
    }

    [Fact]
    public void Commands_are_written_as_redis_reads_them()
    {
        var writer = new RespWriter();
        writer.Command(4);
        writer.Part("BITFIELD"u8);
        RedisKeys.WritePage(writer, Plane.Activity, 66_047);
        writer.Place(65_279);
        writer.Part(uint.MaxValue);
        Encoding.ASCII.GetString(writer.Written.Span).ShouldBe("*4\r\n$8\r\nBITFIELD\r\n$18\r\n{p:66047}:activity\r\n$6\r\n#65279\r\n$10\r\n4294967295\r\n");
        RespFrame.Measure(writer.Written.Span).ShouldBe(writer.Length);
    }

    private static Gen<string> Nested(int depth) => depth == 0
        ? Leaf
        : Gen.Frequency(
            (3, Leaf),
            (1, Gen.ListOf(Nested(depth - 1)).Select(items => $"*{items.Count}\r\n{string.Concat(items)}")),
            (1, Gen.ListOf(Nested(depth - 1)).Select(items => $">{items.Count}\r\n{string.Concat(items)}")),
            (1, Gen.ListOf(Nested(depth - 1)).Select(items => $"%{items.Count / 2}\r\n{string.Concat(items.Take(items.Count / 2 * 2))}")),
            (1, from items in Gen.ListOf(Nested(depth - 1)) from rest in Nested(depth - 1) select $"|{items.Count / 2}\r\n{string.Concat(items.Take(items.Count / 2 * 2))}{rest}"));

    private static void ForAll<T>(Gen<T> values, Action<T> holds) =>
        Check.One(Config.QuickThrowOnFailure.WithMaxTest(300), Prop.ForAll(Arb.From(values), holds));
}

public class RedisOptionsTests
{
    [Theory]
    [InlineData("127.0.0.1:7000", "redis://127.0.0.1:7000")]
    [InlineData("a:1, b:2,c", "redis://a:1,b:2,c:6379")]
    [InlineData("redis://cache.example", "redis://cache.example:6379")]
    [InlineData("rediss://[::1]:7000,[fe80::1]", "rediss://[::1]:7000,[fe80::1]:6379")]
    [InlineData("redis://me:se%40cret@h:1/", "redis://h:1")]
    [InlineData("redis://:secret@h:1", "redis://h:1")]
    public void Addresses_are_read_and_passwords_are_not_shown(string text, string shown) => RedisOptions.Parse(text).ToString().ShouldBe(shown);

    [Fact]
    public void Who_logs_in_may_be_in_the_address()
    {
        var options = RedisOptions.Parse("rediss://me:se%40c:ret@h:1,i:2");
        (options.User, options.Password, options.Tls, options.Endpoints.Count).ShouldBe(("me", "se@c:ret", true, 2));
        RedisOptions.Parse("redis://:secret@h").User.ShouldBeNull();
    }

    [Theory]
    [InlineData("")]
    [InlineData("h:1,")]
    [InlineData("h:0")]
    [InlineData("h:65536")]
    [InlineData("h:x")]
    [InlineData("http://h:1")]
    [InlineData("[::1")]
    [InlineData("me@h:1")]
    [InlineData("a b:1")]
    public void What_is_no_address_is_refused(string text) => Should.Throw<FormatException>(() => RedisOptions.Parse(text)).Message.ShouldContain("HOST:PORT");
}

public class ClusterMapTests
{
    private static readonly RedisEndpoint Asked = new("10.0.0.9", 6379);

    [Fact]
    public void Of_two_primaries_of_a_shard_the_one_that_is_online_has_the_slots()
    {
        object?[] shards =
        [
            Shard([0L, 100L, 200L, 300L], Node("a", 1, "master", "fail"), Node("b", 2, "master", "online")),
            Shard([101L, 199L], Node("c", 3, "replica", "online"), Node(null, 4, "master", "online")),
            Shard([], Node("d", 5, "master", "online")),
        ];
        var map = ClusterMap.FromShards(shards, Asked, tls: false);
        map[100].ShouldBe(new RedisEndpoint("b", 2));
        map[250].ShouldBe(new RedisEndpoint("b", 2));
        map[150].ShouldBe(new RedisEndpoint("10.0.0.9", 4));
        map[301].ShouldBeNull();
        map.Primaries.Count.ShouldBe(2);
        map.Servers.Count.ShouldBe(5);
    }

    [Fact]
    public void The_older_answer_is_read_too()
    {
        object?[] slots = [new object?[] { 0L, 8191L, new object?[] { "a", 1L, "id" }, new object?[] { "b", 2L, "id" } }, new object?[] { 8192L, 16383L, new object?[] { "", 3L, "id" } }];
        var map = ClusterMap.FromSlots(slots, Asked);
        map[0].ShouldBe(new RedisEndpoint("a", 1));
        map[16383].ShouldBe(new RedisEndpoint("10.0.0.9", 3));
    }

    [Fact]
    public void What_is_no_map_is_one_clear_error()
    {
        object?[] answers = ["x", 1L, null, new object?[] { "x" }, new object?[] { Shard([0L], Node("a", 1, "master", "online")) }, new object?[] { Shard([0L, 16384L], Node("a", 1, "master", "online")) }];
        foreach (var answer in answers)
            Should.Throw<RespException>(() => ClusterMap.FromShards(answer, Asked, tls: false)).Message.ShouldContain("slots cannot be read");
    }

    private static object?[] Shard(object?[] slots, params object?[] nodes) => ["slots", slots, "nodes", nodes];

    private static object Node(string? endpoint, long port, string role, string health) =>
        new object?[] { "id", "x", "port", port, "ip", endpoint ?? "", "endpoint", endpoint, "role", role, "replication-offset", 7L, "health", health };
}

public class HintMessageTests
{
    [Fact]
    public void Hints_are_read_as_they_were_packed()
    {
        var hint = from kind in Gen.Choose(0, 4) from user in Gen.Choose(int.MinValue, int.MaxValue) select ((TransitionKind)kind, (uint)user);
        Check.One(Config.QuickThrowOnFailure, Prop.ForAll(Arb.From(Gen.ArrayOf(hint)), hints =>
        {
            var message = new byte[HintMessage.MaxBytes(hints.Length)];
            var length = HintMessage.Write(message, node: 7, hints);
            var heard = new List<(TransitionKind, uint)>();
            HintMessage.Read(message.AsSpan(0, length), self: 8, Hear).ShouldBeTrue();
            heard.ShouldBe(hints);
            HintMessage.Read(message.AsSpan(0, length), self: 7, Hear).ShouldBeFalse();
            heard.Count.ShouldBe(hints.Length);

            void Hear(TransitionKind kind, ReadOnlySpan<uint> users)
            {
                foreach (var user in users)
                    heard.Add((kind, user));
            }
        }));
    }

    [Fact]
    public void What_is_no_hint_is_not_heard() => Check.One(Config.QuickThrowOnFailure, Prop.ForAll(Arb.From(Gen.ArrayOf(Gen.Choose(0, 255).Select(b => (byte)b))), bytes =>
    {
        HintMessage.Read([1, 0, 0, 0, 0, 0, 0, 0, 0, .. bytes], self: 9, static (kind, _) => ((byte)kind).ShouldBeLessThanOrEqualTo((byte)TransitionKind.LeftEverywhere));
        HintMessage.Read(bytes.AsSpan(0, Math.Min(8, bytes.Length)), self: 9, static (_, _) => throw new InvalidOperationException()).ShouldBeFalse();
    }));
}
