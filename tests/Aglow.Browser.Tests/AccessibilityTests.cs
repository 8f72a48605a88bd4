using System.Collections.Concurrent;
using System.Text.Json;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Aglow.Browser.Tests;

/// <summary>That everybody can use the page: by eye in either scheme, by ear, by keyboard, on a phone, on a slow line.</summary>
[Collection(InOtherBrowser.Name)]
public sealed class AccessibilityTests(Browser browser)
{
    // The contrast of each visible text with what is behind it (WCAG 2.2, 1.4.3), as rendered; and of each kind of dot (1.4.11, 3:1).
    private const string MeasureContrast = """
        () => {
            const pen = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
            const over = (colors) => {
                pen.clearRect(0, 0, 1, 1);
                for (const color of colors) {
                    pen.fillStyle = color;
                    pen.fillRect(0, 0, 1, 1);
                }
                return [...pen.getImageData(0, 0, 1, 1).data].slice(0, 3);
            };
            const luminance = (rgb) => rgb.map((c) => c / 255).map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
                .reduce((sum, c, i) => sum + c * [0.2126, 0.7152, 0.0722][i], 0);
            const ratio = (a, b) => {
                const [low, high] = [luminance(a), luminance(b)].sort((x, y) => x - y);
                return (high + 0.05) / (low + 0.05);
            };
            const backdrops = (element) => {
                const colors = [];
                for (let at = element; at; at = at.parentElement)
                    colors.unshift(getComputedStyle(at).backgroundColor);
                return colors;
            };
            const bad = [];
            const measured = new Set();
            const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
            for (let text = walker.nextNode(); text; text = walker.nextNode()) {
                const element = text.parentElement;
                if (!text.data.trim() || !element.checkVisibility() || element.closest('.sr, .skip, :disabled, noscript, template'))
                    continue;
                const style = getComputedStyle(element);
                const behind = backdrops(element);
                const size = parseFloat(style.fontSize);
                const least = size >= 24 || (size >= 18.66 && style.fontWeight >= 700) ? 3 : 4.5;
                const is = ratio(over([...behind, style.color]), over(behind));
                measured.add(element.className || element.tagName);
                if (is < least)
                    bad.push(`"${text.data.trim().slice(0, 30)}" ${element.className || element.tagName}: ${is.toFixed(2)}`);
            }
            const card = over([getComputedStyle(document.querySelector('.card')).backgroundColor]);
            for (const status of ['online', 'away', 'busy', 'offline']) {
                const is = ratio(over([getComputedStyle(document.body).getPropertyValue(`--${status}`)]), card);
                if (is < 3)
                    bad.push(`the dot of ${status}: ${is.toFixed(2)}`);
            }
            return { bad: [...new Set(bad)], measured: measured.size };
        }
        """;

    [Theory]
    [InlineData(ColorScheme.Light)]
    [InlineData(ColorScheme.Dark)]
    public async Task Everything_can_be_read_in_both_schemes(ColorScheme scheme)
    {
        var name = $"Reader {scheme}";
        await using var window = await browser.OpenAsync(scheme: scheme);
        var tab = await window.OpenTabAsync();
        await Expect(tab.People.First).ToBeVisibleAsync();
        await ShouldHaveContrastAsync(tab);
        await tab.ScreenshotAsync($"{scheme}-nobody".ToLowerInvariant());

        await tab.ArriveAsync(name);
        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Follow Ada Abara" }).ClickAsync();
        await tab.Page.GetByLabel("Simulated people").FillAsync("400");
        await Expect(tab.Page.Locator("#field")).ToHaveAttributeAsync("aria-label", "400 people of the crowd online");
        await Expect(tab.Page.Locator("#following-count")).ToHaveTextAsync("1");
        await ShouldHaveContrastAsync(tab);
        await tab.ScreenshotAsync($"{scheme}-somebody".ToLowerInvariant());

        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Why? Ada Abara" }).ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Dialog)).ToBeVisibleAsync();
        await ShouldHaveContrastAsync(tab);
        await tab.ScreenshotAsync($"{scheme}-why".ToLowerInvariant());
    }

    [Fact]
    public async Task A_screen_reader_is_told_all_that_can_be_seen()
    {
        await using var window = await browser.OpenAsync();
        var tab = await (await window.OpenTabAsync()).ArriveAsync("Listener");
        await tab.SearchAsync("demo-ada-a");
        await Expect(tab.People).ToHaveCountAsync(1);
        var heard = await tab.Page.Locator("body").AriaSnapshotAsync();
        foreach (var line in new[]
        {
            "- heading \"Aglow\" [level=1]",
            "- region \"Listener\"",
            "- group \"Show me as\"",
            "- radio \"Auto\" [checked]",
            "- radio \"Appear offline\"",
            "- button \"Leave\"",
            "- heading \"Now\" [level=2]",
            "img \"",
            "- slider \"Simulated people\"",
            "- checkbox \"Let them come and go\"",
            "- main \"People\"",
            "- button \"Everyone\" [pressed]",
            "- searchbox \"Search by name or number\"",
            "- list \"People\"",
            "- listitem",
            "- button \"Why? Ada Abara\"",
            "- button \"Follow Ada Abara\"",
            "- contentinfo",
        })
        {
            heard.ShouldContain(line);
        }

        // a dot's meaning is a word beside it, and the dot itself is not read
        heard.ShouldMatch(
            "listitem: Ada Abara (Online|Away|Busy|Last seen .*|Never seen)|text: Ada Abara (Online|Away|Busy|Last seen .*|Never seen)");
        (await tab.Page.Locator("h1").CountAsync()).ShouldBe(1);
        (await tab.Page.Locator(".dot:not([aria-hidden=true], [aria-hidden=true] *)").CountAsync()).ShouldBe(0);
        // few regions speak unasked, and none of them is the list
        (await tab.Page.Locator("[aria-live], [role=status], [role=alert], output").CountAsync()).ShouldBeLessThanOrEqualTo(6);
        (await tab.Page.Locator("#list :is([aria-live], [role=status])").CountAsync()).ShouldBe(0);
        (await tab.Page.Locator("html").GetAttributeAsync("lang")).ShouldBe("en");
        (await tab.Page.TitleAsync()).ShouldBe("Listener · Aglow");
    }

    [Fact]
    public async Task Everything_is_done_by_keyboard_and_focus_is_always_seen()
    {
        await using var window = await browser.OpenAsync();
        var tab = await window.OpenTabAsync();
        await Expect(tab.People.First).ToBeVisibleAsync();
        var keys = tab.Page.Keyboard;
        await TabToAsync(tab, "Skip to people");
        await TabToAsync(tab, "Your name");
        await keys.TypeAsync("Kay Board");
        await keys.PressAsync("Enter");
        await Expect(tab.Me).ToHaveTextAsync("Online");
        await Expect(tab.Page.Locator("#me-name")).ToBeFocusedAsync();
        await TabToAsync(tab, "Leave");
        await TabToAsync(tab, "Auto");
        await keys.PressAsync("ArrowDown");
        await keys.PressAsync("ArrowDown");
        await Expect(tab.Me).ToHaveTextAsync("Busy");
        await keys.PressAsync("ArrowUp");
        await Expect(tab.Me).ToHaveTextAsync("Away");
        await TabToAsync(tab, "Simulated people");
        await keys.PressAsync("PageUp");
        await Expect(tab.Page.Locator("#crowd-size")).ToHaveTextAsync("100 people");
        await keys.PressAsync("Home");
        await TabToAsync(tab, "Let them come and go");
        await TabToAsync(tab, "Everyone");
        await TabToAsync(tab, "Following");
        await TabToAsync(tab, "Search by name or number");
        await keys.TypeAsync("ada abara");
        await Expect(tab.People).ToHaveCountAsync(1);
        await TabToAsync(tab, "Why? Ada Abara");
        await keys.PressAsync("Enter");
        await Expect(tab.Page.Locator("#why-title")).ToBeFocusedAsync();
        await keys.PressAsync("Escape");
        await TabToAsync(tab, "Follow Ada Abara");
        await keys.PressAsync("Space");
        await Expect(tab.Page.Locator("#following-count")).ToHaveTextAsync("1");
        await TabToAsync(tab, "API");
        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Leave" }).FocusAsync();
        await keys.PressAsync("Enter");
        await Expect(tab.Page.GetByLabel("Your name")).ToBeFocusedAsync();
    }

    [Fact]
    public async Task A_phone_needs_no_scrolling_sideways()
    {
        await using var window = await browser.OpenAsync(width: 360, height: 740);
        var tab = await window.OpenTabAsync();
        await ShouldFitAsync(tab);
        await tab.ScreenshotAsync("phone-nobody");
        await tab.ArriveAsync("A person with a name that is much too long for a phone to show");
        await tab.Page.GetByLabel("Simulated people").FillAsync("1000");
        await Expect(tab.Page.Locator("#field")).ToHaveAttributeAsync("aria-label", "1,000 people of the crowd online");
        await ShouldFitAsync(tab);
        await tab.People.Nth(8).ScrollIntoViewIfNeededAsync();
        await tab.ScreenshotAsync("phone-people");
        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Why? Ada Abara" }).ClickAsync();
        await Expect(tab.Page.GetByRole(AriaRole.Dialog)).ToBeInViewportAsync(new() { Ratio = 1 });
        await ShouldFitAsync(tab);
        await tab.ScreenshotAsync("phone-why");

        static async Task ShouldFitAsync(Tab tab) =>
            (await tab.Page.EvaluateAsync<int>("() => document.documentElement.scrollWidth")).ShouldBeLessThanOrEqualTo(360);
    }

    [Fact]
    public async Task All_files_of_the_page_together_are_light()
    {
        await using var window = await browser.OpenAsync();
        ConcurrentQueue<IResponse> files = [];
        var tab = await window.OpenTabAsync(page =>
        {
            page.Response += (_, response) =>
            {
                if (response.Request.ResourceType is "document" or "script" or "stylesheet" or "image")
                    files.Enqueue(response);
            };
            return Task.CompletedTask;
        });
        await Expect(tab.People.First).ToBeVisibleAsync();
        var bytes = 0;
        foreach (var file in files)
            bytes += (await file.Request.SizesAsync()).ResponseBodySize;
        files.Count.ShouldBeGreaterThan(20);
        // as they are sent: compressed
        bytes.ShouldBeInRange(20_000, 70_000);
        (await files.First().HeaderValueAsync("content-security-policy")).ShouldNotBeNull();
    }

    [Fact]
    public async Task Nothing_moves_by_itself_for_who_wants_it_still()
    {
        await using var window = await browser.OpenAsync();
        var tab = await window.OpenTabAsync(static page => page.EmulateMediaAsync(new() { ReducedMotion = ReducedMotion.Reduce }));
        await tab.Page.GetByLabel("Simulated people").FillAsync("500");
        await Expect(tab.Page.Locator("#field")).ToHaveAttributeAsync("aria-label", "500 people of the crowd online");
        (await tab.Page.EvaluateAsync<int>("() => document.getAnimations().length")).ShouldBe(0);
    }

    private static async Task ShouldHaveContrastAsync(Tab tab)
    {
        var found = await tab.Page.EvaluateAsync<JsonElement>(MeasureContrast);
        found.GetProperty("bad").EnumerateArray().Select(static bad => bad.GetString()).ShouldBeEmpty();
        found.GetProperty("measured").GetInt32().ShouldBeGreaterThan(8);
    }

    // Presses Tab, a few times at most, until the element of this name has the focus. The focus must be visible.
    private static async Task TabToAsync(Tab tab, string name)
    {
        const string Focused = """
            () => {
                const at = document.activeElement;
                const seen = getComputedStyle(at.matches('[type=radio]') ? at.nextElementSibling : at);
                const name = at.getAttribute('aria-label') ?? at.labels?.[0]?.textContent ?? at.textContent;
                return {
                    name: name.trim(),
                    isSeen: (seen.outlineStyle !== 'none' && parseFloat(seen.outlineWidth) >= 2) || at.matches('.skip'),
                };
            }
            """;
        List<string> passed = [];
        while (passed.Count < 8)
        {
            await tab.Page.Keyboard.PressAsync("Tab");
            var focused = await tab.Page.EvaluateAsync<JsonElement>(Focused);
            var at = focused.GetProperty("name").GetString()!;
            focused.GetProperty("isSeen").GetBoolean().ShouldBeTrue($"focus on \"{at}\" is not seen");
            if (at == name)
                return;
            passed.Add(at);
        }

        throw new InvalidOperationException($"\"{name}\" was not reached: {string.Join(", ", passed)}.");
    }
}
