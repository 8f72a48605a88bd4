using System.Xml.Linq;
using Aglow.Server.Tests;

namespace Aglow.Swarm.Tests;

/// <summary><c>deploy/autoscale</c>: what it says, and what it draws. A run of it is in docs/capacity.md.</summary>
public class AutoscaleTests
{
    private static readonly string Script = Path.Combine(AglowProcess.Root, "deploy", "autoscale");

    [Theory]
    [InlineData("--nope", "1", "--nope")]
    [InlineData("--per-node", "many", "many")]
    [InlineData("--least", "9", "--redis")]
    [InlineData("--plot", "/nowhere", "/nowhere")]
    public async Task What_cannot_be_meant_is_said_in_a_line(string flag, string value, string said)
    {
        var (code, output, errors) = await AglowProcess.RunToEndAsync([flag, value], program: Script);
        code.ShouldBe(2, output + errors);
        errors.Trim().ShouldContain(said);
        errors.Trim().Split('\n').Length.ShouldBe(1, errors);
    }

    [Fact]
    public async Task A_log_is_drawn()
    {
        var log = Path.GetTempFileName();
        await File.WriteAllLinesAsync(log,
        [
            "2026-11-22T23:59:58Z nodes on ports 8081 to 8088 behind port 8080, 100 connections each; their logs are in /tmp/x",
            "2026-11-22T23:59:58Z 0 connections, 1 nodes",
            "2026-11-23T00:00:00Z 250 connections, 3 nodes: 2 started",
            "2026-11-23T00:00:02Z 90 connections, 2 nodes: node-3 drains",
        ]);
        var (code, output, errors) = await AglowProcess.RunToEndAsync(["--plot", log], program: Script);
        File.Delete(log);
        code.ShouldBe(0, errors);
        var svg = XDocument.Parse(output);
        XNamespace names = "http://www.w3.org/2000/svg";
        // four seconds in all, three nodes at the most
        svg.Descendants(names + "text").Select(static t => t.Value).ShouldContain("4 s");
        svg.Descendants(names + "polyline").Single().Attribute("points")!.Value.Split(' ').Length.ShouldBe(5);
    }
}
