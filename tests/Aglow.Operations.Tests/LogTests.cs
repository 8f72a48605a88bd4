using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Aglow.Operations.Tests;

/// <summary>Logs: an id for each event, described; JSON where it is asked for; nothing of any user.</summary>
[Collection(ServersCollection.Name)]
public sealed partial class LogTests(Servers servers)
{
    [Fact]
    public void Nothing_of_a_user_is_logged_or_sent()
    {
        servers.Alone.Output.ShouldContain("Ready on");
        servers.Alone.Output.ShouldNotContain(Servers.Mark);
        servers.Alone.Errors.ShouldNotContain(Servers.Mark);
        servers.Node.Output.ShouldNotContain(Servers.Mark);
        servers.Collector.Text.ShouldNotContain(Servers.Mark);
    }

    [Fact]
    public void Each_line_is_an_object_with_a_time_a_level_and_an_id()
    {
        var lines = servers.Alone.Output.TrimEnd('\n').Split('\n').Select(static line => JsonNode.Parse(line)!).ToList();
        lines.ShouldNotBeEmpty();
        foreach (var line in lines)
        {
            line["Timestamp"]!.GetValue<string>().ShouldEndWith("Z");
            line["LogLevel"]!.GetValue<string>().ShouldNotBeNullOrEmpty();
            line["EventId"]!.GetValue<int>().ShouldBeGreaterThan(0);
        }

        var ready = lines.Single(static line => line["EventId"]!.GetValue<int>() == 9001);
        ready["State"]!["LeaseSeconds"]!.ToString().ShouldBe("4");
    }

    [Fact]
    public async Task Every_event_has_an_id_of_its_own_and_is_described_and_none_that_is_not_there()
    {
        var ids = new List<int>();
        foreach (var file in Directory.EnumerateFiles(Path.Combine(AglowProcess.Root, "src"), "*Log.cs", SearchOption.AllDirectories))
            ids.AddRange(Event().Matches(await File.ReadAllTextAsync(file)).Select(static m => int.Parse(m.Groups["id"].Value)));
        ids.Count.ShouldBeGreaterThan(20);
        ids.ShouldBeUnique();
        var described = Described().Matches(await File.ReadAllTextAsync(Path.Combine(AglowProcess.Root, "docs", "log.md"))).Select(
            static m => int.Parse(m.Groups["id"].Value));
        described.Order().ShouldBe(ids.Order());
    }

    [Fact]
    public async Task A_collector_that_is_away_is_said_and_holds_up_nothing()
    {
        await using var server = AglowProcess.Run(
            null, ["--otlp", "http://127.0.0.1:1"], new() { ["OTEL_METRIC_EXPORT_INTERVAL"] = "200" });
        await server.ReadyAsync();
        await Eventually.HoldsAsync(() => server.Output.Contains("[9008]"));
        (await server.StopAsync()).ShouldBe(0);
        server.Output.ShouldContain("[9004]");
    }

    [Theory]
    [InlineData("--otlp", "nonsense")]
    [InlineData("--otlp", "ftp://127.0.0.1:1")]
    [InlineData("--log-format", "xml")]
    public async Task Wrong_usage_is_one_line_and_code_2(string flag, string value)
    {
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["serve", flag, value]);
        code.ShouldBe(2);
        errors.ShouldStartWith($"aglow: {flag} is \"{value}\": set ");
    }

    [GeneratedRegex(@"\[LoggerMessage\(\s*(?<id>\d+),", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Event();

    [GeneratedRegex(@"^\| (?<id>\d{4}) \|", RegexOptions.ExplicitCapture | RegexOptions.Multiline, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Described();
}
