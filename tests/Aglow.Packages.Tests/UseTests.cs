using System.Diagnostics;
using Aglow.Operations.Tests;
using static Microsoft.Playwright.Assertions;

namespace Aglow.Packages.Tests;

/// <summary>Each package does what it is for, in a project that knows nothing else.</summary>
[Collection(OnFeed.Name)]
public sealed class UseTests(Feed feed)
{
    [Fact]
    public async Task A_fresh_app_has_presence_and_the_stores_of_many_nodes()
    {
        var said = await Command.RunAsync(
            feed.NewFolder("libraries"), feed.Environment, "dotnet", feed.Built("Libraries"), feed.NewFolder("libraries"));
        said.Split('\n')[0].ShouldBe("True");
        said.ShouldContain("{\"user_id\":7,\"is_online\":false");
        said.ShouldContain("127.0.0.1:6379");
        said.ShouldContain("aglow");
    }

    [Fact]
    public async Task The_tool_serves_and_keeps_keys_and_checks_backs_up_plans_and_simulates()
    {
        var folder = feed.NewFolder("tool");
        var help = await AglowAsync("--help");
        foreach (var command in new[] { "serve", "keys", "backup", "check", "repair", "changes", "webhooks", "swarm", "plan" })
            help.ShouldContain($"\n  {command} ");
        (await AglowAsync("--version")).ShouldStartWith(feed.Version);
        (await AglowAsync("keys", "add", "--data", "data", "--name", "gateway", "--scope", "read")).ShouldStartWith("aglow_");
        (await AglowAsync("plan", "--active", "1m")).ShouldContain("Redis");
        await using (var server = await Listening.StartAsync(
            folder, feed.Environment, "Ready on ", feed.Tool, "serve", "--urls", "http://127.0.0.1:0", "--data", "data"))
        {
            using var http = new HttpClient { BaseAddress = server.Address };
            (await http.GetStringAsync("/")).ShouldContain("presence server");
            (await AglowAsync("swarm", "--url", server.Address.ToString(), "--people", "20", "--seconds", "3")).ShouldContain("20");
            await AglowAsync("backup", "copy", "--data", "data");
        }

        (await AglowAsync("check", "--data", "copy")).ShouldContain("good");
        using var wrong = Command.Start(folder, feed.Environment, feed.Tool, "plan", "--activ", "1m");
        await wrong.WaitForExitAsync();
        wrong.ExitCode.ShouldBe(2);

        Task<string> AglowAsync(params string[] words) => Command.RunAsync(folder, feed.Environment, [feed.Tool, .. words]);
    }

    [Fact]
    public async Task The_template_is_a_chat_with_green_dots()
    {
        var folder = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(feed.Built("Chat"))!, "..", "..", ".."));
        foreach (var file in new[] { "Program.cs", "wwwroot/index.html" })
            (await File.ReadAllTextAsync(Path.Combine(folder, file)))
                .ShouldBe(await File.ReadAllTextAsync(Path.Combine(AglowProcess.Root, "samples", "ChatApp", file)));
        await using var chat = await Listening.StartAsync(
            folder, feed.Environment, "Now listening on: ", "dotnet", feed.Built("Chat"), "--urls", "http://127.0.0.1:0");
        var page = await feed.OpenAsync(chat.Address);
        await page.GetByLabel("Your name").FillAsync("Ann");
        await page.GetByLabel("Your name").PressAsync("Enter");
        await Expect(page.Locator("#people li", new() { HasText = "Ann" })).ToHaveAttributeAsync("data-status", "online");
    }

    [Fact]
    public async Task An_app_host_starts_a_server_on_its_stores_and_an_application_finds_it()
    {
        await using var postgres = await PostgresProcess.StartAsync();
        await using var collector = new Collector();
        var port = Ports.Free();
        var folder = feed.NewFolder("redis");
        string[] flags = ["--port", $"{port}", "--bind", "127.0.0.1", "--dir", folder, "--save", ""];
        var start = new ProcessStartInfo("redis-server", flags) { RedirectStandardOutput = true, UseShellExecute = false };
        using var redis = Process.Start(start)!;
        try
        {
            var environment = new Dictionary<string, string>(feed.Environment)
            {
                ["ConnectionStrings__redis"] = $"127.0.0.1:{port}",
                ["ConnectionStrings__database"] = postgres.Connection(),
                ["ASPIRE_DASHBOARD_OTLP_HTTP_ENDPOINT_URL"] = collector.Url,
                ["OTEL_METRIC_EXPORT_INTERVAL"] = "500",
            };
            var host = Path.GetFullPath(Path.Combine(Path.GetDirectoryName(feed.Built("AppHost"))!, "..", "..", ".."));
            var said = await Command.RunAsync(
                host, environment, "dotnet", feed.Built("AppHost"), feed.Tool, feed.Built("Shop"));
            said.ShouldContain("page: Who is online at http://localhost:");
            said.ShouldContain("alice is Online");
            said.ShouldContain("connection: http://localhost:");
            (await Command.RunAsync(folder, environment, "redis-cli", "-p", $"{port}", "dbsize")).Trim().ShouldNotBe("0");
            (await postgres.ExecuteAsync("SELECT count(*) FROM pg_tables WHERE schemaname = 'aglow'")).ShouldNotBe(0L);
            // a program that stops sends what it has not sent yet
            collector.Metrics.Keys.ShouldContain("aglow.users.online");
            collector.Resource["service.name"].ShouldBe("presence");
        }
        finally
        {
            redis.Kill();
            await redis.WaitForExitAsync();
        }
    }

    [Fact]
    public async Task A_fresh_program_in_Node_uses_the_client_from_its_package()
    {
        var folder = feed.NewFolder("node");
        await Command.RunAsync(
            Path.Combine(AglowProcess.Root, "clients", "js"), feed.Environment, "npm", "pack", "--offline", "--pack-destination", folder);
        var package = Directory.GetFiles(folder, "*.tgz").Single();
        await File.WriteAllTextAsync(
            Path.Combine(folder, "package.json"), """{ "name": "fresh", "private": true, "type": "module" }""");
        await Command.RunAsync(
            folder, feed.Environment, "npm", "install", "--offline", "--no-audit", "--no-fund", "--omit=peer", package);
        await File.WriteAllTextAsync(Path.Combine(folder, "program.js"), """
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
        (await Command.RunAsync(
            folder, feed.Environment, "node", "--experimental-websocket", "program.js", server.Address.ToString()))
            .ShouldContain("alice is online");
    }
}
