namespace Aglow.Packages.Tests;

/// <summary>Projects as people write them, which know nothing but the packages.</summary>
internal static class FreshProjects
{
    private const string Web = "Microsoft.NET.Sdk.Web";

    /// <summary>Writes the projects into folders of their own.</summary>
    public static async Task WriteAsync(string folder, string version)
    {
        await ProjectAsync(folder, "Libraries", Web, "", Libraries, version, "Aglow.AspNetCore", "Aglow.Postgres", "Aglow.Redis");
        await ProjectAsync(folder, "Shop", Web, "", Shop, version, "Aglow.Client.Extensions");
        await ProjectAsync(
            folder, "AppHost", "Aspire.AppHost.Sdk/13.6.4",
            """<PackageReference Include="Aspire.Hosting.AppHost" Version="13.6.5" />""", AppHost, version, "Aglow.Aspire.Hosting");
    }

    private static async Task ProjectAsync(
        string folder, string name, string sdk, string more, string program, string version, params string[] packages)
    {
        folder = Directory.CreateDirectory(Path.Combine(folder, name)).FullName;
        await File.WriteAllTextAsync(Path.Combine(folder, $"{name}.csproj"), $"""
            <Project Sdk="{sdk}">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
              </PropertyGroup>
              <ItemGroup>
                {more}
                {string.Concat(packages.Select(package => $"<PackageReference Include=\"{package}\" Version=\"{version}\" />"))}
              </ItemGroup>
            </Project>
            """);
        await File.WriteAllTextAsync(Path.Combine(folder, "Program.cs"), program);
    }

    // presence in an app, and the engine alone, as the README of the package Aglow has it
    private const string Libraries = """
        using Aglow;
        using Aglow.Model;
        using Microsoft.Extensions.Logging.Abstractions;

        await using var opened = await EmbeddedPresence.OpenAsync(
            new AglowOptions { DataDirectory = args[0] + "/engine" }, TimeProvider.System, NullLoggerFactory.Instance);
        var presence = opened.Presence;
        var alice = UserId.Parse("alice");
        await presence.HeartbeatAsync(alice);
        Console.WriteLine((await presence.StatusAsync(alice)).IsOnline);

        var builder = WebApplication.CreateBuilder(args);
        builder.Logging.ClearProviders();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddAglow(options => (options.OpenMode, options.DataDirectory) = (true, args[0] + "/app"));
        await using var app = builder.Build();
        app.MapAglow("/presence");
        await app.StartAsync();
        using var http = new HttpClient();
        Console.WriteLine(await http.GetStringAsync(app.Urls.First() + "/presence/status/7"));
        Console.WriteLine($"{Aglow.Redis.RedisAddress.Parse("127.0.0.1:6379").EndPoints[0]}");
        Console.WriteLine(Aglow.Postgres.PostgresOptions.Parse("Host=127.0.0.1;Database=aglow;Username=ann"));
        """;

    // an application that asks a server, by a connection string
    private const string Shop = """
        using Aglow.Client;

        var builder = WebApplication.CreateBuilder(args);
        builder.AddAglowClient("presence");
        var app = builder.Build();
        app.Urls.Add($"http://127.0.0.1:{builder.Configuration["PORT"]}");
        app.MapHealthChecks("/health");
        app.MapGet("/is/{user}", async (string user, AglowClient presence) => (await presence.StatusOfAsync(user)).Status.ToString());
        app.Run();
        """;

    // an app host without its dashboard, which writes what its server has: the arguments are the tool and the shop
    private const string AppHost = """
        using System.Net.Http.Json;
        using Aspire.Hosting;
        using Aspire.Hosting.ApplicationModel;

        var builder = DistributedApplication.CreateBuilder(
            new DistributedApplicationOptions { Args = args[2..], DisableDashboard = true });
        var presence = builder.AddAglow("presence", command: args[0])
            .WithRedis(builder.AddConnectionString("redis"))
            .WithPostgres(builder.AddConnectionString("database"));
        var shop = builder.AddExecutable("shop", "dotnet", ".", args[1])
            .WithHttpEndpoint(env: "PORT").WithHttpHealthCheck("/health").WithReference(presence).WaitFor(presence);
        await using var app = builder.Build();
        await app.StartAsync();
        await app.ResourceNotifications.WaitForResourceHealthyAsync("shop");
        var seen = await app.ResourceNotifications.WaitForResourceHealthyAsync("presence");
        var page = seen.Snapshot.Urls.Single();
        Console.WriteLine($"page: {page.DisplayProperties.DisplayName} at {page.Url}");
        using var http = new HttpClient();
        using var heartbeat = await http.PostAsJsonAsync($"{page.Url}/heartbeat", new { user_id = "alice" });
        Console.WriteLine($"alice is {await http.GetStringAsync($"{shop.GetEndpoint("http").Url}/is/alice")}");
        Console.WriteLine($"connection: {await ((IResourceWithConnectionString)presence.Resource).GetConnectionStringAsync()}");
        await app.StopAsync();
        """;
}
