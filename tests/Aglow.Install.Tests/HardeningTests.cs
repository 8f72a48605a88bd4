using System.Text.Json.Nodes;
using System.Text.RegularExpressions;

namespace Aglow.Install.Tests;

/// <summary>What a taken-over server could do, and where secrets could be seen.</summary>
public sealed partial class HardeningTests
{
    [Fact]
    public async Task The_exposure_of_the_unit_is_below_one_and_a_half()
    {
        // in tenths
        await Tool.RunAsync("systemd-analyze", "security", "--offline=yes", "--threshold=14", Unit.Path);
    }

    [Fact]
    public async Task The_server_makes_no_system_call_that_its_unit_forbids()
    {
        var forbidden = new SortedSet<string>(StringComparer.Ordinal);
        var allowed = new HashSet<string>(StringComparer.Ordinal);
        foreach (var filter in Unit.All("SystemCallFilter"))
        {
            foreach (var set in filter.TrimStart('~').Split(' '))
            {
                if (filter[0] == '~')
                    allowed.ExceptWith(await CallsOfAsync(set));
                else
                    allowed.UnionWith(await CallsOfAsync(set));
            }
        }

        Unit.One("MemoryDenyWriteExecute").ShouldBe("yes");
        var folder = Directory.CreateTempSubdirectory("aglow-calls-").FullName;
        var log = Path.Combine(folder, "calls");
        // not as root, because SQLite then hands its files to the owner of the folder; where any user finds them
        var program = Path.Combine(folder, "aglow-server");
        File.Copy(Path.Combine(await Published.FolderAsync(), "aglow-server"), program);
        await Tool.RunAsync("chmod", "777", folder);
        string[] nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
        string[] serve = [program, "serve", "--urls", "http://127.0.0.1:0", "--data", Path.Combine(folder, "data")];
        await using (var server = await Service.StartAsync([.. nobody, "strace", "-f", "-qq", "-D", "-o", log, .. serve]))
        {
            await server.AnswersAsync();
            (await server.StopAsync()).ShouldBe(0, server.Output);
        }

        var lines = (await Tool.RunAsync([.. Tool.AsRoot, "cat", log])).Split('\n');
        foreach (var call in lines.Select(static line => Call().Match(line)).Where(static m => m.Success))
        {
            var (name, rest) = (call.Groups["name"].Value, call.Groups["rest"].Value);
            var makesCode = name switch
            {
                "mmap" => rest.Contains("PROT_WRITE|PROT_EXEC", StringComparison.Ordinal),
                "mprotect" or "pkey_mprotect" => rest.Contains("PROT_EXEC", StringComparison.Ordinal),
                _ => false,
            };
            if (makesCode || !allowed.Contains(name))
                forbidden.Add(call.Value);
        }

        lines.Length.ShouldBeGreaterThan(500);
        forbidden.ShouldBeEmpty();
        await Tool.RunAsync([.. Tool.AsRoot, "rm", "-rf", folder]);
    }

    [Fact]
    public async Task No_manifest_has_a_secret_in_a_variable_or_on_a_command_line()
    {
        var found = new List<string>();
        var (one, many) = (await Manifests.RenderAsync(), await Manifests.RenderAsync("--set", "redis=redis-1:6379"));
        foreach (var yaml in new[] { one, many, await Manifests.KustomizeAsync() })
            Collect(await Manifests.ObjectsAsync(yaml), found);

        Collect((await Manifests.ObjectsAsync(await File.ReadAllTextAsync(Published.Deploy("docker", "compose.yaml")))).Single(), found);
        var image = Dockerfile.Read();
        found.AddRange([.. image.Variables, .. image.EntryPoint]);
        found.AddRange([.. Unit.All("Environment"), .. Unit.All("EnvironmentFile"), .. Unit.All("ExecStart")]);
        found.Count.ShouldBeGreaterThan(30);
        found.Where(IsSecret).ShouldBeEmpty();
        // and the rule finds them
        foreach (var wrong in new[] { "AGLOW_JWT_SECRET", "AGLOW_REDIS_PASSWORD=x", "serve --jwt-secret x", "redis://:x@redis" })
            IsSecret(wrong).ShouldBeTrue(wrong);
    }

    // a path of a secret is none
    private static bool IsSecret(string text) => Secret().IsMatch(SecretPath().Replace(text, ""));

    // Variables (name and value), commands and arguments, wherever an object has them.
    private static void Collect(JsonNode? node, List<string> found)
    {
        if (node is JsonArray items)
        {
            foreach (var item in items)
                Collect(item, found);
        }
        else if (node is JsonObject members)
        {
            foreach (var (name, value) in members)
            {
                if (name is "command" or "args" or "entrypoint" && value is not null)
                    found.Add(value.ToString());
                else if (name is "environment" && value is JsonObject variables)
                    found.AddRange(variables.Select(static v => $"{v.Key}={v.Value}"));
                else if (name is "env" && value is JsonArray list)
                    found.AddRange(list.Select(static v => $"{v!["name"]}={v["value"]?.ToString() ?? v["valueFrom"]!.ToJsonString()}"));
                else if (name is "envFrom")
                    found.Add("a secret of envFrom");
                else
                    Collect(value, found);
            }
        }
    }

    private static async Task<HashSet<string>> CallsOfAsync(string set)
    {
        var calls = new HashSet<string>(StringComparer.Ordinal);
        if (set[0] != '@')
            return [set];
        var lines = (await Tool.RunAsync("systemd-analyze", "syscall-filter", set)).Split('\n').Skip(1);
        foreach (var line in lines.Select(static l => l.Trim()))
        {
            if (line.Length > 0 && line[0] is not '#')
                calls.UnionWith(line[0] == '@' ? await CallsOfAsync(line) : [line]);
        }

        return calls;
    }

    // AGLOW_SECRETS is a folder, and a variable that ends in FILE names a file
    [GeneratedRegex(
        @"(secret|password)(?!s=|_?_FILE=)|://[^@/ ]*:[^@/ ]+@", RegexOptions.ExplicitCapture | RegexOptions.IgnoreCase,
        matchTimeoutMilliseconds: 1000)]
    private static partial Regex Secret();

    [GeneratedRegex(@"/run/secrets\S*", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex SecretPath();

    [GeneratedRegex(@"^\d+ +(?<name>[a-z_0-9]+)\((?<rest>.*)", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Call();
}
