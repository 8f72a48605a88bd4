using Aglow.Client.Tests;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Aglow.Browser.Tests;

/// <summary>The page of <c>samples/ChatApp</c>.</summary>
[Collection(InOtherBrowser.Name)]
public sealed class ChatAppPageTests(Browser browser)
{
    [Fact]
    public async Task Two_people_talk_and_their_dots_come_and_go()
    {
        await using var app = await ChatAppProcess.StartAsync(leaseSeconds: 8);
        var ann = await ArriveAsync(app, "Ann");
        var ben = await ArriveAsync(app, "Ben <b>");
        await Expect(Dot(ann, "Ben <b>")).ToHaveAttributeAsync("data-status", "online");
        await Expect(Dot(ben, "Ann")).ToHaveAttributeAsync("data-status", "online");
        await ann.GetByLabel("Say something").FillAsync("hello");
        await ann.GetByLabel("Say something").PressAsync("Enter");
        await Expect(ben.Locator("#lines")).ToContainTextAsync("Ann: hello");
        await ann.ScreenshotAsync(new() { Path = Path.Combine(Browser.Screenshots, "chat-app.png") });

        // no goodbye: the lease runs out
        await ben.Context.CloseAsync();
        await Expect(Dot(ann, "Ben <b>")).ToHaveAttributeAsync("data-status", "offline");
        await ann.Context.CloseAsync();
    }

    private async Task<IPage> ArriveAsync(ChatAppProcess app, string name)
    {
        var page = await browser.OpenAsync(app.Address);
        await page.GetByLabel("Your name").FillAsync(name);
        await page.GetByLabel("Your name").PressAsync("Enter");
        await Expect(page.Locator("#lines")).ToContainTextAsync($"{name}: is here");
        await Expect(page.GetByLabel("Your name")).ToBeHiddenAsync();
        return page;
    }

    private static ILocator Dot(IPage page, string name) => page.Locator("#people li", new() { HasText = name });
}
