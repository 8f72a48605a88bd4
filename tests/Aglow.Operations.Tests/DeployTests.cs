using System.Diagnostics;
using System.Text.Json.Nodes;
using System.Text.RegularExpressions;
using Aglow.Diagnostics;

namespace Aglow.Operations.Tests;

/// <summary>The files under <c>deploy/</c>, each checked by the program that reads it, or else for what it must say.</summary>
[Collection(ServersCollection.Name)]
public sealed partial class DeployTests(Servers servers)
{
    private static readonly string Deploy = Path.Combine(AglowProcess.Root, "deploy");
    private static readonly string Rules = Path.Combine(Deploy, "prometheus", "aglow.rules.yml");

    [Theory]
    [InlineData("prometheus/aglow.rules.yml", 10)]
    [InlineData("grafana/dashboards/aglow.json", 35)]
    [InlineData("kubernetes/prometheus-adapter.yaml", 1)]
    public async Task Every_metric_named_is_there(string file, int atLeast)
    {
        var page = await Servers.NamesAsync(servers.Alone);
        foreach (var (name, kind) in await Servers.NamesAsync(servers.Node))
            page[name] = kind;
        foreach (var (name, _) in page.Where(static m => m.Value == "histogram").ToArray())
        {
            foreach (var part in new[] { "_bucket", "_sum", "_count" })
                page[name + part] = "";
        }

        var named = Metric()
            .Matches(await File.ReadAllTextAsync(Path.Combine(Deploy, file)))
            .Select(static m => m.Value)
            .Distinct(StringComparer.Ordinal)
            .ToList();
        named.Count.ShouldBeGreaterThanOrEqualTo(atLeast);
        foreach (var name in named)
            page.Keys.ShouldContain(name);
    }

    [Fact]
    public async Task Prometheus_reads_its_files()
    {
        await RunAsync("promtool", "check", "rules", Rules);
        await RunAsync("promtool", "check", "config", "--syntax-only", Path.Combine(Deploy, "prometheus", "prometheus.yml"));
    }

    [Theory]
    [InlineData("1 1 1 0x10", "0 0 1 1x10", false)] // another node took over
    [InlineData("1 1 1 0x10", "0 0 0 0x10", true)]
    [InlineData("1 1 1 stale", "0 0 0 0x10", true)] // the owner is gone
    public async Task The_alert_of_a_feed_without_an_owner_fires_where_no_node_records_it(string one, string other, bool fires)
    {
        var folder = Directory.CreateTempSubdirectory("aglow-rules-").FullName;
        var test = Path.Combine(folder, "test.yml");
        var expected = fires
            ? "[{exp_labels: {severity: page}, exp_annotations: {summary: 'No node records the feed of changes: the feed, webhooks and "
                + "handlers get no changes', runbook: docs/alerts.md#aglowfeedunowned}}]"
            : "[]";
        await File.WriteAllTextAsync(test, $"""
            rule_files: ['{Rules}']
            evaluation_interval: 15s
            tests:
              - interval: 15s
                input_series:
                  - {"{"}series: 'aglow_feed_owner{"{"}instance="one"{"}"}', values: '{one}'{"}"}
                  - {"{"}series: 'aglow_feed_owner{"{"}instance="other"{"}"}', values: '{other}'{"}"}
                alert_rule_test:
                  - {"{"}eval_time: 3m, alertname: AglowFeedUnowned, exp_alerts: {expected}{"}"}
            """);
        await RunAsync("promtool", "test", "rules", test);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task Every_alert_is_explained_under_its_name()
    {
        var page = await File.ReadAllTextAsync(Path.Combine(AglowProcess.Root, "docs", "alerts.md"));
        var explained = Heading().Matches(page).Select(static m => m.Groups["alert"].Value).ToList();
        var groups = (await YamlAsync(Rules))["groups"]!.AsArray();
        var alerts = groups.SelectMany(static g => g!["rules"]!.AsArray()).ToList();
        explained.Order(StringComparer.Ordinal)
            .ShouldBe(alerts.Select(static a => a!["alert"]!.GetValue<string>()).Order(StringComparer.Ordinal));
        foreach (var alert in alerts)
        {
            alert!["annotations"]!["summary"]!.GetValue<string>().ShouldNotBeEmpty();
            alert["annotations"]!["runbook"]!.GetValue<string>()
                .ShouldBe($"docs/alerts.md#{alert["alert"]!.GetValue<string>().ToLowerInvariant()}");
        }
    }

    [Fact]
    public async Task Every_panel_of_the_dashboard_asks_for_something()
    {
        var dashboard = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(Deploy, "grafana", "dashboards", "aglow.json")))!;
        var panels = dashboard["panels"]!.AsArray();
        panels.Select(static p => p!["id"]!.GetValue<int>()).ShouldBeUnique();
        foreach (var panel in panels.Where(static p => p!["type"]!.GetValue<string>() != "row"))
            panel!["targets"]!.AsArray().ShouldNotBeEmpty();
        foreach (
            var file in Directory.EnumerateFiles(Path.Combine(Deploy, "grafana", "provisioning"), "*.yaml", SearchOption.AllDirectories))
            (await YamlAsync(file))["apiVersion"]!.GetValue<int>().ShouldBe(1);
    }

    [Fact]
    public async Task Systemd_reads_its_unit()
    {
        // what it starts must be there, and here it is not installed
        var folder = Directory.CreateTempSubdirectory("aglow-unit-").FullName;
        var unit = Path.Combine(folder, "aglow.service");
        var text = await File.ReadAllTextAsync(Path.Combine(Deploy, "systemd", "aglow.service"));
        text.ShouldContain("=/usr/bin/aglow-server serve");
        await File.WriteAllTextAsync(
            unit, text.Replace("/usr/bin/aglow-server", "/bin/true").Replace("man:aglow(1)", "https://aglow.example"));
        (await RunAsync("systemd-analyze", "verify", unit)).ShouldNotContain("aglow.service");
        int.Parse(StopSeconds().Match(text).Groups["seconds"].Value).ShouldBeGreaterThan(await SecondsToStopAsync());
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task The_compose_file_hangs_together_and_HAProxy_reads_what_it_makes()
    {
        var compose = await YamlAsync(Path.Combine(Deploy, "docker", "compose.yaml"));
        var services = compose["services"]!.AsObject();
        services.Select(static s => s.Key).ShouldBe(
            [
                "node-1", "node-2", "node-3", "haproxy", "redis-1", "redis-2", "redis-3", "redis-4", "redis-5", "redis-6", "cluster",
                "keys", "postgres", "prometheus", "grafana"], ignoreOrder: true);
        foreach (var (name, service) in services)
        {
            var needs =
                service!["depends_on"] is JsonArray list ? list.Select(
                    static n => n!.GetValue<string>()) : service["depends_on"] is JsonObject map ? map.Select(static n => n.Key) : [];
            needs.ShouldBeSubsetOf(services.Select(static s => s.Key));
            foreach (var secret in service["secrets"]?.AsArray() ?? [])
                compose["secrets"]![secret!.GetValue<string>()]!["file"]!.GetValue<string>().ShouldBe($"secrets/{secret}");
            foreach (var volume in service["volumes"]?.AsArray().Select(static v => v!.GetValue<string>().Split(':')[0]) ?? [])
            {
                if (volume.StartsWith('.'))
                    Path.Exists(Path.Combine(Deploy, "docker", volume)).ShouldBeTrue($"{name} mounts {volume}");
                else
                    compose["volumes"]!.AsObject().Select(static v => v.Key).ShouldContain(volume);
            }

            // a reader of the file on a shared machine must not open it to the network
            foreach (var port in service["ports"]?.AsArray() ?? [])
                port!.GetValue<string>().ShouldStartWith("127.0.0.1:");
        }

        var node = services["node-1"]!;
        await SettingsAreThereAsync(node["environment"]!.AsObject().Select(static v => v.Key));
        int.Parse(node["stop_grace_period"]!.GetValue<string>().TrimEnd('s')).ShouldBeGreaterThan(await SecondsToStopAsync());
        var folder = Directory.CreateTempSubdirectory("aglow-haproxy-").FullName;
        var made = Path.Combine(folder, "haproxy.cfg");
        var edit = Sed()
            .Match(services["haproxy"]!["command"]!.GetValue<string>()).Value.Replace("/haproxy.cfg", Path.Combine(Deploy, "haproxy.cfg"));
        edit.ShouldStartWith("sed -e");
        await File.WriteAllTextAsync(made, await RunAsync("sh", "-c", edit));
        (await File.ReadAllTextAsync(made)).ShouldContain("server node-3 node-3:8080 resolvers machine init-addr none");
        await RunAsync("haproxy", "-c", "-f", made);
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public async Task The_manifests_hang_together()
    {
        var all = (await YamlsAsync(Path.Combine(Deploy, "kubernetes", "aglow.yaml")))
            .ToDictionary(static m => m!["kind"]!.GetValue<string>(), static m => m!, StringComparer.Ordinal);
        all.Keys.ShouldBe(["Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"], ignoreOrder: true);
        var deployment = all["Deployment"]["spec"]!;
        var pod = deployment["template"]!["spec"]!;
        var node = pod["containers"]![0]!;
        var labels = deployment["template"]!["metadata"]!["labels"]!.ToJsonString();
        deployment["selector"]!["matchLabels"]!.ToJsonString().ShouldBe(labels);
        all["Service"]["spec"]!["selector"]!.ToJsonString().ShouldBe(labels);
        all["PodDisruptionBudget"]["spec"]!["selector"]!["matchLabels"]!.ToJsonString().ShouldBe(labels);
        all["NetworkPolicy"]["spec"]!["podSelector"]!["matchLabels"]!.ToJsonString().ShouldBe(labels);
        pod["affinity"]!["podAntiAffinity"]!.ToJsonString().ShouldContain(labels);
        var target = all["HorizontalPodAutoscaler"]["spec"]!["scaleTargetRef"]!;
        (target["kind"]!.ToString(), target["name"]!.ToString())
            .ShouldBe(("Deployment", all["Deployment"]["metadata"]!["name"]!.ToString()));
        all["HorizontalPodAutoscaler"].ToJsonString().ShouldContain("\"aglow_connections\"");
        // the autoscaler's, not the file's
        deployment["replicas"].ShouldBeNull();

        // a node may take as long as it needs to stop
        var hook = node["lifecycle"]!["preStop"]!["sleep"]!["seconds"]!.GetValue<int>();
        pod["terminationGracePeriodSeconds"]!.GetValue<int>().ShouldBeGreaterThan(hook + await SecondsToStopAsync());

        foreach (var probe in new[] { "startupProbe", "readinessProbe", "livenessProbe" })
            (await servers.Alone.Http.GetAsync(node[probe]!["httpGet"]!["path"]!.GetValue<string>()))
                .IsSuccessStatusCode.ShouldBeTrue(probe);
        await SettingsAreThereAsync(node["env"]!.AsArray().Select(static v => v!["name"]!.GetValue<string>()));
        (await YamlAsync(Path.Combine(Deploy, "kubernetes", "kustomization.yaml")))["resources"]!.ToJsonString()
            .ShouldBe("""["aglow.yaml"]""");
    }

    [Fact]
    public async Task The_image_has_settings_that_are_there()
    {
        var lines = await File.ReadAllLinesAsync(Path.Combine(Deploy, "docker", "Dockerfile"));
        var settings = lines.SelectMany(static line => Variable().Matches(line))
            .Select(static m => m.Value)
            .Where(static v => v is not ("AGLOW_" or "AGLOW_VERSION"))
            .Distinct(StringComparer.Ordinal);
        await SettingsAreThereAsync(settings);
    }

    // What a node may take from being told to stop to its end, and a margin.
    private static async Task<int> SecondsToStopAsync()
    {
        var stop = int.Parse(StopAtMost().Match(await File.ReadAllTextAsync(
            Path.Combine(AglowProcess.Root, "src", "Aglow.Server", "ServerProcess.cs"))).Groups["seconds"].Value);
        var drain = int.Parse(DrainSecondsOfMany().Match(await File.ReadAllTextAsync(
            Path.Combine(AglowProcess.Root, "src", "Aglow.AspNetCore", "Hosting", "PresenceHost.cs"))).Groups["seconds"].Value);
        return stop + drain + 5;
    }

    private static async Task SettingsAreThereAsync(IEnumerable<string> variables)
    {
        var help = (await AglowProcess.RunToEndAsync(["serve", "--help"])).Output;
        foreach (var variable in variables.Where(static v => v.StartsWith("AGLOW_", StringComparison.Ordinal)))
            help.ShouldContain($"--{variable["AGLOW_".Length..].ToLowerInvariant().Replace('_', '-')} ");
    }

    private static async Task<JsonNode> YamlAsync(string file) => (await YamlsAsync(file)).Single()!;

    private static async Task<JsonArray> YamlsAsync(string file) =>
        JsonNode.Parse(await RunAsync(
            "python3", "-c", "import json, sys, yaml; json.dump(list(yaml.safe_load_all(open(sys.argv[1]))), sys.stdout)",
            file))!.AsArray();

    // Its output, where it succeeds; what it says is wrong, where it does not.
    private static async Task<string> RunAsync(string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(), process.StandardError.ReadToEndAsync());
        await process.WaitForExitAsync();
        process.ExitCode.ShouldBe(0, $"{program} {string.Join(' ', arguments)}: {await output}{await errors}");
        return program == "systemd-analyze" ? await errors : await output;
    }

    [GeneratedRegex(@"\b(aglow|process|dotnet)_[a-z_]+\b", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Metric();

    [GeneratedRegex(@"^### (?<alert>Aglow\w+)$", RegexOptions.ExplicitCapture | RegexOptions.Multiline, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Heading();

    [GeneratedRegex(
        @"sed -e .*?/haproxy\.cfg(?= >)", RegexOptions.ExplicitCapture | RegexOptions.Singleline, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Sed();

    [GeneratedRegex(@"StopAtMost = TimeSpan\.FromSeconds\((?<seconds>\d+)\)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex StopAtMost();

    [GeneratedRegex(@"DrainSecondsOfMany = (?<seconds>\d+)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex DrainSecondsOfMany();

    [GeneratedRegex(
        @"^TimeoutStopSec=(?<seconds>\d+)s$", RegexOptions.ExplicitCapture | RegexOptions.Multiline, matchTimeoutMilliseconds: 1000)]
    private static partial Regex StopSeconds();

    [GeneratedRegex(@"AGLOW_[A-Z_]*", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Variable();
}
