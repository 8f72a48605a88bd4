using System.IO.Compression;
using Aglow.Server.Tests;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Aglow.Browser.Tests;

/// <summary>The page of calls at <c>/docs</c>.</summary>
[Collection(InOtherBrowser.Name)]
public sealed class ReferenceTests(Browser browser)
{
    [Fact]
    public async Task Every_call_is_shown_and_can_be_tried_and_nothing_comes_from_elsewhere()
    {
        await using var window = await browser.OpenAsync();
        // the window complains of requests to elsewhere, and of what the policy forbids
        var page = await window.OpenPageAsync("docs");
        await Expect(page.Locator("#operations-default-heartbeat")).ToBeVisibleAsync();
        var described = (await browser.Server.Http.GetStringAsync("/openapi/v1.json")).Split("\"operationId\"").Length - 1;
        await Expect(page.Locator(".opblock")).ToHaveCountAsync(described);
        await page.Locator("#operations-default-status .opblock-summary-control").ClickAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Try it out" }).ClickAsync();
        await page.GetByPlaceholder("user").First.FillAsync("42");
        await page.GetByRole(AriaRole.Button, new() { Name = "Execute" }).ClickAsync();
        await Expect(page.Locator(".live-responses-table .response .microlight, .live-responses-table .response pre").First)
            .ToContainTextAsync("\"is_online\"");
        await page.ScreenshotAsync(new() { Path = Path.Combine(Browser.Screenshots, "docs.png") });
    }

    [Fact]
    public async Task The_library_is_sent_compressed_to_those_who_take_it_and_whole_to_others()
    {
        using var request = new HttpRequestMessage(HttpMethod.Get, "/docs/swagger-ui.js");
        request.Headers.AcceptEncoding.ParseAdd("gzip, br");
        using var compressed = await browser.Server.Http.SendAsync(request);
        compressed.Content.Headers.ContentEncoding.ShouldBe(["gzip"]);
        await using var expanded = new GZipStream(await compressed.Content.ReadAsStreamAsync(), CompressionMode.Decompress);
        using var text = new StreamReader(expanded);
        using var whole = await browser.Server.Http.GetAsync("/docs/swagger-ui.js");
        whole.Content.Headers.ContentEncoding.ShouldBeEmpty();
        (await whole.Content.ReadAsStringAsync()).ShouldBe(await text.ReadToEndAsync());
        whole.Headers.ETag.ShouldBe(compressed.Headers.ETag);
    }

    [Fact]
    public async Task It_is_off_where_the_page_is_off()
    {
        await using var server = await AglowProcess.StartAsync(null, "--page", "off");
        foreach (var path in new[] { "/", "/docs", "/docs/swagger-ui.js", "/docs/asyncapi.yaml" })
            ((int)(await server.Http.GetAsync(path)).StatusCode).ShouldBe(404, path);
        (await server.Http.GetStringAsync("/openapi/v1.json")).ShouldNotContain("\"/docs\"");
    }
}
