using System.Text.Json;

namespace Aglow.Plan.Tests;

/// <summary>The command as people type it: right ones, and wrong ones that are answered in one clear line.</summary>
public sealed class PlanCommandTests
{
    [Fact]
    public void Counts_times_and_sizes_are_read_as_people_write_them()
    {
        var demand = Read(
            "--active",
            "500k",
            "--registered",
            "1b",
            "--heartbeat",
            "15s",
            "--session",
            "20m",
            "--node-memory",
            "16g",
            "--busy",
            "60").Demand;

        demand.Active.ShouldBe(500_000);
        demand.Registered.ShouldBe(1e9);
        demand.HeartbeatSeconds.ShouldBe(15);
        demand.SessionSeconds.ShouldBe(1200);
        demand.NodeBytes.ShouldBe(16e9);
        demand.Busy.ShouldBe(0.6);
        demand.Sockets.ShouldBe(500_000);
    }

    [Theory]
    [InlineData("--active lots", "--active lots: write a number")]
    [InlineData("--active 0", "--active 0: write a number")]
    [InlineData("--heartbeat 10x", "--heartbeat 10x: write a time")]
    [InlineData("--arrival pigeon", "choose from sockets, http, packed")]
    [InlineData("--format pdf", "choose from table, json, markdown")]
    [InlineData("--active 5m --registered 1m", "set at least the 5,000,000 active users")]
    [InlineData("--active 5 --sockets 6 --arrival packed", "set at most the 5 active users")]
    [InlineData("--sockets 10", "set --arrival http or packed")]
    [InlineData("--session 5s", "shorter than a heartbeat interval")]
    [InlineData("--busy 100", "write a number from 5 to 95")]
    public void A_wrong_flag_is_one_line_that_says_what_to_write(string line, string says)
    {
        var wrong = Should.Throw<UsageException>(() => Read(line.Split(' '))).Message;

        wrong.ShouldContain(says);
        wrong.ShouldNotContain("\n");
    }

    [Fact]
    public void An_unknown_flag_is_an_error()
    {
        new PlanCommand().Create(_ => 0).Parse(["--activ", "5m"]).Errors.ShouldNotBeEmpty();
    }

    [Fact]
    public void The_constants_and_prices_that_come_with_it_make_a_plan_in_every_format()
    {
        foreach (var format in Enum.GetNames<Format>())
        {
            var report = Report.Of(Read("--format", format, "--explain"));

            report.ShouldContain("heartbeats");
            if (format == nameof(Format.Json))
                JsonDocument.Parse(report).RootElement.GetProperty("figures").GetArrayLength().ShouldBeGreaterThan(20);
            else
                report.ShouldContain("5,000,000 / 10 = 500,000");
        }
    }

    [Fact]
    public void Prices_with_comments_are_read_and_a_wrong_one_is_named()
    {
        var folder = Directory.CreateTempSubdirectory("aglow-plan-");
        try
        {
            var shipped = File.ReadAllText(Path.Combine(AppContext.BaseDirectory, "prices.json"));
            var file = Path.Combine(folder.FullName, "mine.json");
            File.WriteAllText(file, shipped.Replace("\"node_month\": 70", "\"node_month\": -1 /* a gift */"));
            Should.Throw<UsageException>(() => Prices.Load(file)).Message.ShouldBe(
                $"{file}: node_month is -1: a price is a number from 0 up.");

            File.WriteAllText(file, shipped.Replace("\"node_month\"", "\"nod_month\""));
            Should.Throw<UsageException>(() => Prices.Load(file)).Message.ShouldContain("nod_month");

            Should.Throw<UsageException>(() => Prices.Load(file + ".not")).Message.ShouldContain("cannot be read");
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    [Fact]
    public void Every_constant_says_how_it_is_known()
    {
        var constants = Constants.Load(Path.Combine(AppContext.BaseDirectory, "constants.json"));

        constants.MeasuredAt.ShouldNotBeNullOrEmpty();
        constants.Machine.ShouldNotBeNullOrEmpty();
        foreach (var (key, constant) in constants.All)
            (constant.From.StartsWith("./aglow bench", StringComparison.Ordinal) || constant.From.Length > 20)
                .ShouldBeTrue($"{key} does not say where it is from");
        constants.All.Keys.Order().ShouldBe(CapacityTests.Round.All.Keys.Order());
    }

    private static PlanOptions Read(params string[] args)
    {
        PlanOptions? options = null;
        var parsed = new PlanCommand().Create(o =>
        {
            options = o;
            return 0;
        }).Parse(args);
        parsed.Errors.ShouldBeEmpty();
        parsed.Invoke(new() { EnableDefaultExceptionHandler = false });
        return options!;
    }
}
