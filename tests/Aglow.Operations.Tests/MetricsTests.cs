using System.Text.RegularExpressions;

namespace Aglow.Operations.Tests;

/// <summary>What is measured: that all of it is there, the same on <c>/metrics</c> and by OpenTelemetry, and described.</summary>
[Collection(ServersCollection.Name)]
public sealed partial class MetricsTests(Servers servers)
{
    [Fact]
    public async Task Each_line_is_prometheus_text_and_each_name_is_described_once()
    {
        var text = await servers.Alone.Http.GetStringAsync("/metrics");
        var described = new HashSet<string>(StringComparer.Ordinal);
        foreach (var line in text.TrimEnd('\n').Split('\n'))
        {
            Line().IsMatch(line).ShouldBeTrue(line);
            if (line.StartsWith("# TYPE", StringComparison.Ordinal))
                described.Add(line.Split(' ')[2]).ShouldBeTrue(line);
        }
    }

    [Fact]
    public async Task A_histogram_counts_up_to_all()
    {
        var text = await servers.Alone.Http.GetStringAsync("/metrics");
        var buckets = Bucket().Matches(text).Select(
            static m => (Bound: m.Groups["bound"].Value, Count: long.Parse(m.Groups["count"].Value))).ToList();
        buckets.Count.ShouldBeGreaterThan(10);
        buckets.Select(static b => b.Count).ShouldBeInOrder();
        buckets[^1].Bound.ShouldBe("+Inf");
        // of the same scrape: the next may have more
        text.ShouldContain($"aglow_notification_lag_seconds_count{{kind=\"online\"}} {buckets[^1].Count}\n");
        buckets[^1].Count.ShouldBeGreaterThanOrEqualTo(2);
    }

    [Theory]
    [InlineData("aglow_heartbeats_arrivals_total")]
    [InlineData("aglow_transitions_total{kind=\"online\",reason=\"heartbeat\"}")]
    [InlineData("aglow_transitions_total{kind=\"offline\",reason=\"goodbye\"}")]
    [InlineData("aglow_transitions_total{kind=\"changed\",reason=\"status\"}")]
    [InlineData("aglow_deliveries_total")]
    [InlineData("aglow_frames_total")]
    [InlineData("aglow_notification_lag_seconds_count{kind=\"offline\"}")]
    [InlineData("aglow_flush_size_count{flush=\"journal\"}")]
    [InlineData("aglow_flush_seconds_count{flush=\"frames\"}")]
    [InlineData("aglow_statuses_read_total")]
    [InlineData("aglow_store_reachable")]
    [InlineData("aglow_sweep_interval_seconds")]
    [InlineData("aglow_journal_words_total")]
    [InlineData("aglow_tcp_connections")]
    [InlineData("aglow_tcp_connections_limit")]
    public async Task What_was_done_is_counted(string name) => (await Servers.ValueAsync(servers.Alone, name)).ShouldBeGreaterThan(0);

    [Theory]
    [InlineData("aglow_transitions_total{kind=\"offline\",reason=\"lapse\"}")]
    [InlineData("aglow_heartbeats_renewals_total")]
    [InlineData("aglow_coalesced_total")]
    [InlineData("aglow_staleness_seconds")]
    [InlineData("aglow_outbox_changes")]
    [InlineData("aglow_watches")]
    [InlineData("aglow_connections")]
    [InlineData("aglow_connections_slow")]
    [InlineData("aglow_journal_lag_seconds")]
    [InlineData("aglow_store_errors_total{store=\"journal\"}")]
    [InlineData("aglow_store_errors_total{store=\"directory\"}")]
    [InlineData("aglow_stall_guard_in_force")]
    [InlineData("aglow_tcp_connections_refused_total")]
    public async Task What_an_operator_must_know_is_there(string name) =>
        (await Servers.ValueAsync(servers.Alone, name)).ShouldBeGreaterThanOrEqualTo(0);

    [Fact]
    public async Task A_node_over_Redis_measures_what_it_flushes()
    {
        await Eventually.HoldsAsync(async () => await Servers.ValueAsync(servers.Node, "aglow_flush_size_sum{flush=\"renewals\"}") >= 3);
        (await Servers.ValueAsync(servers.Node, "aglow_store_errors_total{store=\"redis\"}")).ShouldBe(0);
        (await Servers.ValueAsync(servers.Node, "aglow_heartbeats_renewals_total")).ShouldBe(3);
    }

    [Fact]
    public async Task A_lapse_is_a_transition()
    {
        await servers.Alone.Http.PostAsync(
            "/heartbeat", new StringContent("""{"user_id":99}""", System.Text.Encoding.UTF8, "application/json"));
        await Eventually.HoldsAsync(
            async () => await Servers.ValueAsync(servers.Alone, "aglow_transitions_total{kind=\"offline\",reason=\"lapse\"}") >= 1);
    }

    [Fact]
    public async Task By_OpenTelemetry_come_the_same_instruments_as_are_on_the_page()
    {
        var page = await Servers.NamesAsync(servers.Alone);
        foreach (var (name, kind) in await Servers.NamesAsync(servers.Node))
            page[name] = kind;
        // an instrument without a record is not sent; sums and gauges always have one
        Dictionary<string, string> Sent() => servers.Collector.Metrics.ToDictionary(
            static m => m.Key.Replace('.', '_')
                + (m.Value == "sum" ? "_total" : ""), static m => m.Value == "sum" ? "counter" : m.Value, StringComparer.Ordinal);
        await Eventually.HoldsAsync(() => Sent().Count >= page.Count);
        Sent().OrderBy(static m => m.Key, StringComparer.Ordinal).ShouldBe(page.OrderBy(static m => m.Key, StringComparer.Ordinal));
        servers.Collector.Resource["service.name"].ShouldBe("aglow");
        servers.Collector.Resource["deployment.environment"].ShouldBe("test");
    }

    [Fact]
    public async Task Calls_are_traced_but_for_heartbeats_probes_and_streams()
    {
        await Eventually.HoldsAsync(
            () => servers.Collector.Spans.ContainsKey("DELETE /users/{user}") && servers.Collector.Spans.ContainsKey("GET /status/{user}"));
        servers.Collector.Spans.Keys.ShouldContain("read words");
        servers.Collector.Spans.Keys.ShouldNotContain(
            static name => name.Contains("heartbeat") || name.Contains("metrics") || name.Contains("/ws") || name.Contains("health"));
    }

    [Fact]
    public async Task Every_metric_is_described_and_none_that_is_not_there()
    {
        var page = await Servers.NamesAsync(servers.Alone);
        foreach (var (name, kind) in await Servers.NamesAsync(servers.Node))
            page[name] = kind;
        var described = Described().Matches(await File.ReadAllTextAsync(Path.Combine(AglowProcess.Root, "docs", "metrics.md"))).Select(
            static m => m.Groups["name"].Value);
        described.Order(StringComparer.Ordinal).ShouldBe(page.Keys.Order(StringComparer.Ordinal));
    }

    [GeneratedRegex(
        """^(# HELP [a-z_]+ .+|# TYPE [a-z_]+ (counter|gauge|histogram)|[a-z_]+(\{[a-z]+="[^"]*"(,[a-z]+="[^"]*")*\})? -?[0-9.E+-]+)$""",
        RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Line();

    [GeneratedRegex(
        """aglow_notification_lag_seconds_bucket\{kind="online",le="(?<bound>[^"]+)"\} (?<count>\d+)""", RegexOptions.ExplicitCapture,
        matchTimeoutMilliseconds: 1000)]
    private static partial Regex Bucket();

    [GeneratedRegex(
        """^\| `(?<name>(aglow|process|dotnet)_[a-z_]+)""", RegexOptions.ExplicitCapture | RegexOptions.Multiline,
        matchTimeoutMilliseconds: 1000)]
    private static partial Regex Described();
}
