using System.Text;
using System.Text.RegularExpressions;
using Aglow.Server.Tests;
using Aglow.Tests;
using Microsoft.Playwright;
using static Microsoft.Playwright.Assertions;

namespace Aglow.Browser.Tests;

/// <summary>What people do on the page.</summary>
[Collection(InBrowser.Name)]
public sealed partial class PageTests(Browser browser)
{
    private static int _next;

    [Fact]
    public async Task Two_tabs_see_each_other_come_and_go()
    {
        var (ann, ben) = (NewName("Ann"), NewName("Ben"));
        await using var window = await browser.OpenAsync();
        var anns = await (await window.OpenTabAsync()).ArriveAsync(ann);
        var bens = await (await window.OpenTabAsync()).ArriveAsync(ben);
        await anns.SearchAsync(ben);
        await bens.SearchAsync(ann);
        await Expect(anns.Seen(ben)).ToHaveTextAsync("Online");
        await Expect(bens.Seen(ann)).ToHaveTextAsync("Online");

        await bens.LeaveAsync();
        await Expect(anns.Seen(ben)).ToHaveTextAsync("Last seen just now");
        await Expect(bens.Page.GetByLabel("Your name")).ToHaveValueAsync(ben);
        await bens.ArriveAsync(ben);
        await Expect(anns.Seen(ben)).ToHaveTextAsync("Online");

        // no goodbye: the lease runs out
        await bens.Page.CloseAsync();
        await Expect(anns.Seen(ben)).ToHaveTextAsync("Last seen just now");
    }

    [Fact]
    public async Task Who_has_not_said_who_they_are_sees_people_change_and_new_ones_arrive()
    {
        var name = NewName("Cleo");
        await using var window = await browser.OpenAsync();
        var tab = await window.OpenTabAsync();
        await Expect(tab.People).ToHaveCountAsync(40 + await RegisteredAsync());
        await OnlineUntilAsync(name, () => Expect(tab.Seen(name)).ToHaveTextAsync("Online"));
        await Expect(tab.Seen(name)).ToHaveTextAsync("Last seen just now");
        await OnlineUntilAsync(name, () => Expect(tab.Seen(name)).ToHaveTextAsync("Online"));
        await Expect(tab.Row(name).Locator(".follow")).ToBeHiddenAsync();
    }

    [Fact]
    public async Task Whoever_runs_the_server_sees_its_webhooks_and_their_newest_requests()
    {
        await using var server = await AglowProcess.StartAsync();
        await using var window = await browser.OpenAsync(server);
        (await (await window.OpenTabAsync()).Page.Locator("#webhooks-card").IsVisibleAsync()).ShouldBeFalse("there are none");
        // nobody listens there
        using var body = new StringContent("{\"url\":\"http://127.0.0.1:1/hook\"}", Encoding.UTF8, "application/json");
        (await server.Http.PostAsync("/webhooks", body)).EnsureSuccessStatusCode();
        using var heartbeat = new StringContent("{\"user_id\":1}", Encoding.UTF8, "application/json");
        (await server.Http.PostAsync("/heartbeat", heartbeat)).EnsureSuccessStatusCode();
        var page = (await window.OpenTabAsync()).Page;
        await Expect(page.Locator(".webhook-url")).ToHaveTextAsync("http://127.0.0.1:1/hook");
        await Expect(page.Locator(".webhook-state")).ToContainTextAsync("failing since");
        await page.Locator(".webhook summary").ClickAsync();
        await Expect(page.Locator(".webhook tbody tr").First).ToContainTextAsync("refused");
    }

    [Fact]
    public async Task What_somebody_chooses_to_be_shown_as_is_what_others_see()
    {
        var (ann, ben) = (NewName("Ann"), NewName("Ben"));
        await using var window = await browser.OpenAsync();
        var anns = await (await window.OpenTabAsync()).ArriveAsync(ann);
        var bens = await (await window.OpenTabAsync()).ArriveAsync(ben);
        await bens.SearchAsync(ann);
        foreach (var (chosen, seen) in new[]
        {
            ("Busy", "Busy"), ("Away", "Away"), ("Appear offline", "Last seen just now"), ("Auto", "Online"),
        })
        {
            await anns.ChooseAsync(chosen);
            await Expect(bens.Seen(ann)).ToHaveTextAsync(seen);
        }

        await anns.ChooseAsync("Appear offline");
        await Expect(anns.Me).ToHaveTextAsync("Others see you offline");
        // it is saved, and so is who this tab is
        await anns.Page.ReloadAsync();
        await Expect(anns.Page.Locator("#me-name")).ToHaveTextAsync(ann);
        await Expect(anns.Page.GetByLabel("Appear offline")).ToBeCheckedAsync();
    }

    [Fact]
    public async Task What_somebody_says_with_their_status_is_what_others_read()
    {
        var (ann, ben) = (NewName("Ann"), NewName("Ben"));
        await using var window = await browser.OpenAsync();
        var anns = await (await window.OpenTabAsync()).ArriveAsync(ann);
        var bens = await (await window.OpenTabAsync()).ArriveAsync(ben);
        await bens.SearchAsync(ann);
        await anns.ChooseAsync("Busy");
        await Expect(bens.Seen(ann)).ToHaveTextAsync("Busy");
        await anns.Page.GetByLabel("What you say with it").FillAsync("Writing <b>tests</b>");
        await anns.Page.GetByLabel("Emoji").FillAsync("🧪");
        await anns.Page.GetByLabel("For how long").SelectOptionAsync("For an hour");
        await anns.Page.GetByRole(AriaRole.Button, new() { Name = "Say it" }).ClickAsync();
        await Expect(bens.Seen(ann)).ToHaveTextAsync(
            new Regex("^Busy · 🧪 Writing <b>tests</b> · until \\d\\d:\\d\\d$", RegexOptions.None, TimeSpan.FromSeconds(1)));
        await Expect(anns.Me).ToHaveTextAsync(
            new Regex("^Busy · 🧪 Writing <b>tests</b> · until", RegexOptions.None, TimeSpan.FromSeconds(1)));
        // a row that is made now reads the same
        await bens.SearchAsync("");
        await bens.SearchAsync(ann);
        await Expect(bens.Seen(ann)).ToHaveTextAsync(new Regex("Writing <b>tests</b>", RegexOptions.None, TimeSpan.FromSeconds(1)));
        await bens.Row(ann).GetByText("Why?").ClickAsync();
        await Expect(bens.Page.Locator("#why-facts")).ToContainTextAsync("🧪 Writing <b>tests</b>");
    }

    [Fact]
    public async Task A_search_finds_as_one_types()
    {
        var name = NewName("Quintessa");
        await HeartbeatAsync(name);
        await using var window = await browser.OpenAsync();
        var tab = await window.OpenTabAsync();
        await tab.Page.GetByLabel("Search by name or number").PressSequentiallyAsync("UINTES");
        await Expect(tab.People).ToHaveCountAsync(1);
        await Expect(tab.Row(name)).ToBeVisibleAsync();
        await Expect(tab.Page.Locator("#found")).ToHaveTextAsync("1 person found");
        await tab.SearchAsync("nobody has this name");
        await Expect(tab.Page.GetByText("Nobody is called “nobody has this name”.")).ToBeVisibleAsync();
        // a number needs no registration
        await tab.SearchAsync("4711");
        await Expect(tab.Seen("Number 4711")).ToHaveTextAsync("Never seen");
        await tab.SearchAsync("");
        await Expect(tab.People.Nth(30)).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Long_lists_are_shown_in_parts_and_nobody_falls_out_when_somebody_new_comes()
    {
        await using var server = await AglowProcess.StartAsync(null, "--demo", "230");
        await using var window = await browser.OpenAsync(server);
        var tab = await window.OpenTabAsync();
        await Expect(tab.People).ToHaveCountAsync(100);
        var more = tab.Page.GetByRole(AriaRole.Button, new() { Name = "Show 100 more" });
        await more.ClickAsync();
        await Expect(tab.People).ToHaveCountAsync(200);
        await CallAsync(HttpMethod.Post, "/users", """{"user_name":"New Here"}""", server);
        await Expect(tab.People.First).ToContainTextAsync("New Here");
        await Expect(tab.People).ToHaveCountAsync(201);
        await more.ClickAsync();
        await Expect(tab.People).ToHaveCountAsync(231);
        await Expect(more).ToBeHiddenAsync();
        (
            await tab.Page.EvaluateAsync<int>(
                "() => new Set([...document.querySelectorAll('.person-name')].map((name) => name.textContent)).size"))
            .ShouldBe(231);
    }

    [Fact]
    public async Task Following_is_saved()
    {
        var (ann, ben) = (NewName("Ann"), NewName("Ben"));
        await HeartbeatAsync(ben);
        await using var window = await browser.OpenAsync();
        var tab = await (await window.OpenTabAsync()).ArriveAsync(ann);
        var star = tab.Page.GetByRole(AriaRole.Button, new() { Name = $"Follow {ben}" });
        await star.ClickAsync();
        await Expect(star).ToHaveAttributeAsync("aria-pressed", "true");
        await tab.Page.ReloadAsync();
        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Following 1" }).ClickAsync();
        await Expect(tab.People).ToHaveCountAsync(1);
        await Expect(tab.Row(ben)).ToBeVisibleAsync();

        // told to a screen reader, since it is somebody they follow
        await Expect(tab.Seen(ben)).ToHaveTextAsync("Last seen just now");
        await OnlineUntilAsync(ben, () => Expect(tab.Page.Locator("#announcer")).ToContainTextAsync($"{ben} came online"));

        await star.ClickAsync();
        await Expect(star).ToHaveAttributeAsync("aria-pressed", "false");
        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Everyone" }).ClickAsync();
        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Following", Exact = true }).ClickAsync();
        await Expect(tab.Page.GetByText("You follow nobody yet.")).ToBeVisibleAsync();
    }

    [Fact]
    public async Task Who_hides_is_seen_by_whom_they_approve_and_by_nobody_they_block()
    {
        var (ann, ben) = (NewName("Ann"), NewName("Ben"));
        await using var window = await browser.OpenAsync();
        var (anns, bens) = (await window.OpenTabAsync(), await window.OpenTabAsync());
        await anns.ArriveAsync(ann);
        await bens.ArriveAsync(ben);
        await bens.SearchAsync(ann);
        await Expect(bens.Seen(ann)).ToHaveTextAsync("Online");
        await anns.Page.GetByText("Seen by everyone").ClickAsync();
        await anns.Page.GetByLabel("Whether I am online is seen by").SelectOptionAsync("followers-approved");
        await Expect(anns.Page.GetByText("Seen by those I approve")).ToBeVisibleAsync();
        await Expect(bens.Seen(ann)).ToHaveTextAsync("Never seen");

        await bens.Page.GetByRole(AriaRole.Button, new() { Name = $"Follow {ann}" }).ClickAsync();
        await Expect(anns.Page.Locator("#waiting-count")).ToHaveTextAsync("1 waiting");
        await anns.ScreenshotAsync("waiting");
        await anns.Page.GetByRole(AriaRole.Button, new() { Name = $"Approve {ben}" }).ClickAsync();
        await Expect(anns.Page.Locator("#waiting-count")).ToBeHiddenAsync();
        await Expect(bens.Seen(ann)).ToHaveTextAsync("Online");

        var cat = NewName("Cat");
        await bens.LeaveAsync();
        await bens.ArriveAsync(cat);
        await bens.Page.GetByRole(AriaRole.Button, new() { Name = $"Follow {ann}" }).ClickAsync();
        await anns.Page.GetByRole(AriaRole.Button, new() { Name = $"Block {cat}" }).ClickAsync();
        await anns.Page.GetByLabel("Whether I am online is seen by").SelectOptionAsync("everyone");
        await Expect(anns.Page.GetByText("Seen by everyone")).ToBeVisibleAsync();
        await Expect(bens.Seen(ann)).ToHaveTextAsync("Never seen");
        await anns.Page.GetByRole(AriaRole.Button, new() { Name = $"Unblock {cat}" }).ClickAsync();
        await Expect(bens.Seen(ann)).ToHaveTextAsync("Online");

        // kept by the server, not by the tab
        await anns.Page.GetByLabel("When I was last seen").SelectOptionAsync("hidden");
        await anns.Page.ReloadAsync();
        await Expect(anns.Page.GetByLabel("When I was last seen")).ToHaveValueAsync("hidden");
    }

    [Fact]
    public async Task A_number_keeps_its_choice_over_a_reload_and_in_a_second_tab()
    {
        var number = $"{1_500_000_000 + Interlocked.Increment(ref _next)}";
        await using var window = await browser.OpenAsync();
        // a number that has chosen nothing yet has no record, and the browser logs that
        window.MayBeRefused = true;
        var tab = await (await window.OpenTabAsync()).ArriveAsync(number);
        await Expect(tab.Page.GetByLabel("Auto")).ToBeCheckedAsync();
        await tab.ChooseAsync("Busy");
        await Expect(tab.Me).ToHaveTextAsync("Busy");
        await tab.Page.ReloadAsync();
        await Expect(tab.Page.Locator("#me-name")).ToContainTextAsync(number);
        await Expect(tab.Page.GetByLabel("Busy", new() { Exact = true })).ToBeCheckedAsync();
        var second = await window.OpenTabAsync();
        await second.Page.GetByLabel("Your name").FillAsync(number);
        await second.Page.GetByRole(AriaRole.Button, new() { Name = "Come online" }).ClickAsync();
        await Expect(second.Me).ToHaveTextAsync("Busy");
        await Expect(second.Page.GetByLabel("Busy", new() { Exact = true })).ToBeCheckedAsync();
    }

    [Theory]
    [InlineData("disabled")]
    [InlineData("deleted")]
    public async Task Somebody_whom_the_server_refuses_reads_why_and_goes_on_as_a_visitor(string how)
    {
        var (name, other) = (NewName("Dora"), NewName("Emil"));
        await HeartbeatAsync(name);
        await HeartbeatAsync(other);
        await using var window = await browser.OpenAsync();
        window.MayBeRefused = true;
        var tab = await (await window.OpenTabAsync()).ArriveAsync(name);
        var path = $"/users/{Uri.EscapeDataString(name)}";
        if (how == "disabled")
            await CallAsync(HttpMethod.Put, $"{path}/access", """{"disabled":true}""");
        else
            await CallAsync(HttpMethod.Delete, path, "");
        await Expect(tab.Page.Locator("#arrive-problem")).ToContainTextAsync("Not allowed: ");
        await Expect(tab.Page.GetByLabel("Your name")).ToBeVisibleAsync();
        await Expect(tab.Page.Locator("#here")).ToBeHiddenAsync();
        await Expect(tab.Page.Locator("#lost")).ToBeHiddenAsync();
        await Expect(tab.Page.Locator("#link-words")).ToHaveTextAsync("Live");
        // and sees others come and go
        await tab.SearchAsync(other);
        await OnlineUntilAsync(other, () => Expect(tab.Seen(other)).ToHaveTextAsync("Online"));
    }

    [Fact]
    public async Task A_lost_connection_is_said_and_comes_back_by_itself()
    {
        using var folder = new TemporaryFolder();
        await using var server = await AglowProcess.StartAsync(folder.Path, "--demo", "12");
        AglowProcess? again = null;
        try
        {
            await using var window = await browser.OpenAsync(server);
            window.MayBeRefused = true;
            var member = await (await window.OpenTabAsync()).ArriveAsync("Ann");
            var visitor = await window.OpenTabAsync();
            foreach (var tab in new[] { member, visitor })
                await Expect(tab.People).ToHaveCountAsync(13);
            var address = server.Address.AbsoluteUri;
            await server.KillAsync();
            foreach (var tab in new[] { member, visitor })
            {
                await Expect(tab.Page.GetByText("The connection is lost.", new() { Exact = true })).ToBeVisibleAsync();
                await Expect(tab.Page.Locator(".person[data-status=unknown]")).ToHaveCountAsync(13);
                await Expect(tab.Seen("Ada Abara")).ToContainTextAsync("Unknown");
            }

            await member.ScreenshotAsync("lost");
            again = AglowProcess.Run(folder.Path, ["--demo", "12"], urls: address);
            await again.ReadyAsync();
            foreach (var tab in new[] { member, visitor })
            {
                await Expect(tab.Page.Locator("#lost")).ToBeHiddenAsync();
                await Expect(tab.Page.Locator(".person[data-status=unknown]")).ToHaveCountAsync(0);
                await Expect(tab.Page.Locator("#link-words")).ToHaveTextAsync("Live");
            }

            await Expect(visitor.Seen("Ann")).ToHaveTextAsync("Online");
            await Expect(member.Me).ToHaveTextAsync("Online");
        }
        finally
        {
            if (again is not null)
                await again.DisposeAsync();
        }
    }

    [Fact]
    public async Task A_crowd_comes_and_goes_by_the_slider()
    {
        await using var server = await AglowProcess.StartAsync();
        await using var window = await browser.OpenAsync(server);
        var tab = await window.OpenTabAsync();
        await Expect(tab.Page.GetByText("Nobody is here yet.")).ToBeVisibleAsync();
        var (slider, field) = (tab.Page.GetByLabel("Simulated people"), tab.Page.Locator("#field"));
        await slider.FillAsync("300");
        await Expect(field).ToHaveAttributeAsync("aria-label", "300 people of the crowd online");
        await Expect(tab.Page.Locator("#crowd-size")).ToHaveTextAsync("300 people");
        await Expect(tab.Page.Locator("#count")).ToHaveTextAsync("300");
        // as the numbers that the page says
        var first = Digits().Match(await tab.Page.Locator("#crowd-range").InnerTextAsync()).Value;
        (await server.Http.GetStringAsync($"/online?limit=1000")).Split(',').Length.ShouldBe(301);
        (await server.Http.GetStringAsync($"/online?limit=1")).ShouldContain(first[..6]);

        await slider.FillAsync("20");
        await Expect(field).ToHaveAttributeAsync("aria-label", "20 people of the crowd online");
        await tab.Page.GetByLabel("Let them come and go").CheckAsync();
        var before = await server.Http.GetStringAsync("/online?limit=1000");
        await Expect(tab.Page.Locator("#rate")).Not.ToHaveTextAsync("0.0");
        await tab.Page.WaitForFunctionAsync(
            "before => fetch('/online?limit=1000').then(r => r.text()).then(now => now !== before)", before);
        await slider.FillAsync("0");
        await Expect(tab.Page.Locator("#count")).ToHaveTextAsync("0");
    }

    [Theory]
    [InlineData(1280)]
    [InlineData(360)]
    public async Task Somebody_changes_their_names_and_signs_out_everywhere(int width)
    {
        var (ann, ben) = (NewName("Ann"), NewName("Ben"));
        await using var window = await browser.OpenAsync(width: width, height: 740);
        window.MayBeRefused = true;
        var anns = await (await window.OpenTabAsync()).ArriveAsync(ann);
        var bens = await (await window.OpenTabAsync()).ArriveAsync(ben);
        await bens.SearchAsync(ann);
        await Expect(bens.Seen(ann)).ToHaveTextAsync("Online");
        await anns.Page.GetByText("Names and sign-out").ClickAsync();
        await Expect(anns.Page.GetByLabel("User name")).ToHaveValueAsync(ann);
        await anns.Page.GetByLabel("Display name").FillAsync($"Annabel of {ann}");
        await anns.Page.GetByRole(AriaRole.Button, new() { Name = "Save names" }).ClickAsync();
        await Expect(anns.Page.Locator("#me-name")).ToHaveTextAsync($"Annabel of {ann}");
        await Expect(bens.Seen($"Annabel of {ann}")).ToHaveTextAsync("Online");

        // a user name is one person's, and the page says so
        await anns.Page.GetByLabel("User name").FillAsync(ben.ToUpperInvariant());
        await anns.Page.Keyboard.PressAsync("Enter");
        await Expect(anns.Page.Locator("#account-problem")).ToContainTextAsync("Another user has the user_name");
        (await anns.Page.EvaluateAsync<int>("() => document.documentElement.scrollWidth")).ShouldBeLessThanOrEqualTo(width);
        await anns.Page.Locator("#sign-out").ScrollIntoViewIfNeededAsync();
        await anns.ScreenshotAsync($"names-{width}");
        await anns.Page.GetByLabel("User name").FillAsync($"{ann} renamed");
        await anns.Page.Keyboard.PressAsync("Enter");
        await Expect(anns.Page.Locator("#account-problem")).ToBeHiddenAsync();
        await anns.Page.ReloadAsync();
        await Expect(anns.Page.Locator("#me-name")).ToHaveTextAsync($"Annabel of {ann}");

        await anns.Page.GetByText("Names and sign-out").ClickAsync();
        await Expect(anns.Page.GetByLabel("User name")).ToHaveValueAsync($"{ann} renamed");
        await anns.Page.GetByRole(AriaRole.Button, new() { Name = "Sign out everywhere" }).ClickAsync();
        await Expect(anns.Page.GetByLabel("Your name")).ToHaveValueAsync($"{ann} renamed");
        await Expect(bens.Seen($"Annabel of {ann}")).ToHaveTextAsync("Last seen just now");
        await anns.ArriveAsync($"{ann} renamed");
        await Expect(bens.Seen($"Annabel of {ann}")).ToHaveTextAsync("Online");

        // the name that was given up is somebody else's now, though the ID is not
        await anns.LeaveAsync();
        await anns.ArriveAsync(ann);
        await Expect(anns.Page.Locator("#me-name")).ToHaveTextAsync(ann);
    }

    [Fact]
    public async Task Why_is_answered_in_words()
    {
        var (ann, ben) = (NewName("Ann"), NewName("Ben"));
        await using var window = await browser.OpenAsync();
        var tab = await (await window.OpenTabAsync()).ArriveAsync(ann);
        var (why, reason) = (tab.Page.GetByRole(AriaRole.Button, new() { Name = $"Why? {ben}" }), tab.Page.Locator("#why-reason"));
        await OnlineUntilAsync(ben, async () =>
        {
            await tab.SearchAsync(ben);
            await why.ClickAsync();
            await Expect(tab.Page.GetByRole(AriaRole.Dialog, new() { Name = $"Why is {ben} shown as online?" })).ToBeVisibleAsync();
        });
        await Expect(reason).ToContainTextAsync("A heartbeat counts for 6 s, and the last heartbeat came");
        await tab.ScreenshotAsync("why");
        await tab.Page.GetByRole(AriaRole.Button, new() { Name = "Close" }).ClickAsync();
        await Expect(why).ToBeFocusedAsync();

        await CallAsync(HttpMethod.Post, "/offline", $$"""{"user_ids":["{{ben}}"]}""");
        await Expect(tab.Seen(ben)).ToHaveTextAsync("Last seen just now");
        await why.ClickAsync();
        await Expect(reason).ToContainTextAsync($"{ben} left");
        await tab.Page.Keyboard.PressAsync("Escape");

        await tab.ChooseAsync("Busy");
        await tab.SearchAsync(ann);
        await Expect(tab.Seen($"{ann} (you)")).ToHaveTextAsync("Busy");
        await tab.Page.GetByRole(AriaRole.Button, new() { Name = $"Why? {ann}" }).ClickAsync();
        await Expect(reason).ToContainTextAsync("chose to be shown as busy");
    }

    [Fact]
    public async Task Last_seen_ages_by_itself()
    {
        var name = NewName("Dora");
        await CallAsync(HttpMethod.Post, "/users", $$"""{"user_name":"{{name}}"}""");
        await CallAsync(
            HttpMethod.Post, "/status/update",
            $$"""{"user_id":"{{name}}","timestamp":{{DateTimeOffset.UtcNow.ToUnixTimeSeconds() - 600}}}""");
        await using var window = await browser.OpenAsync();
        window.MayBeRefused = true;
        var tab = await window.OpenTabAsync(async page =>
        {
            await page.Clock.InstallAsync();
            // this clock runs ahead, and the page would set it by the server's
            await page.RouteAsync("**/online/count", static route => route.AbortAsync());
        });
        await tab.SearchAsync(name);
        await Expect(tab.Seen(name)).ToHaveTextAsync("Last seen 10 min ago");
        await tab.Page.Clock.FastForwardAsync("05:00");
        await Expect(tab.Seen(name)).ToHaveTextAsync("Last seen 15 min ago");
    }

    [Fact]
    public async Task A_name_nobody_can_come_online_under_is_said()
    {
        await using var window = await browser.OpenAsync();
        window.MayBeRefused = true;
        var tab = await window.OpenTabAsync();
        await tab.Page.GetByLabel("Your name").FillAsync("demo-ada-abara");
        await tab.Page.Keyboard.PressAsync("Enter");
        await Expect(tab.Page.Locator("#arrive-problem")).ToContainTextAsync("one of the demo’s");
        await Expect(tab.Page.Locator("#link-words")).ToHaveTextAsync("Live");
    }

    private static string NewName(string name) => $"{name} {Interlocked.Increment(ref _next)}";

    // with a profile: others are not listed
    private async Task HeartbeatAsync(string name)
    {
        await CallAsync(HttpMethod.Put, $"/users/{Uri.EscapeDataString(name)}", $$"""{"user_name":"{{name}}"}""");
        await CallAsync(HttpMethod.Post, "/heartbeat", $$"""{"user_ids":["{{name}}"]}""");
    }

    // A heartbeat keeps somebody online for six seconds, and a busy machine may take longer to show it. So it is sent again and again.
    private async Task OnlineUntilAsync(string name, Func<Task> seen)
    {
        await HeartbeatAsync(name);
        using var stop = new CancellationTokenSource();
        var beating = BeatAsync(name, stop.Token);
        try
        {
            await seen();
        }
        finally
        {
            await stop.CancelAsync();
            await beating;
        }
    }

    private async Task BeatAsync(string name, CancellationToken stop)
    {
        using var seconds = new PeriodicTimer(TimeSpan.FromSeconds(1));
        try
        {
            while (await seconds.WaitForNextTickAsync(stop))
                await CallAsync(HttpMethod.Post, "/heartbeat", $$"""{"user_ids":["{{name}}"]}""");
        }
        catch (OperationCanceledException)
        {
            // it was seen
        }
    }

    private async Task<int> RegisteredAsync() =>
        (await browser.Server.Http.GetStringAsync("/users?limit=100")).Split("\"user_name\"").Length - 1 - 40;

    private async Task CallAsync(HttpMethod method, string path, string json, AglowProcess? server = null)
    {
        using var request = new HttpRequestMessage(method, path) { Content = new StringContent(json, Encoding.UTF8, "application/json") };
        using var answer = await (server ?? browser.Server).Http.SendAsync(request);
        answer.IsSuccessStatusCode.ShouldBeTrue(await answer.Content.ReadAsStringAsync());
    }

    [GeneratedRegex(@"\d+", RegexOptions.None, matchTimeoutMilliseconds: 1000)]
    private static partial Regex Digits();
}
