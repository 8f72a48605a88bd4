using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Aglow.Server.Tests;

namespace Aglow.Swarm.Tests;

/// <summary><c>./aglow swarm</c> as people run it, against a server that is right and one that is not.</summary>
public class SwarmTests
{
    private const int First = 5000;

    // a short lease, so that a run of seconds sees lapses
    private static readonly string[] ShortLease = ["--lease-seconds", "4", "--heartbeat-seconds", "2"];

    [Fact]
    public async Task A_right_server_breaks_no_promise()
    {
        await using var server = await AglowProcess.StartAsync(null, ShortLease);
        var folder = Directory.CreateTempSubdirectory("aglow-swarm-tests-");
        var (json, html) = (Path.Combine(folder.FullName, "run.json"), Path.Combine(folder.FullName, "run.html"));
        var (code, output, errors) = await AglowProcess.RunToEndAsync(
            [
                "swarm", "--url", server.Address.ToString(), "--people", "500", "--seconds", "18", "--first", $"{First}", "--seed", "3",
                "--claims", "--devices", "--feed", "--webhook", $"{FreePort()}", "--receiver-down-seconds", "4", "--clients", "5",
                "--quiet-seconds", "18", "--json", json, "--report", html,
            ]);
        code.ShouldBe(0, output + errors);
        output.ShouldContain("0 violations (500 people and 10 with real clients");
        var run = JsonNode.Parse(await File.ReadAllTextAsync(json))!;
        run["passed"]!.GetValue<bool>().ShouldBeTrue();
        run["statuses_decisive"]!.GetValue<long>().ShouldBeGreaterThan(2000);
        run["records_decisive"]!.GetValue<long>().ShouldBeGreaterThan(500);
        run["changes_in_time"]!.GetValue<long>().ShouldBeGreaterThan(100);
        run["claims"]!.GetValue<long>().ShouldBeGreaterThan(100);
        foreach (var backend in new[] { "the feed", "the webhook" })
            run["changes_heard"]![backend]!.GetValue<long>().ShouldBeGreaterThan(200, backend);
        var page = await File.ReadAllTextAsync(html);
        page.ShouldContain("<polyline");
        page.ShouldNotContain("http://www");
        folder.Delete(recursive: true);
    }

    [Fact]
    public async Task Renames_revocations_and_deletions_break_no_promise()
    {
        await using var server = await AglowProcess.StartAsync(null, ShortLease);
        var folder = Directory.CreateTempSubdirectory("aglow-swarm-tests-");
        var json = Path.Combine(folder.FullName, "run.json");
        var (code, output, errors) = await AglowProcess.RunToEndAsync(
            [
                "swarm", "--url", server.Address.ToString(), "--people", "300", "--seconds", "20", "--first", $"{First}", "--seed", "5",
                "--accounts", "--json", json]);
        code.ShouldBe(0, output + errors);
        output.ShouldContain("0 violations (300 people");
        JsonNode.Parse(await File.ReadAllTextAsync(json))!["account_changes"]!.GetValue<long>().ShouldBeGreaterThan(20);
        folder.Delete(recursive: true);
    }

    [Fact]
    public async Task A_lie_about_one_person_is_found_and_named()
    {
        const int People = 100;
        const int Seconds = 8;
        const int Seed = 4;
        // somebody who is there all the time, and whom others watch
        var follows = Plan.Draw(People, Seconds, 1, Seed).SelectMany(static p => p.Follows).ToHashSet();
        var liedAbout = First + Plan.Draw(People, Seconds, 1, Seed).First(p =>
            follows.Contains(p.Person) && p.Sessions is [
                [{ StartAt: < 2, EndAt: > Seconds, Outages: [] or [{ At: > Seconds }, ..] }, ..], ..]).Person;
        await using var server = await AglowProcess.StartAsync(null, ShortLease);
        using var proxy = new LyingProxy(server.Address, (uint)liedAbout);
        var (code, output, errors) = await AglowProcess.RunToEndAsync(
            ["swarm", "--url", proxy.Url, "--people", $"{People}", "--seconds", $"{Seconds}", "--first", $"{First}", "--seed", $"{Seed}"]);
        code.ShouldBe(1, output + errors);
        output.ShouldContain($"VIOLATION false offline: user {liedAbout} ");
        output.ShouldContain("what the person did");
        output.ShouldContain("what was told");
        output.Split('\n').Where(static l => l.StartsWith("VIOLATION", StringComparison.Ordinal)).ShouldAllBe(
            l => l.Contains($"user {liedAbout} "));
    }

    [Fact]
    public async Task Millions_by_packed_heartbeats_are_checked_too()
    {
        await using var server = await AglowProcess.StartAsync(null, ShortLease);
        var (code, output, errors) = await AglowProcess.RunToEndAsync(
            ["swarm", "--url", server.Address.ToString(), "--bulk", "1m", "--seconds", "6"]);
        code.ShouldBe(0, output + errors);
        output.ShouldContain("statuses read");
        output.ShouldContain("0 violations (1,000,000 active of 2,000,000 registered users");
    }

    [Theory]
    [InlineData("--people", "x", "--people x")]
    [InlineData("--people", "0", "--people 0")]
    [InlineData("--url", "nowhere", "--url nowhere")]
    [InlineData("--nope", "1", "--nope")]
    [InlineData("--watchers", "5", "--bulk")]
    [InlineData("--webhook", "x", "--webhook x")]
    public async Task What_cannot_be_meant_is_said_in_a_line(string flag, string value, string said)
    {
        var (code, output, errors) = await AglowProcess.RunToEndAsync(["swarm", flag, value]);
        code.ShouldBe(2, output + errors);
        errors.Trim().ShouldContain(said);
        errors.Trim().Split('\n').Length.ShouldBe(1, errors);
    }

    [Fact]
    public async Task Where_nobody_answers_one_line_says_so()
    {
        var (code, _, errors) = await AglowProcess.RunToEndAsync(["swarm", "--url", "http://127.0.0.1:1", "--seconds", "1"]);
        code.ShouldBe(1);
        errors.Trim().Split('\n').Length.ShouldBe(1, errors);
        errors.ShouldContain("./aglow serve");
    }

    // Below the ports that the kernel gives to connections: one of those may be taken again before the swarm listens on it.
    private static int FreePort()
    {
        while (true)
        {
            try
            {
                using var probe = new TcpListener(IPAddress.Loopback, Random.Shared.Next(20_000, 30_000));
                probe.Start();
                return ((IPEndPoint)probe.LocalEndpoint).Port;
            }
            catch (SocketException)
            {
                // in use
            }
        }
    }
}
