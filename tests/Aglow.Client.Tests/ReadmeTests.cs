using System.Text.RegularExpressions;
using Aglow.AspNetCore.Hosting;
using Aglow.Client.Tests;
using Aglow.Model;
using Microsoft.AspNetCore.Http;
using AglowClient = Aglow.Client.AglowClient;
using SeenStatus = Aglow.Client.PresenceStatus;

// not Aglow.Client.Tests, because the app of the README means the server's UserId and not the client's
namespace Aglow.Readme.Tests;

/// <summary>What README.md says works when somebody pastes it, and every link of the documents leads somewhere.</summary>
public sealed partial class ReadmeTests(ServerFixture server) : IClassFixture<ServerFixture>
{
    private const string ExampleUrl = "http://127.0.0.1:8080";

    private static readonly string Readme = File.ReadAllText(Path.Combine(AglowProcess.Root, "README.md"));

    public static TheoryData<string> Documents =>
        [.. Directory.EnumerateFiles(AglowProcess.Root, "*.md")
            .Concat(Directory.EnumerateFiles(Path.Combine(AglowProcess.Root, "docs"), "*.md", SearchOption.AllDirectories))
            .Append(Path.Combine(AglowProcess.Root, "clients", "js", "README.md"))
            .Concat(Directory.EnumerateFiles(Path.Combine(AglowProcess.Root, "src"), "README.md", SearchOption.AllDirectories))
            .Select(static file => Path.GetRelativePath(AglowProcess.Root, file))];

    [Fact]
    public async Task The_first_command_starts_a_server_with_people_on_it()
    {
        var flags =
            Regex.Match(
                Readme,
                "^ +\\./aglow serve (?<flags>.+?) +#",
                RegexOptions.ExplicitCapture | RegexOptions.Multiline,
                TimeSpan.FromSeconds(1)).Groups["flags"].Value;
        await using var demo = await AglowProcess.StartAsync(null, flags.Split(' '));
        using var online = JsonDocument.Parse(await demo.Http.GetStringAsync("/online/count"));
        online.RootElement.GetProperty("online").GetInt64().ShouldBeGreaterThan(50);
    }

    [Fact]
    public async Task The_calls_with_curl_answer_what_they_say()
    {
        // the watch goes on for ever, so it stops after the first data; the others fail on any status that is not a success
        var script =
            Block("sh").Replace(ExampleUrl, server.Process.Address.GetLeftPart(UriPartial.Authority)).Replace("curl -N ", "first ");
        var output = await ProgramTests.RunAsync("bash", "-c", $$"""
            set -e
            curl() { command curl -fsS "$@"; echo; }
            first() { command curl -fsSN "$@" | sed '/^data/q'; }
            {{script}}
            wait
            """);
        output.ShouldContain("\"next_heartbeat_seconds\":");
        output.ShouldContain("{\"user_id\":42,\"is_online\":true,\"status\":\"online\"");
        output.ShouldContain("\"bob\":{\"user_id\":\"bob\",\"is_online\":true");
        output.ShouldContain("\"99\":{\"user_id\":99,\"is_online\":false,\"status\":\"offline\",\"last_seen\":null");
        output.ShouldContain("event: presence");
        output.ShouldContain("\"said_goodbye\":true");
    }

    [Fact]
    public async Task The_program_in_JavaScript_runs()
    {
        var client = new Uri(Path.Combine(AglowProcess.Root, "clients", "js", "src", "index.js")).AbsoluteUri;
        var program = Block("js").Replace("@aglow/client", client).Replace(ExampleUrl, server.Process.Address.AbsoluteUri);
        // the calls with curl bring 7 online
        foreach (var (path, user) in new[] { ("/heartbeat", "\"bob\""), ("/offline", "7") })
        {
            using var body = new StringContent($"{{\"user_id\": {user}}}", Encoding.UTF8, "application/json");
            (await server.Process.Http.PostAsync(path, body)).EnsureSuccessStatusCode();
        }

        var output = await ProgramTests.RunAsync("node", "--experimental-websocket", "--no-warnings", "--input-type=module", "-e", $$"""
            const seen = new Map();
            function paint(user, status) {
                seen.set(user, status);
                if (seen.get('bob') === 'online' && seen.get(7) === 'offline') {
                    console.log('both painted');
                    connection.leave().then(() => process.exit());
                }
            }
            {{program}}
            """);
        output.ShouldContain("both painted");
    }

    [Fact]
    public async Task The_lines_of_CSharp_stand_in_a_test_that_runs()
    {
        var lines = Blocks("csharp").SelectMany(static block => block.Split('\n')).Select(
            static line => line.Split("//")[0].Trim() is { Length: > 0 } code && !line.Contains("http:") ? code : "");
        var source = await File.ReadAllTextAsync(Path.Combine(AglowProcess.Root, "tests", "Aglow.Client.Tests", "ReadmeTests.cs"));
        foreach (var line in lines)
            source.ShouldContain(line);

        await using var app = await OwnApp.StartAsync(
            static (builder, folder) =>
            {
                builder.Configuration["Aglow:DataDirectory"] = folder;
                SignedIn.Add(builder);
                builder.Services.AddAuthorization();
                builder.Services.AddAglow(builder.Configuration.GetSection("Aglow"));
            },
            static app =>
            {
                app.MapAglow("/presence").RequireAuthorization();
                app.MapGet("/is/{user}", async (UserId user, PresenceService presence) => (await presence.StatusAsync(user)).IsOnline);
            });
        using var bob = app.Http("bob");
        using var heartbeat = await bob.PostAsync("/presence/heartbeat", null);
        ((int)heartbeat.StatusCode).ShouldBe(StatusCodes.Status200OK);
        (await bob.GetStringAsync("/is/bob")).ShouldBe("true");

        await using var client = new AglowClient(server.Process.Address.AbsoluteUri, "alice");
        await foreach (var record in client.WatchAsync(["bob", 42]))
        {
            Console.WriteLine($"{record.User} is {record.Status}");
            if (record.Status != SeenStatus.Unknown)
                break;
        }
    }

    [Fact]
    public async Task Every_flag_in_a_command_is_one_that_the_command_takes()
    {
        var help = new Dictionary<string, string>(StringComparer.Ordinal);
        var commands = Command().Matches(Readme).Select(
            static m => (Name: m.Groups["name"].Value, Flags: Flag().Matches(m.Groups["rest"].Value.Split('#')[0]))).ToList();
        commands.Select(static c => c.Name).Distinct(StringComparer.Ordinal).Count().ShouldBeGreaterThanOrEqualTo(3);
        foreach (var (name, flags) in commands)
        {
            if (!help.TryGetValue(name, out var says))
            {
                var (code, output, errors) = await AglowProcess.RunToEndAsync([.. name.Split(' '), "--help"]);
                code.ShouldBe(0, errors);
                help[name] = says = output;
            }

            foreach (Match flag in flags)
                says.ShouldContain($"{flag.Value} ", customMessage: name);
        }
    }

    [Fact]
    public void It_is_short_and_shows_a_picture_two_commands_and_what_it_is_for_first()
    {
        Readme.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length.ShouldBeLessThan(900);
        var first = string.Join('\n', Readme.Split('\n').Take(15));
        first.ShouldContain("is this user online");
        first.ShouldContain("./aglow serve");
        first.ShouldContain("./test");
        first.ShouldContain("](docs/page.png)");
    }

    [Theory]
    [MemberData(nameof(Documents))]
    public void Every_link_leads_to_a_file_and_a_heading(string document)
    {
        var folder = Path.GetDirectoryName(Path.Combine(AglowProcess.Root, document))!;
        foreach (Match link in Link().Matches(File.ReadAllText(Path.Combine(AglowProcess.Root, document))))
        {
            var file = link.Groups["file"].Value is { Length: > 0 } named
                ? Path.GetFullPath(Path.Combine(folder, named))
                : Path.Combine(AglowProcess.Root, document);
            (File.Exists(file) || Directory.Exists(file)).ShouldBeTrue($"{document}: {link.Value}");
            if (link.Groups["heading"].Success)
                Headings(file).ShouldContain(link.Groups["heading"].Value, $"{document}: {link.Value}");
        }
    }

    private static string[] Headings(string file) =>
        [.. File.ReadLines(file).Where(static l => l.StartsWith('#'))
            .Select(static l => NotInAnchors().Replace(l.TrimStart('#').Trim().ToLowerInvariant(), "").Replace(' ', '-'))];

    private static string Block(string language) => Blocks(language).Single();

    private static List<string> Blocks(string language)
    {
        var blocks = Regex.Matches(
            Readme,
            $"^```{language}\n(?<code>.*?)^```",
            RegexOptions.ExplicitCapture | RegexOptions.Multiline | RegexOptions.Singleline,
            TimeSpan.FromSeconds(1))
            .Select(static m => m.Groups["code"].Value).ToList();
        blocks.ShouldNotBeEmpty();
        return blocks;
    }

    [GeneratedRegex(
        "^ +\\./aglow (?<name>serve|keys \\w+|backup|swarm)\\b(?<rest>.*)$", RegexOptions.ExplicitCapture | RegexOptions.Multiline,
        matchTimeoutMilliseconds: 1000)]
    private static partial Regex Command();

    [GeneratedRegex("--[a-z-]+", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Flag();

    [GeneratedRegex(
        """\]\((?!https?:)(?<file>[^)#\s]*)(#(?<heading>[^)\s]+))?\)""", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Link();

    [GeneratedRegex("[^\\w\\- ]", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex NotInAnchors();
}
