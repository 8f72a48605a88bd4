using System.IO.Compression;
using System.Xml.Linq;
using Microsoft.Playwright;

namespace Aglow.Packages.Tests;

/// <summary>
/// All packages, packed once into a folder that is a source of fresh projects. Third-party packages come from this machine's cache, or else
/// from its usual sources. One restore and one build make all fresh projects except that of the guide.
/// </summary>
public sealed class Feed : IAsyncLifetime
{
#if DEBUG
    private const string Configuration = "Debug";
#else
    private const string Configuration = "Release";
#endif

    private readonly string _folder = Directory.CreateTempSubdirectory("aglow-packages-").FullName;
    private IPlaywright _playwright = null!;
    private IBrowser _browser = null!;

    /// <summary>The packages, with their symbols.</summary>
    public string Packages => Path.Combine(_folder, "feed");

    /// <summary>A new, empty folder. The settings above it name the feed.</summary>
    public string NewFolder(string name) => Directory.CreateDirectory(Path.Combine(_folder, name)).FullName;

    /// <summary>The program of a fresh project.</summary>
    public string Built(string name) => Path.Combine(_folder, "fresh", name, "bin", "Debug", "net10.0", $"{name}.dll");

    /// <summary>The tool, as installed.</summary>
    public string Tool => Path.Combine(_folder, "tools", "aglow");

    /// <summary>The version of the packages.</summary>
    public string Version { get; private set; } = "";

    /// <summary>What every command is run with: its own packages, and no greetings.</summary>
    public IReadOnlyDictionary<string, string> Environment { get; private set; } = null!;

    public async Task InitializeAsync()
    {
        var others = System.Environment.GetEnvironmentVariable("NUGET_PACKAGES")
            ?? Path.Combine(System.Environment.GetFolderPath(System.Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        Environment = new Dictionary<string, string>
        {
            ["NUGET_PACKAGES"] = Path.Combine(_folder, "restored"),
            ["NuGetAudit"] = "false",
            ["DOTNET_NOLOGO"] = "true",
            ["DOTNET_CLI_TELEMETRY_OPTOUT"] = "true",
        };
        Directory.CreateDirectory(Packages);
        await File.WriteAllTextAsync(Path.Combine(_folder, "NuGet.config"), $"""
            <configuration>
              <packageSources><add key="feed" value="{Packages}" /><add key="others" value="{others}" /></packageSources>
              <fallbackPackageFolders><add key="others" value="{others}" /></fallbackPackageFolders>
            </configuration>
            """);
        string[] quiet = ["-v", "q", "-nologo"];
        await Command.RunAsync(
            AglowProcess.Root, Environment,
            ["dotnet", "pack", "src/packages.proj", "--no-build", "--no-restore", "-c", Configuration, "-o", Packages, .. quiet]);
        const string known = "Aglow.AspNetCore.";
        Version = Path.GetFileNameWithoutExtension(Directory.GetFiles(Packages, $"{known}*.nupkg").Single())[known.Length..];

        var fresh = NewFolder("fresh");
        string[] install = ["dotnet", "tool", "install", "Aglow.Tool", "--tool-path", Path.GetDirectoryName(Tool)!, "--version", Version];
        await Command.RunAsync(fresh, Environment, install);
        await NewAsync("install", $"Aglow.Templates@{Version}");
        await NewAsync("aglow-chat", "-o", "Chat");
        await FreshProjects.WriteAsync(fresh, Version);
        var projects = Directory.GetFiles(fresh, "*.csproj", SearchOption.AllDirectories);
        await File.WriteAllTextAsync(
            Path.Combine(fresh, "fresh.slnx"),
            new XElement("Solution", projects.Select(static file => new XElement("Project", new XAttribute("Path", file)))).ToString());
        await Command.RunAsync(fresh, Environment, ["dotnet", "build", "fresh.slnx", .. quiet, "-p:UseSharedCompilation=true"]);

        _playwright = await Playwright.CreateAsync();
        // the sandbox needs a user of its own, and tests may run as root; everything that is opened here is ours
        _browser = await _playwright.Chromium.LaunchAsync(new() { ExecutablePath = "/usr/bin/chromium", Args = ["--no-sandbox"] });
        // as long as a start on a busy machine
        Assertions.SetDefaultExpectTimeout(120_000);

        Task NewAsync(params string[] words) => Command.RunAsync(
            fresh, Environment, ["dotnet", "new", .. words, "--debug:custom-hive", Path.Combine(_folder, "templates")]);
    }

    public async Task DisposeAsync()
    {
        if (_browser is not null)
            await _browser.DisposeAsync();
        _playwright?.Dispose();
        Directory.Delete(_folder, recursive: true);
    }

    /// <summary>A package as its files.</summary>
    internal ZipArchive Open(string file) => ZipFile.OpenRead(Path.Combine(Packages, file));

    /// <summary>Somebody's page.</summary>
    internal async Task<IPage> OpenAsync(Uri address)
    {
        var page = await (await _browser.NewContextAsync()).NewPageAsync();
        await page.GotoAsync(address.AbsoluteUri);
        return page;
    }
}

[CollectionDefinition(Name)]
public sealed class OnFeed : ICollectionFixture<Feed>
{
    public const string Name = "feed";
}
