using System.Net;
using System.Text;
using Aglow.Model;
using Aglow.Server;
using Microsoft.Extensions.Configuration;

namespace Aglow.Fuzz.Targets;

/// <summary>
/// Settings and definitions from variables. A wrong value must cause a one-line error, and the server must start with an accepted one.
/// </summary>
internal sealed class SettingsTarget : RuleTarget
{
    private static readonly IConfiguration NoFiles = new ConfigurationBuilder().Build();

    public override string Name => "settings";

    public override string Feeds => "ServeSettings, AglowOptions, Definitions, RedisAddress, Addresses";

    public override int PerTurn => 256;

    public override void Make(Dice dice, InputWriter input)
    {
        input.Add((byte)0);
        for (var i = dice.Below(4); i >= 0; i--)
        {
            if (dice.OneIn(3))
                input.Add("DEFINITIONS__")
                    .Add(dice.OneIn(2) ? dice.Pick("chat", "active", "gamers", "x-1", "Bad Name") : dice.Name())
                    .Add("__")
                    .Add(dice.Pick("PULSE_SECONDS", "ACTIVITY_SECONDS", "ENDED_BY_LEAVE", "X"));
            else
                input.Add(dice.OneIn(12) ? dice.Name() : ServeSettings.All[dice.Below(ServeSettings.All.Count)].Name);
            input.Add("=").Add(Value(dice)).Add("\n");
        }
    }

    public override int Run(ReadOnlyMemory<byte> input)
    {
        var options = new ServeOptions { Files = NoFiles };
        var behaviour = 3;
        foreach (var line in Encoding.UTF8.GetString(Cut.Body(input).Span).Split('\n', StringSplitOptions.RemoveEmptyEntries))
        {
            var (name, value) = line.IndexOf('=') is >= 0 and var at ? (line[..at], line[(at + 1)..]) : (line, "");
            try
            {
                behaviour = (behaviour * 5) + (ServeSettings.TryApply(options, name.Split("__"), value, "it") ? 1 + (name.Length * 7) : 2);
            }
            catch (UsageException wrong)
            {
                RequireText(wrong.Message);
                behaviour = (behaviour * 5) + 3 + name.Length;
            }
        }

        var said = options.Presence.Validate();
        foreach (var wrong in said)
            RequireText(wrong);
        if (said.Count > 0)
            return (behaviour * 31) + said.Count;
        if (new Definitions(options.Presence).Find(Definition.DefaultName)!.PulseSeconds != options.Presence.Lease)
            throw new FindingException("chat is not the lease");
        return options.Redis is { EndPoints: var servers } && servers.OfType<DnsEndPoint>().Any(static server => server.Host.Length == 0)
            ? throw new FindingException("a server without a host is taken")
            : behaviour;
    }

    private static void RequireText(string message)
    {
        if (message.Length < 8)
            throw new FindingException($"\"{message}\" says nothing");
    }

    private static string Value(Dice dice) => dice.Below(5) switch
    {
        0 => dice.Pick(
            "http://127.0.0.1:8080", "http://*:80", "https://[::1]:1", "http://", "http://a:99999", "ftp://a", "http://a/b", ",",
            "http://a,http://b"),
        1 => dice.Pick(
            "127.0.0.1:6379", "redis://u:p@h:1,[::1]:2", "h:1,ssl=true,password=x,serviceName=s", "rediss://h", "redis://@", "redis://:@h",
            "h:0", "h:65536", "[", "[]:1", "redis://%zz:%00@h", ",", "h:1,,"),
        2 => dice.Name(),
        3 => dice.Pick("true", "false", "True", "yes", "open", "token", "https://a,https://b", "auto"),
        _ => dice.Number(),
    };
}
