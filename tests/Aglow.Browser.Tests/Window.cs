using Aglow.Server.Tests;
using Microsoft.Playwright;

namespace Aglow.Browser.Tests;

/// <summary>
/// A browser window on a server's page. At its end it asserts that no tab of it logged an error or asked another host for anything.
/// </summary>
internal sealed class Window(IBrowserContext context, AglowProcess server) : IAsyncDisposable
{
    private readonly List<string> _wrong = [];
    private readonly string _home = server.Address.AbsoluteUri;

    /// <summary>Set where a test has calls fail: then what the browser itself says of them is what is to be expected.</summary>
    public bool MayBeRefused { get; set; }

    /// <summary>Opens the page in a new tab, as nobody.</summary>
    public async Task<Tab> OpenTabAsync(Func<IPage, Task>? before = null)
    {
        var page = await OpenPageAsync("", before);
        await Assertions.Expect(page.Locator("#link-words")).ToHaveTextAsync("Live");
        return new Tab(page);
    }

    /// <summary>Opens another page of the server in a new tab.</summary>
    public async Task<IPage> OpenPageAsync(string path, Func<IPage, Task>? before = null)
    {
        var page = await context.NewPageAsync();
        page.Console += (_, message) =>
        {
            if (message.Type == "error"
                && !(
                    MayBeRefused
                        && (message.Text.StartsWith("Failed to load resource") || message.Text.StartsWith("WebSocket connection to"))))
                Complain($"logged: {message.Text}");
        };
        page.PageError += (_, error) => Complain($"threw: {error}");
        page.Request += (_, request) =>
        {
            // an image inside a style sheet is asked of nobody
            if (!request.Url.StartsWith(_home, StringComparison.Ordinal) && !request.Url.StartsWith("data:", StringComparison.Ordinal))
                Complain($"asked another host: {request.Url}");
        };
        if (before is not null)
            await before(page);
        await page.GotoAsync(_home + path);
        return page;
    }

    public async ValueTask DisposeAsync()
    {
        await context.DisposeAsync();
        lock (_wrong)
            _wrong.ShouldBeEmpty();
    }

    private void Complain(string what)
    {
        lock (_wrong)
            _wrong.Add(what);
    }
}

/// <summary>One tab, and what a person does in it.</summary>
internal sealed class Tab(IPage page)
{
    private static int _screenshots;

    public IPage Page => page;

    public ILocator Me => page.Locator("#me-seen");

    public ILocator People => page.Locator(".person");

    /// <summary>A person's row, by name.</summary>
    public ILocator Row(string name) => People.Filter(new() { Has = page.GetByText(name, new() { Exact = true }) });

    /// <summary>What a row says of its person: "Online", "Last seen 3 min ago".</summary>
    public ILocator Seen(string name) => Row(name).Locator(".person-seen");

    public async Task<Tab> ArriveAsync(string name)
    {
        await page.GetByLabel("Your name").FillAsync(name);
        await page.GetByRole(AriaRole.Button, new() { Name = "Come online" }).ClickAsync();
        await Assertions.Expect(Me).ToHaveTextAsync("Online");
        return this;
    }

    public Task ChooseAsync(string status) => page.GetByLabel(status, new() { Exact = true }).CheckAsync(new() { Force = true });

    public Task LeaveAsync() => page.GetByRole(AriaRole.Button, new() { Name = "Leave" }).ClickAsync();

    public Task SearchAsync(string query) => page.GetByLabel("Search by name or number").FillAsync(query);

    /// <summary>Kept as the test's output: what the page looked like.</summary>
    public Task ScreenshotAsync(string name) =>
        page.ScreenshotAsync(
            new() { Path = Path.Combine(Browser.Screenshots, $"{Interlocked.Increment(ref _screenshots):00}-{name}.png") });
}
