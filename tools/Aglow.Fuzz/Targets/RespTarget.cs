using Aglow.AspNetCore.Endpoints;
using Aglow.Redis;

namespace Aglow.Fuzz.Targets;

/// <summary>What a Redis, or whoever has taken its place, answers: replies, the map of a cluster, and other nodes' hints.</summary>
internal sealed class RespTarget : RuleTarget
{
    private static readonly RedisEndpoint Asked = new("redis.example", 6379);

    public override string Name => "resp";

    public override string Feeds => "RespFrame, RespReader, ClusterMap, HintMessage";

    public override int PerTurn => 4 * 1024;

    public override void Make(Dice dice, InputWriter input)
    {
        input.Add((byte)0);
        if (dice.OneIn(8))
            Hint(dice, input);
        else
            Reply(dice, input, dice.Between(1, 5));
        if (dice.OneIn(300))
        {
            for (var i = dice.Pick(100, 1_000, 20_000); i > 0; i--)
                input.Add(dice.Pick("*1\r\n", "%1\r\n", "|0\r\n"));
        }
    }

    public override int Run(ReadOnlyMemory<byte> input)
    {
        var bytes = Cut.Body(input).Span;
        var behaviour = HintMessage.Read(bytes, 1, static (_, _) => { }) ? 1 : 2;
        int length;
        try
        {
            length = RespFrame.Measure(bytes);
        }
        catch (RespException)
        {
            return behaviour + 10;
        }

        if (length == 0)
            return behaviour + 20;
        if (length > bytes.Length || RespFrame.Measure(bytes[..length]) != length)
            throw new FindingException($"a reply of {bytes.Length} bytes is measured as {length}");
        foreach (var part in (ReadOnlySpan<int>)[length / 3, length - 1])
        {
            if (RespFrame.Measure(bytes[..part]) != 0)
                throw new FindingException($"{part} bytes of {length} are taken for all");
        }

        return behaviour + Read(bytes[..length]);
    }

    private static int Read(ReadOnlySpan<byte> reply)
    {
        object? answer;
        try
        {
            answer = new RespReader(reply).ReadAny();
        }
        catch (RespException)
        {
            return 30;
        }

        var behaviour = 40 + (reply[0] * 8);
        // a map is a list of lists; what is not is refused before it is looked at
        if (answer is not object?[] { Length: > 0 } parts || parts[0] is not object?[])
            return behaviour;
        foreach (var tls in (ReadOnlySpan<bool>)[false, true])
        {
            try
            {
                RequirePorts(ClusterMap.FromShards(answer, Asked, tls));
                behaviour++;
            }
            catch (RespException)
            {
                // no map
            }
        }

        try
        {
            RequirePorts(ClusterMap.FromSlots(answer, Asked));
            behaviour += 3;
        }
        catch (RespException)
        {
            // no map
        }

        return behaviour;
    }

    private static void RequirePorts(ClusterMap map)
    {
        if (map.Servers.Any(static server => server.Port is < 1 or > 65_535))
            throw new FindingException("a server with no port is taken into the map");
    }

    private static void Reply(Dice dice, InputWriter input, int depth)
    {
        switch (dice.Below(depth > 0 ? 13 : 8))
        {
            case 0:
                input.Add(dice.Pick("+", "-", ",", "(", "?", "")).Add(dice.Name()).Add("\r\n");
                break;
            case 1 or 2:
                input.Add(":").Add(dice.OneIn(2) ? dice.Number() : dice.Pick("0", "16383", "16384", "5460", "6379", "65536")).Add("\r\n");
                break;
            case 3:
                input.Add(dice.Pick("_", "#t", "#f", "#", "$-1", "*-1", "%-1", "*", "$")).Add("\r\n");
                break;
            case 4 or 5 or 6:
                Bulk(input, dice.OneIn(3) ? dice.Name() : dice.Pick("slots", "nodes", "port", "tls-port", "endpoint", "ip", "role", "master", "replica", "health", "online", "fail", "10.0.0.1", "::1", "?"));
                break;
            case 7:
                input.Add(dice.Pick("$", "!", "=")).Add(dice.Number()).Add("\r\n").Add(dice.Name()).Add("\r\n");
                break;
            case 8:
                Shard(dice, input);
                break;
            default:
                var kind = dice.Pick("*", "*", "~", ">", "%", "|");
                var count = dice.Below(5);
                input.Add(kind).Add(dice.OneIn(20) ? dice.Number() : $"{count}").Add("\r\n");
                for (var i = kind is "%" or "|" ? 2 * count : count; i > 0; i--)
                    Reply(dice, input, depth - 1);
                break;
        }
    }

    private static void Shard(Dice dice, InputWriter input)
    {
        input.Add("*1\r\n%2\r\n");
        Bulk(input, "slots");
        input.Add("*2\r\n:").Add(dice.Number()).Add("\r\n:").Add(dice.Number()).Add("\r\n");
        Bulk(input, "nodes");
        input.Add("*1\r\n%3\r\n");
        Bulk(input, "port");
        input.Add(":").Add(dice.Number()).Add("\r\n");
        Bulk(input, "ip");
        Bulk(input, dice.Name());
        Bulk(input, "role");
        Bulk(input, dice.Pick("master", "replica"));
    }

    private static void Bulk(InputWriter input, string text)
    {
        var bytes = new InputWriter().Add(text).Written;
        input.Add($"${bytes.Length}\r\n").Add(bytes).Add("\r\n");
    }

    private static void Hint(Dice dice, InputWriter input)
    {
        input.Add((byte)(dice.OneIn(10) ? 2 : 1)).Add("\0\0\0\0\0\0\0\0");
        for (var i = dice.Below(3); i >= 0; i--)
        {
            var count = dice.Below(5);
            input.Add((byte)dice.Below(6)).Add((byte)count).Add(dice.OneIn(12) ? "\u00FF\u00FF\u00FF" : "\0\0\0");
            for (var j = count * 4; j > 0; j--)
                input.Add((byte)dice.Below(256));
        }
    }
}
