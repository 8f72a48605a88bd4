using System.Text.Json.Nodes;
using k8s;

namespace Aglow.Install.Tests;

/// <summary>The chart and the manifests: rendered by Helm and kubectl, and checked against the schemas of Kubernetes.</summary>
public sealed class ChartTests
{
    private static readonly string[] Many =
        ["--set", "redis=redis-1:6379\\,redis-2:6379", "--set", "postgres=postgres://aglow@postgres:5432/aglow"];

    private static readonly string[] EverythingElse =
    [
        .. Many, .. new[]
        {
            "autoscaling.enabled=false", "networkPolicy.enabled=false", "ingress.enabled=true", "ingress.host=presence.example",
            "ingress.tlsSecret=tls", "ingress.className=nginx", "auth=open", "settings.lease-seconds=60", "settings.known-keys=10000000",
            "imagePullSecrets[0].name=pull", "tolerations[0].operator=Exists", "nodeSelector.zone=a", "priorityClassName=high",
            $"image.digest=sha256:{new string('a', 64)}",
        }.SelectMany(static value => new[] { "--set", value }),
    ];

    /// <summary>Each way of installing, and the kinds of its objects.</summary>
    public static TheoryData<string, string[], string[]> Ways => new()
    {
        { "one node", [], ["NetworkPolicy", "Service", "StatefulSet"] },
        { "many nodes", Many, ["Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service"] },
        { "everything else", EverythingElse, ["Deployment", "Ingress", "PodDisruptionBudget", "Service"] },
        { "kustomize", [], ["Deployment", "HorizontalPodAutoscaler", "NetworkPolicy", "PodDisruptionBudget", "Service"] },
    };

    [Theory]
    [MemberData(nameof(Ways))]
    public async Task Kubernetes_takes_what_is_rendered(string way, string[] flags, string[] kinds)
    {
        var yaml = way == "kustomize" ? await Manifests.KustomizeAsync() : await Manifests.RenderAsync(flags);
        var objects = await Manifests.ObjectsAsync(yaml);
        objects.Select(static o => o!["kind"]!.GetValue<string>()).Order(StringComparer.Ordinal).ShouldBe(kinds);
        (await Manifests.FaultsAsync(objects)).ShouldBeEmpty();
        // the schemas do not refuse unknown members, but the types of the client do
        KubernetesYaml.LoadAllFromString(yaml, strict: true).Count.ShouldBe(kinds.Length);

        foreach (var pod in objects.Select(static o => o!["spec"]!["template"]?["spec"]).OfType<JsonNode>())
            IsHardened(pod);
        // a number must not become 1e+07
        if (way == "everything else")
            yaml.ShouldContain("{ name: AGLOW_KNOWN_KEYS, value: \"10000000\" }");
    }

    [Fact]
    public async Task A_member_that_Kubernetes_does_not_know_is_found()
    {
        var yaml = (await Manifests.RenderAsync()).Replace("enableServiceLinks:", "enableServiceLink:");
        Should.Throw<Exception>(() => KubernetesYaml.LoadAllFromString(yaml, strict: true)).ToString().ShouldContain("enableServiceLink");
        var objects = await Manifests.ObjectsAsync((await Manifests.RenderAsync()).Replace("port: 53,", "port: [53],"));
        (await Manifests.FaultsAsync(objects)).ShouldContain("NetworkPolicy");
    }

    [Fact]
    public async Task The_chart_and_the_manifests_make_the_same_pods()
    {
        static async Task<JsonNode> PodAsync(string yaml) => (await Manifests.ObjectsAsync(yaml))
            .Single(static o => o!["kind"]!.GetValue<string>() == "Deployment")!["spec"]!["template"]!["spec"]!;
        var chart = await PodAsync(await Manifests.RenderAsync(Many));
        var manifest = await PodAsync(await Manifests.KustomizeAsync());
        // selectors are the only difference: labels of a chart have the name of its release
        foreach (var pod in new[] { chart, manifest })
        {
            pod.AsObject().Remove("affinity").ShouldBeTrue();
            pod.AsObject().Remove("topologySpreadConstraints").ShouldBeTrue();
        }

        Sorted(chart).ShouldBe(Sorted(manifest));
    }

    [Fact]
    public async Task Helm_finds_no_fault_in_the_chart_and_packs_it()
    {
        await Tool.RunAsync(Manifests.Helm, "lint", "--strict", Manifests.Chart);
        var folder = Directory.CreateTempSubdirectory("aglow-chart-").FullName;
        string[] version = ["--version", "9.8.7", "--app-version", "9.8.7"];
        await Tool.RunAsync([Manifests.Helm, "package", Manifests.Chart, "--destination", folder, .. version]);
        var package = Directory.GetFiles(folder).ShouldHaveSingleItem();
        (await Tool.RunAsync(Manifests.Helm, "template", "other", package)).ShouldContain("image: \"aglow:9.8.7\"");
        Directory.Delete(folder, recursive: true);
    }

    [Theory]
    [InlineData("replica=2", "additional properties 'replica' not allowed")]
    [InlineData("redis=redis://:hidden@redis-1:6379", "/redis")]
    [InlineData("redis=redis-1:6379\\,password=hidden", "/redis")]
    [InlineData("redis=redis-1:6379,postgres=postgres://aglow:hidden@postgres/aglow", "/postgres")]
    [InlineData("redis=redis-1:6379,postgres=Host=postgres;Password=hidden", "/postgres")]
    [InlineData("postgres=postgres://aglow@postgres/aglow", "/redis")]
    [InlineData("settings.jwt-secret=hidden", "invalid propertyName 'jwt-secret'")]
    [InlineData("settings.LeaseSeconds=60", "invalid propertyName 'LeaseSeconds'")]
    [InlineData("auth=none", "/auth")]
    [InlineData("ingress.enabled=true", "/ingress")]
    [InlineData("image.digest=sha256:abc", "/image/digest")]
    [InlineData("networkPolicy.egressPorts={70000}", "/networkPolicy/egressPorts")]
    public async Task Wrong_values_and_secrets_among_them_are_refused(string value, string expected)
    {
        var (code, _, errors) = await Tool.TryAsync(Manifests.Helm, "template", "aglow", Manifests.Chart, "--set", value);
        code.ShouldBe(1);
        errors.ShouldContain(expected);
    }

    [Fact]
    public async Task The_schema_has_every_value()
    {
        var values = (await Manifests.ObjectsAsync(await File.ReadAllTextAsync(Path.Combine(Manifests.Chart, "values.yaml")))).Single()!;
        var schema = JsonNode.Parse(await File.ReadAllTextAsync(Path.Combine(Manifests.Chart, "values.schema.json")))!;
        // Helm adds "global"
        schema["properties"]!.AsObject().Select(static p => p.Key).Except(["global"]).Order(StringComparer.Ordinal)
            .ShouldBe(values.AsObject().Select(static v => v.Key).Order(StringComparer.Ordinal));
    }

    private static void IsHardened(JsonNode pod)
    {
        pod["automountServiceAccountToken"]!.GetValue<bool>().ShouldBeFalse();
        pod["securityContext"]!["runAsNonRoot"]!.GetValue<bool>().ShouldBeTrue();
        pod["securityContext"]!["runAsUser"]!.ToString().ShouldBe(Dockerfile.Read().User.Split(':')[0]);
        pod["securityContext"]!["seccompProfile"]!["type"]!.GetValue<string>().ShouldBe("RuntimeDefault");
        foreach (var container in pod["containers"]!.AsArray())
        {
            var context = container!["securityContext"]!;
            context["allowPrivilegeEscalation"]!.GetValue<bool>().ShouldBeFalse();
            context["readOnlyRootFilesystem"]!.GetValue<bool>().ShouldBeTrue();
            context["capabilities"]!["drop"]!.ToJsonString().ShouldBe("""["ALL"]""");
            // the image has no program but the server
            container["lifecycle"]!.ToJsonString().ShouldNotContain("exec");
        }
    }

    private static string Sorted(JsonNode? node) => node switch
    {
        JsonObject members => $"{{{Joined(members.Select(static m => $"{m.Key}: {Sorted(m.Value)}"))}}}",
        JsonArray items => $"[{Joined(items.Select(Sorted))}]",
        _ => node?.ToJsonString() ?? "null",
    };

    private static string Joined(IEnumerable<string> parts) => string.Join(",\n", parts.Order(StringComparer.Ordinal));
}
