using System.Diagnostics;
using Aglow.Server.Tests;
using Microsoft.Playwright;

namespace Aglow.Browser.Tests;

/// <summary>The .NET client in a page that .NET itself runs: Blazor WebAssembly (tests/programs/Blazor).</summary>
[Collection(InBrowser.Name)]
public sealed class BlazorTests(Browser browser)
{
    [Fact]
    public async Task The_registered_client_comes_online_chooses_a_status_and_leaves()
    {
        var files = await PublishAsync();
        var page = await browser.OpenAsync(new Uri(browser.Server.Address, "/health/live"));
        // the application's files are of the server's own origin
        await page.RouteAsync("**/blazor/**", route =>
        {
            var name = new Uri(route.Request.Url).AbsolutePath["/blazor/".Length..];
            var type = Path.GetExtension(name) == ".wasm" ? "application/wasm" : null;
            return route.FulfillAsync(new() { Path = Path.Combine(files, name.Length > 0 ? name : "index.html"), ContentType = type });
        });
        await page.GotoAsync(new Uri(browser.Server.Address, "/blazor/").AbsoluteUri);
        await Assertions.Expect(page.Locator("#seen")).ToHaveTextAsync(
            "Online Saved Busy Busy Left Offline", new() { Timeout = 2 * Browser.WaitsMs });
        (await page.Locator("#failures").TextContentAsync()).ShouldBe("");
        await page.Context.CloseAsync();
    }

    private static async Task<string> PublishAsync()
    {
        using var publish = Process.Start(Path.Combine(AglowProcess.Root, "tests", "programs", "publish"), "blazor");
        await publish.WaitForExitAsync();
        publish.ExitCode.ShouldBe(0);
        return Path.Combine(AglowProcess.Root, "out", "programs", "blazor", "files", "wwwroot");
    }
}
