using System.Reflection;
using System.Text.RegularExpressions;
using System.Xml.Linq;
using NetArchTest.Rules;

namespace Aglow.Tests;

/// <summary>Dependencies go one way: a folder of src uses only folders before it, and a project uses only projects before it.</summary>
public class LayerTests
{
    // Each folder uses only those before it in its list. The root of a project comes last.
    private static readonly Dictionary<string, string[]> Folders = new()
    {
        ["Aglow"] =
        [
            "Model", "Diagnostics", "Storage", "Files", "Sqlite", "Durable", "Heartbeats", "Sweeping", "Users", "Queries", "Watching",
            "Changes", "Changes.Shared", "Changes.Webhooks", "Repair", "Demo", "",
        ],
        ["Aglow.Redis"] = ["Connections", "Words", "Hints", "Agreement", "Replicas", "Changes", ""],
        ["Aglow.Postgres"] = [""],
        ["Aglow.AspNetCore"] = ["Http", "Proxies", "Access", "Bodies", "Sockets", "Hosting", "Hubs", "Endpoints", ""],
        ["Aglow.Aspire.Hosting"] = [""],
        ["Aglow.Client"] = [""],
        ["Aglow.Client.Extensions"] = [""],
        ["Aglow.Server"] = ["Pages", "Reference", ""],
        ["Aglow.Templates"] = [""],
        ["Aglow.Tool"] = [""],
    };

    private static readonly Dictionary<string, string[]> References = new()
    {
        ["Aglow"] = [],
        ["Aglow.Redis"] = ["Aglow"],
        ["Aglow.Postgres"] = ["Aglow"],
        ["Aglow.AspNetCore"] = ["Aglow"],
        ["Aglow.Server"] = ["Aglow.AspNetCore", "Aglow.Postgres", "Aglow.Redis"],
        ["Aglow.Client"] = [],
        ["Aglow.Client.Extensions"] = ["Aglow.Client"],
        ["Aglow.Aspire.Hosting"] = [],
        ["Aglow.Templates"] = [],
        ["Aglow.Tool"] = ["Aglow.Plan", "Aglow.Server", "Aglow.Swarm"],
    };

    private static readonly string Source = Path.Combine(Root(), "src");

    [Theory]
    [InlineData("Aglow")]
    [InlineData("Aglow.Redis")]
    [InlineData("Aglow.AspNetCore")]
    public void A_folder_uses_only_folders_before_it(string project)
    {
        var assembly = Assembly.Load(project);
        var folders = Folders[project];
        var wrong = new List<string>();
        for (var i = 0; i < folders.Length - 1; i++)
        {
            var result = Types.InAssembly(assembly)
                .That().ResideInNamespaceMatching($"^{Regex.Escape(NamespaceOf(project, folders[i]))}$")
                .ShouldNot().HaveDependencyOnAny([.. folders.Skip(i + 1).SelectMany(folder => NamesIn(NamespaceOf(project, folder)))])
                .GetResult();
            wrong.AddRange(result.FailingTypeNames ?? []);
        }

        wrong.ShouldBeEmpty($"These types of {project} use a folder that comes later. Move what they use, or pass them less.");

        IEnumerable<string> NamesIn(string name) =>
            assembly.GetTypes().Where(type => type.Namespace == name && !type.IsNested).Select(static type => type.FullName!);
    }

    [Fact]
    public void Every_folder_is_listed_and_its_namespace_follows_it()
    {
        var wrong = new List<string>();
        foreach (var (project, folders) in Folders)
        {
            foreach (var file in SourcesOf(project))
            {
                var folder = Path.GetDirectoryName(Path.GetRelativePath(Path.Combine(Source, project), file))!.Replace('/', '.');
                var line = File.ReadLines(file).FirstOrDefault(static line => line.StartsWith("namespace ", StringComparison.Ordinal));
                var name = line?["namespace ".Length..^1] ?? "";
                // extension methods are in the namespaces where callers look for them; Program.cs has none
                var isElsewhere = name.StartsWith("Microsoft.", StringComparison.Ordinal)
                    || name.StartsWith("Aspire.", StringComparison.Ordinal)
                    || name.Length == 0 || project == "Aglow.Client.Extensions";
                if (!folders.Contains(folder) || !(isElsewhere || name == NamespaceOf(project, folder)))
                    wrong.Add($"{Path.GetRelativePath(Source, file)}: namespace {name}");
            }
        }

        wrong.ShouldBeEmpty();
        Directory.GetDirectories(Source).Select(Path.GetFileName).ShouldBe(Folders.Keys, ignoreOrder: true);
    }

    [Fact]
    public void A_project_uses_only_projects_before_it_and_opens_its_internals_to_no_other_package()
    {
        foreach (var project in Folders.Keys)
        {
            var file = XDocument.Load(Path.Combine(Source, project, $"{project}.csproj"));
            Includes("ProjectReference").Select(Path.GetFileNameWithoutExtension).ShouldBe(References[project], ignoreOrder: true, project);
            // aglow-server is not a package: it is built and shipped together with Aglow.AspNetCore
            Includes("InternalsVisibleTo").ShouldNotContain(name => Folders.ContainsKey(name), project);

            IEnumerable<string> Includes(string item) => file.Descendants(item).Select(static one => one.Attribute("Include")!.Value);
        }
    }

    private static string NamespaceOf(string project, string folder) => folder.Length == 0 ? project : $"{project}.{folder}";

    internal static IEnumerable<string> SourcesOf(string project) =>
        Directory.EnumerateFiles(Path.Combine(Source, project), "*.cs", SearchOption.AllDirectories)
            .Where(file => Path.GetRelativePath(Path.Combine(Source, project), file) is var path
                && !path.StartsWith("obj", StringComparison.Ordinal) && !path.StartsWith("bin", StringComparison.Ordinal));

    private static string Root()
    {
        var folder = AppContext.BaseDirectory;
        while (!File.Exists(Path.Combine(folder, "Aglow.slnx")))
            folder = Path.GetDirectoryName(folder)!;
        return folder;
    }
}
