using System.Diagnostics;

namespace Aglow.Operations.Tests;

/// <summary>The packages, packed and used by a fresh project, from a folder and without a network.</summary>
public sealed class PackageTests : IDisposable
{
    private static readonly string[] Libraries =
        [.. Directory.GetDirectories(Path.Combine(AglowProcess.Root, "src")).Select(static folder => Path.GetFileName(folder)).Where(static name => name != "Aglow.Server")];

    private readonly string _folder = Directory.CreateTempSubdirectory("aglow-packages-").FullName;

    public void Dispose() => Directory.Delete(_folder, recursive: true);

    [Fact]
    public async Task A_fresh_app_uses_the_libraries_from_their_packages()
    {
        var feed = Path.Combine(_folder, "feed");
        foreach (var library in Libraries)
            await RunAsync(AglowProcess.Root, "dotnet", "pack", $"src/{library}/{library}.csproj", "--no-build", "--no-restore", "-c", Configuration, "-o", feed, "-v", "q", "-nologo");
        Directory.GetFiles(feed, "*.nupkg").Length.ShouldBe(Libraries.Length);

        var app = Directory.CreateDirectory(Path.Combine(_folder, "app")).FullName;
        // packages of others are where this machine has them already; ours are nowhere else
        var others = Environment.GetEnvironmentVariable("NUGET_PACKAGES") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget", "packages");
        await File.WriteAllTextAsync(Path.Combine(app, "NuGet.config"), $"""
            <configuration>
              <packageSources><clear /><add key="feed" value="{feed}" /></packageSources>
              <fallbackPackageFolders><add key="others" value="{others}" /></fallbackPackageFolders>
            </configuration>
            """);
        await File.WriteAllTextAsync(Path.Combine(app, "app.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk.Web">
              <PropertyGroup>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <NuGetAudit>false</NuGetAudit>
                <RestorePackagesPath>{_folder}/restored</RestorePackagesPath>
              </PropertyGroup>
              <ItemGroup>
                {string.Concat(Libraries.Select(static library => $"<PackageReference Include=\"{library}\" Version=\"0.1.0\" />"))}
              </ItemGroup>
            </Project>
            """);
        await File.WriteAllTextAsync(Path.Combine(app, "Program.cs"), """
            using Aglow.Client;

            var builder = WebApplication.CreateBuilder(args);
            builder.Logging.ClearProviders();
            builder.WebHost.UseUrls("http://127.0.0.1:0");
            builder.Services.AddAglow(options => (options.OpenMode, options.DataDirectory) = (true, args[0]));
            await using var app = builder.Build();
            app.MapAglow("/presence");
            await app.StartAsync();
            await using var client = new AglowClient(app.Urls.First() + "/presence", "alice");
            await foreach (var record in client.WatchAsync(["alice"]))
            {
                Console.WriteLine($"{record.User} is {record.Status}; {nameof(Aglow.Redis.RedisAddress)}");
                if (record.IsOnline)
                    break;
            }
            """);
        await RunAsync(app, "dotnet", "build", "-v", "q", "-nologo", "-o", Path.Combine(_folder, "built"));
        var said = await RunAsync(app, "dotnet", Path.Combine(_folder, "built", "app.dll"), Path.Combine(_folder, "data"));
        said.ShouldContain("alice is Online; RedisAddress");
    }

    [Fact]
    public async Task A_fresh_program_in_Node_uses_the_client_from_its_package()
    {
        await RunAsync(Path.Combine(AglowProcess.Root, "clients", "js"), "npm", "pack", "--offline", "--pack-destination", _folder);
        var package = Directory.GetFiles(_folder, "*.tgz").Single();
        await File.WriteAllTextAsync(Path.Combine(_folder, "package.json"), """{ "name": "fresh", "private": true, "type": "module" }""");
        await RunAsync(_folder, "npm", "install", "--offline", "--no-audit", "--no-fund", "--omit=peer", package);
        await File.WriteAllTextAsync(Path.Combine(_folder, "program.js"), """
            import { connect } from '@aglow/client';
            const connection = connect({ url: process.argv[2], user: 'alice' });
            connection.watch(['alice'], ({ user_id, status }) => {
                if (status !== 'online') return;
                console.log(`${user_id} is ${status}`);
                connection.close();
                process.exit(0);
            });
            """);
        await using var server = await AglowProcess.StartAsync();
        (await RunAsync(_folder, "node", "--experimental-websocket", "program.js", server.Address.ToString())).ShouldContain("alice is online");
    }

#if DEBUG
    private const string Configuration = "Debug";
#else
    private const string Configuration = "Release";
#endif

    private static async Task<string> RunAsync(string folder, string program, params string[] arguments)
    {
        using var process = Process.Start(new ProcessStartInfo(program, arguments)
        {
            WorkingDirectory = folder,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        })!;
        using var limit = new CancellationTokenSource(TimeSpan.FromMinutes(5));
        var (output, errors) = (process.StandardOutput.ReadToEndAsync(limit.Token), process.StandardError.ReadToEndAsync(limit.Token));
        await process.WaitForExitAsync(limit.Token);
        process.ExitCode.ShouldBe(0, $"{program} {string.Join(' ', arguments)}: {await output}{await errors}");
        return await output;
    }
}
