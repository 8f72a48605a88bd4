using Aglow.Server.Tests;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Aglow.Browser.Tests;

/// <summary>The page of a server that takes tokens.</summary>
[Collection(InBrowser.Name)]
public sealed class SignInTests(Browser browser)
{
    [Fact]
    public async Task A_pasted_token_signs_in_as_its_person_and_is_forgotten_with_the_page()
    {
        await using var server = await AglowProcess.StartAsync(null, Token.ServerFlags);
        using (var heartbeat = new HttpRequestMessage(HttpMethod.Post, "/heartbeat"))
        {
            heartbeat.Headers.Authorization = new("Bearer", Token.Of("ben"));
            (await server.Http.SendAsync(heartbeat)).EnsureSuccessStatusCode();
        }

        await using var window = await browser.OpenAsync(server);
        window.MayBeRefused = true;
        var page = (await window.OpenTabAsync()).Page;
        await Expect(page.Locator("#sign-in")).ToBeVisibleAsync();
        await Expect(page.Locator("#arrive")).ToBeHiddenAsync();

        await page.GetByLabel("Token or key").FillAsync("not-a-token");
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
        await Expect(page.Locator("#sign-in-problem")).ToContainTextAsync("Get another one");

        await page.GetByLabel("Token or key").FillAsync(Token.Of("ann"));
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
        await Expect(page.Locator("#me-name")).ToHaveTextAsync("ann");
        await Expect(page.Locator("#me-seen")).ToHaveTextAsync("Online");
        await Expect(page.Locator("#crowd-card")).ToBeHiddenAsync();
        await Expect(page.Locator(".person")).ToHaveCountAsync(2);
        (await page.EvaluateAsync<string>("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])")).ShouldNotContain("ey");

        await page.ReloadAsync();
        await Expect(page.Locator("#sign-in")).ToBeVisibleAsync();
    }
}
