using System.Net.Http.Json;
using Aglow.Server.Tests;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Aglow.Browser.Tests;

/// <summary>The page of a server that takes tokens.</summary>
[Collection(InOtherBrowser.Name)]
public sealed class SignInTests(Browser browser)
{
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public async Task A_token_that_ends_is_asked_for_again_with_the_reason(bool isRevoked)
    {
        await using var server = await AglowProcess.StartAsync(null, [.. Token.ServerFlags, "--rate-limit", "1000"]);
        await using var window = await browser.OpenAsync(server);
        window.MayBeRefused = true;
        var page = (await window.OpenTabAsync()).Page;
        var token = Token.Of("ann", isRevoked ? 600 : 20);
        await page.GetByLabel("Token or key").FillAsync(token);
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
        await Expect(page.Locator("#me-seen")).ToHaveTextAsync("Online");
        if (isRevoked)
        {
            using var revoke = new HttpRequestMessage(HttpMethod.Post, "/users/ann/revoke");
            revoke.Headers.Authorization = new("Bearer", token);
            (await server.Http.SendAsync(revoke)).EnsureSuccessStatusCode();
        }

        await Expect(page.Locator("#sign-in")).ToBeVisibleAsync(new() { Timeout = 90_000 });
        await Expect(page.Locator("#sign-in-problem")).ToContainTextAsync("Not authenticated: ");
        await Expect(page.Locator("#here")).ToBeHiddenAsync();
        await Expect(page.Locator("#arrive")).ToBeHiddenAsync();
        await Expect(page.Locator("#lost")).ToBeHiddenAsync();
    }

    [Fact]
    public async Task A_pasted_token_signs_in_as_its_person_and_is_forgotten_with_the_page()
    {
        // the test is quicker than a person, and a search costs ten calls
        await using var server = await AglowProcess.StartAsync(null, [.. Token.ServerFlags, "--rate-limit", "1000"]);
        using (
            var profile = new HttpRequestMessage(HttpMethod.Put, "/users/ben") { Content = JsonContent.Create(new { user_name = "Ben" }) })
        {
            profile.Headers.Authorization = new("Bearer", Token.Of("ben"));
            (await server.Http.SendAsync(profile)).EnsureSuccessStatusCode();
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
        // who has no profile is not listed, until they are called something
        await Expect(page.Locator(".person")).ToHaveCountAsync(1);
        await page.GetByText("Names and sign-out").ClickAsync();
        await page.GetByLabel("User name").FillAsync("ann");
        await page.GetByLabel("Display name").FillAsync("Ann of Tokens");
        await page.GetByRole(AriaRole.Button, new() { Name = "Save names" }).ClickAsync();
        await Expect(page.Locator(".person")).ToHaveCountAsync(2);
        await Expect(page.Locator("#me-name")).ToHaveTextAsync("Ann of Tokens");
        (await page.EvaluateAsync<string>("JSON.stringify([{ ...localStorage }, { ...sessionStorage }, document.cookie])"))
            .ShouldNotContain("ey");

        await page.ReloadAsync();
        await Expect(page.Locator("#sign-in")).ToBeVisibleAsync();

        // signed out everywhere, the token is good for nothing
        await page.GetByLabel("Token or key").FillAsync(Token.Of("ann"));
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
        await Expect(page.Locator("#me-seen")).ToHaveTextAsync("Online");
        var token = Token.Of("ann");
        await page.GetByText("Names and sign-out").ClickAsync();
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign out everywhere" }).ClickAsync();
        await Expect(page.Locator("#sign-in")).ToBeVisibleAsync();
        await Expect(page.Locator("#here")).ToBeHiddenAsync();
        await page.GetByLabel("Token or key").FillAsync(token);
        await page.GetByRole(AriaRole.Button, new() { Name = "Sign in" }).ClickAsync();
        await Expect(page.Locator("#sign-in-problem")).ToContainTextAsync("Sign in again");
    }
}
