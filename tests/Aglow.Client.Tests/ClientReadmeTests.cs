using System.Text.RegularExpressions;
using Microsoft.Extensions.Hosting;

namespace Aglow.Client.Tests;

/// <summary>The programs in the .NET client's README run. MAUI's types are stand-ins with the same members.</summary>
public sealed class ClientReadmeTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    [Fact]
    public async Task Every_line_of_CSharp_stands_in_these_tests()
    {
        var readme = await File.ReadAllTextAsync(Path.Combine(AglowProcess.Root, "src", "Aglow.Client", "README.md"));
        var source = await File.ReadAllTextAsync(
            Path.Combine(AglowProcess.Root, "tests", "Aglow.Client.Tests", $"{nameof(ClientReadmeTests)}.cs"));
        var blocks = Regex.Matches(
            readme, "^```csharp\n(?<code>.*?)^```", RegexOptions.Multiline | RegexOptions.Singleline | RegexOptions.ExplicitCapture,
            TimeSpan.FromSeconds(1));
        blocks.Count.ShouldBe(4);
        foreach (var line in blocks.SelectMany(static block => block.Groups["code"].Value.Split('\n')))
        {
            // addresses are those of the test's server, and this file is in a namespace below the client's
            if (!line.Contains("http", StringComparison.Ordinal)
                && line.Split("//")[0].Trim() is { Length: > 0 } code and not "using Aglow.Client;")
                source.ShouldContain(code);
        }
    }

    [Fact]
    public async Task A_console_program_comes_online_and_watches()
    {
        await using var client = new AglowClient(server.Process.Address.AbsoluteUri, "alice");
        client.Failed += failure => Console.Error.WriteLine(failure.Message);
        await client.ConnectAsync();
        (await client.StatusOfAsync("alice")).IsOnline.ShouldBeTrue();

        await foreach (var record in client.WatchAsync(["bob", 42]))
        {
            Console.WriteLine($"{record.User} is {record.Status}, last seen {record.LastSeen}");
            break;
        }
    }

    [Fact]
    public async Task A_web_app_asks_and_a_worker_is_online_until_it_stops()
    {
        await using var app = await OwnApp.StartAsync(
            (builder, _) =>
            {
                builder.Configuration["Presence:Address"] = server.Process.Address.AbsoluteUri;
                builder.Configuration["Presence:User"] = "worker";
                builder.Services.AddAglowClient(builder.Configuration.GetSection("Presence"));
                builder.Services.AddHealthChecks().AddAglowClient();
                builder.Services.AddHostedService<Online>();
            },
            static app =>
            {
                app.MapGet("/team", async (AglowClient presence) => await presence.StatusAsync([1, 2, "bob"]));
                app.MapHealthChecks("/health");
            });
        using var http = app.Http();
        (await http.GetStringAsync("/team")).ShouldContain("bob");
        (await http.GetStringAsync("/health")).ShouldBe("Healthy");
        await using var other = server.Client("other");
        await using var seen = Watching.Of(other, "worker");
        await seen.UntilAsync("worker", PresenceStatus.Online);
        // by the leave, long before the lease expires
        await app.StopAsync();
        await seen.UntilAsync("worker", PresenceStatus.Offline);
    }

    [Fact]
    public async Task A_mobile_app_keeps_its_device_looks_again_when_it_is_back_and_leaves()
    {
        await using var guarded = await AglowProcess.StartAsync(
            null, [.. Token.ServerFlags, "--lease-seconds", "120"]);
        await using var watcher = new AglowClient(new AglowClientOptions(guarded.Address) { Token = Token.Of("watcher") });
        await using var seen = Watching.Of(watcher, "ann");
        var session = new AppSession();
        var window = new Window();
        for (var start = 0; start < 2; start++)
        {
            var id = Preferences.Get("presence-device", null) ?? Guid.NewGuid().ToString("N");
            Preferences.Set("presence-device", id);
            var client = new AglowClient(new AglowClientOptions(guarded.Address)
            {
                AccessToken = async cancellationToken => await session.GetTokenAsync(cancellationToken),
                Device = new ClientDevice(id, DeviceKind.Mobile),
            });
            window.Resumed += (_, _) => client.Resume();
            window.Destroying += async (_, _) => await client.LeaveAsync();

            await client.ConnectAsync();
            await seen.UntilAsync("ann", PresenceStatus.Online);
            window.Resume();
            (await client.StatusOfAsync("ann")).Devices.ShouldBe(DeviceKinds.Mobile);
            window.Destroy();
            await seen.UntilAsync("ann", PresenceStatus.Offline);
            await client.DisposeAsync();
            client.State.ShouldBe(ConnectionState.Closed);
            Preferences.Get("presence-device", null).ShouldBe(id);
        }
    }

    internal sealed class Online(AglowClient presence) : BackgroundService
    {
        protected override async Task ExecuteAsync(CancellationToken stop)
        {
            await foreach (var record in presence.WatchAsync(["bob"], cancellationToken: stop))
                Console.WriteLine($"{record.User} is {record.Status}");
        }

        public override async Task StopAsync(CancellationToken cancellationToken)
        {
            await presence.LeaveAsync(cancellationToken);
            await base.StopAsync(cancellationToken);
        }
    }

    private sealed class AppSession
    {
        public async Task<string> GetTokenAsync(CancellationToken cancellationToken)
        {
            await Task.Yield();
            cancellationToken.ThrowIfCancellationRequested();
            return Token.Of("ann");
        }
    }

    private static class Preferences
    {
        private static readonly Dictionary<string, string> Kept = [];

        public static string? Get(string key, string? otherwise) => Kept.GetValueOrDefault(key) ?? otherwise;

        public static void Set(string key, string value) => Kept[key] = value;
    }

    private sealed class Window
    {
        public event EventHandler? Resumed;

        public event EventHandler? Destroying;

        public void Resume() => Resumed?.Invoke(this, EventArgs.Empty);

        public void Destroy() => Destroying?.Invoke(this, EventArgs.Empty);
    }
}
