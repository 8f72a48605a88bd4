using System.Text.RegularExpressions;

namespace Aglow.Server.Tests;

/// <summary>The files of the page as the server sends them. A browser tests what the page does.</summary>
[Collection(Calls.Name)]
public sealed partial class WebPageTests(SharedServer shared)
{
    private readonly AglowProcess _server = shared.Server;

    [Fact]
    public async Task Everything_that_the_page_names_is_there()
    {
        var page = await _server.GetAsync("/");
        page.Status.ShouldBe(200);
        page.ContentType.ShouldBe("text/html; charset=utf-8");
        page.Text.ShouldContain("presence server");
        var paths = Named().Matches(page.Text).Select(static m => m.Groups["path"].Value).ToArray();
        paths.Length.ShouldBeGreaterThan(10);
        foreach (var path in paths)
        {
            var file = await _server.GetAsync(path);
            file.Status.ShouldBe(200, path);
            file.ContentType.ShouldBe(Path.GetExtension(path) switch
            {
                ".js" => "text/javascript; charset=utf-8",
                ".css" => "text/css; charset=utf-8",
                _ => "image/svg+xml",
            });
        }

        // A file that the page does not name is loaded late, or never. Webhooks are shown only if there are any.
        const string late = "/page/webhooks.js";
        (await _server.GetAsync(late)).Status.ShouldBe(200);
        foreach (var file in Directory.GetFiles(Path.Combine(AglowProcess.Root, "src", "Aglow.Server", "wwwroot", "page")))
            paths.Append(late).ShouldContain($"/page/{Path.GetFileName(file)}");
    }

    [Fact]
    public async Task The_client_is_the_package_s_own_but_for_react()
    {
        foreach (var source in Directory.GetFiles(Path.Combine(AglowProcess.Root, "clients", "js", "src"), "*.js"))
        {
            var file = await _server.GetAsync($"/client/{Path.GetFileName(source)}");
            if (Path.GetFileName(source) == "react.js")
                file.ShouldBeProblem(404);
            else
                file.Bytes.ShouldBe(await File.ReadAllBytesAsync(source));
        }
    }

    [Fact]
    public async Task A_browser_keeps_what_has_not_changed()
    {
        var first = await _server.GetAsync("/page/app.js");
        first.Headers.CacheControl!.NoCache.ShouldBeTrue();
        using var again = new HttpRequestMessage(HttpMethod.Get, "/page/app.js");
        again.Headers.IfNoneMatch.Add(first.Headers.ETag!);
        using var same = await _server.Http.SendAsync(again);
        ((int)same.StatusCode).ShouldBe(304);
        (await same.Content.ReadAsByteArrayAsync()).ShouldBeEmpty();
        same.Headers.ETag.ShouldBe(first.Headers.ETag);

        using var older = new HttpRequestMessage(HttpMethod.Get, "/page/app.js");
        older.Headers.Add("If-None-Match", "\"of another version\"");
        using var whole = await _server.Http.SendAsync(older);
        (await whole.Content.ReadAsByteArrayAsync()).ShouldBe(first.Bytes);
    }

    [Fact]
    public async Task A_policy_allows_what_comes_from_here_and_nothing_inline()
    {
        var page = await _server.GetAsync("/");
        var policy = page.Headers.GetValues("Content-Security-Policy").Single();
        policy.ShouldStartWith("default-src 'none'; script-src 'self'; style-src 'self';");
        policy.ShouldNotContain("unsafe");
        page.Text.ShouldNotContain("<style");
        page.Text.ShouldNotContain(" style=");
        Scripts().Matches(page.Text).ShouldAllBe(static script => script.Value.Contains("src=\"/"));
    }

    [Fact]
    public async Task Only_reading_is_allowed_and_a_head_has_no_body()
    {
        var head = await _server.SendAsync(HttpMethod.Head, "/");
        head.Status.ShouldBe(200);
        head.Bytes.ShouldBeEmpty();
        head.ContentHeaders.ContentLength.ShouldBe((await _server.GetAsync("/")).Bytes.Length);
        (await _server.PostAsync("/", "{}")).ShouldBeProblem(404);
        (await _server.GetAsync("/page/../appsettings.json")).ShouldBeProblem(400);
        (await _server.GetAsync("/page/..%2Fappsettings.json")).ShouldBeProblem(404);
    }

    [GeneratedRegex("(href|src)=\"(?<path>/(page|client)/[^\"]+)\"", RegexOptions.ExplicitCapture, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Named();

    [GeneratedRegex("<script[^>]*>", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Scripts();
}
