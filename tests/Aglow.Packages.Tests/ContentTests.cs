using System.IO.Compression;
using System.Reflection.Metadata;
using System.Reflection.PortableExecutable;
using System.Text;
using System.Xml.Linq;

namespace Aglow.Packages.Tests;

/// <summary>What every package has.</summary>
[Collection(OnFeed.Name)]
public sealed class ContentTests(Feed feed)
{
    private static readonly Guid SourceLink = new("CC110556-A091-4D38-9FEC-25AB9A351A6A");

    [Fact]
    public void Every_project_of_src_is_a_package_except_the_server() =>
        Packages().Select(static file => Path.GetFileName(file).Split(".0.")[0]).Order().ShouldBe(
            Directory.GetDirectories(Path.Combine(AglowProcess.Root, "src")).Select(static folder => Path.GetFileName(folder))
                .Where(static name => name != "Aglow.Server")
                .Order());

    [Fact]
    public void Every_package_says_what_it_is_and_where_it_comes_from()
    {
        foreach (var file in Packages())
        {
            using var package = ZipFile.OpenRead(file);
            var nuspec = XDocument.Load(package.Entries.Single(static e => Path.GetExtension(e.Name) == ".nuspec").Open());
            string? Said(string name) => nuspec.Descendants().FirstOrDefault(e => e.Name.LocalName == name)?.Value;
            file.ShouldSatisfyAllConditions(
                () => Said("description").ShouldNotBeNullOrEmpty(),
                () => Said("description").ShouldNotBe("Package Description"),
                () => Said("license").ShouldBe("Apache-2.0"),
                () => Said("tags")!.ShouldContain("presence"),
                () => Said("projectUrl").ShouldStartWith("https://"));
            package.GetEntry(Said("icon")!).ShouldNotBeNull(file).Length.ShouldBeInRange(1, 1_000_000);
            using var readme = new StreamReader(package.GetEntry(Said("readme")!).ShouldNotBeNull(file).Open());
            var text = readme.ReadToEnd();
            text.ShouldStartWith($"# {Said("id")}\n");
            // a relative link leads nowhere on a feed
            text.ShouldNotContain("](..");
            var repository = nuspec.Descendants().Single(static e => e.Name.LocalName == "repository");
            repository.Attribute("type")!.Value.ShouldBe("git");
            repository.Attribute("url")!.Value.ShouldStartWith("https://");
            repository.Attribute("commit")!.Value.Length.ShouldBe(40);
        }
    }

    [Fact]
    public void Everything_that_is_compiled_has_symbols_with_links_to_its_sources_and_can_be_made_again()
    {
        foreach (var file in Packages())
        {
            using var package = ZipFile.OpenRead(file);
            var compiled = package.Entries.Where(static entry => IsOurs(entry.Name, ".dll")).ToArray();
            // the tool is three programs and the libraries of the server and the swarm; the templates are not code
            compiled.Length.ShouldBeInRange(file.Contains("Tool") ? 9 : file.Contains("Templates") ? 0 : 1, 9, file);
            if (compiled.Length == 0)
                continue;
            using var symbols = ZipFile.OpenRead(Path.ChangeExtension(file, ".snupkg"));
            foreach (var entry in compiled)
            {
                using var program = new PEReader(Memory(entry));
                program.ReadDebugDirectory().Select(static part => part.Type)
                    .ShouldContain(DebugDirectoryEntryType.Reproducible, entry.FullName);
                var name = Path.ChangeExtension(entry.FullName, ".pdb");
                var found = symbols.GetEntry(name).ShouldNotBeNull($"{file}: {name}");
                using var pdb = MetadataReaderProvider.FromPortablePdbStream(Memory(found));
                SourceLinkOf(pdb.GetMetadataReader()).ShouldContain("https://raw.githubusercontent.com/", customMessage: name);
            }
        }
    }

    [Fact]
    public void Every_library_lists_its_members_and_says_what_they_mean_and_is_validated()
    {
        foreach (var file in Packages())
        {
            using var package = ZipFile.OpenRead(file);
            foreach (var library in package.Entries.Where(static e => e.FullName.StartsWith("lib/") && IsOurs(e.Name, ".dll")))
            {
                package.GetEntry(Path.ChangeExtension(library.FullName, ".xml")).ShouldNotBeNull(file);
                var project = Path.Combine(AglowProcess.Root, "src", Path.GetFileNameWithoutExtension(library.Name));
                foreach (var list in new[] { "PublicAPI.Shipped.txt", "PublicAPI.Unshipped.txt" })
                    File.ReadLines(Path.Combine(project, list)).First().ShouldBe("#nullable enable");
                // package validation leaves this behind when it has found nothing
                Directory.GetFiles(Path.Combine(project, "obj"), "*ValidatePackage*", SearchOption.AllDirectories)
                    .ShouldNotBeEmpty(project);
            }
        }
    }

    private string[] Packages() => Directory.GetFiles(feed.Packages, "*.nupkg");

    private static bool IsOurs(string name, string ending) =>
        name.StartsWith("aglow", StringComparison.OrdinalIgnoreCase) && name.EndsWith(ending, StringComparison.Ordinal);

    private static MemoryStream Memory(ZipArchiveEntry entry)
    {
        using var stream = entry.Open();
        var memory = new MemoryStream();
        stream.CopyTo(memory);
        memory.Position = 0;
        return memory;
    }

    private static string SourceLinkOf(MetadataReader pdb)
    {
        foreach (var handle in pdb.GetCustomDebugInformation(EntityHandle.ModuleDefinition))
        {
            var information = pdb.GetCustomDebugInformation(handle);
            if (pdb.GetGuid(information.Kind) == SourceLink)
                return Encoding.UTF8.GetString(pdb.GetBlobBytes(information.Value));
        }

        return "";
    }
}
