using System.Net;
using System.Text.RegularExpressions;
using static Microsoft.Playwright.Assertions;

namespace Aglow.Packages.Tests;

/// <summary><c>docs/guides/aspnet.md</c>, as written, in a fresh folder.</summary>
[Collection(OnFeed.Name)]
public sealed partial class GuideTests(Feed feed)
{
    private const string Listens = "Now listening on: ";

    private static readonly string Guide = File.ReadAllText(Path.Combine(AglowProcess.Root, "docs", "guides", "aspnet.md"));

    [Fact]
    public async Task From_nothing_to_a_green_dot_it_takes_three_commands_and_ten_lines()
    {
        var folder = feed.NewFolder("guide");
        var commands = Blocks("sh").SelectMany(static block => block.Split('\n', StringSplitOptions.RemoveEmptyEntries)).ToArray();
        commands.Length.ShouldBe(3);
        foreach (var command in commands[..2])
            await Command.RunAsync(folder, feed.Environment, command.Split(' '));
        var program = Path.Combine(folder, "Program.cs");
        var template = await File.ReadAllLinesAsync(program);
        var (first, second) = Blocks("csharp") is [var one, var two] ? (one, two) : throw new InvalidOperationException("Two programs.");
        var page = Blocks("html").Single();
        first.Split('\n').Except(template).Concat(page.Split('\n')).Count(static line => line.Length > 0).ShouldBeLessThanOrEqualTo(10);

        await File.WriteAllTextAsync(program, first);
        Directory.CreateDirectory(Path.Combine(folder, "wwwroot"));
        await File.WriteAllTextAsync(Path.Combine(folder, "wwwroot", "index.html"), page);
        await using (var app = await Listening.StartAsync(folder, feed.Environment, Listens, commands[2].Split(' ')))
            await Expect((await feed.OpenAsync(app.Address)).Locator("#dot")).ToHaveCSSAsync("color", "rgb(0, 128, 0)");

        await File.WriteAllTextAsync(program, second);
        await using var own = await Listening.StartAsync(folder, feed.Environment, Listens, commands[2].Split(' '));
        using var ann = new HttpClient(new SocketsHttpHandler { AllowAutoRedirect = false }) { BaseAddress = own.Address };
        (await ann.GetStringAsync("/ready")).ShouldBe("Healthy");
        (await ann.PostAsync("/presence/heartbeat", null)).IsSuccessStatusCode.ShouldBeFalse();
        (await ann.PostAsync("/sign-in/ann", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await ann.PostAsync("/presence/heartbeat", null)).StatusCode.ShouldBe(HttpStatusCode.OK);
        (await ann.GetStringAsync("/is/ann")).ShouldBe("true");
    }

    [Fact]
    public void It_is_short() => Guide.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries).Length.ShouldBeLessThan(600);

    private static string[] Blocks(string language) =>
        [.. Block().Matches(Guide)
            .Where(block => block.Groups["language"].Value == language)
            .Select(static block => block.Groups["code"].Value)];

    [GeneratedRegex(
        "^```(?<language>\\w+)\n(?<code>.*?)^```", RegexOptions.ExplicitCapture | RegexOptions.Multiline | RegexOptions.Singleline, 1000)]
    private static partial Regex Block();
}
