using Aglow.Server.Tests;
using Microsoft.Playwright;

namespace Aglow.Browser.Tests;

/// <summary>
/// One browser (Debian's Chromium) and one server with the demo's people for all tests of a collection; each test opens tabs of its own.
/// </summary>
public sealed class Browser : IAsyncLifetime
{
    /// <summary>How many milliseconds a test waits for what a page must do or show.</summary>
    /// <remarks>Long, because a machine that builds at the same time is slow.</remarks>
    public const int WaitsMs = 60_000;

    private IPlaywright _playwright = null!;
    private IBrowser _browser = null!;

    /// <summary>A server with forty demo people. A lease of 6 s, so that a test can wait for it to run out.</summary>
    internal AglowProcess Server { get; private set; } = null!;

    public static string Screenshots { get; } = Path.Combine(AglowProcess.Root, "TestResults", "screenshots");

    public async Task InitializeAsync()
    {
        Server = await AglowProcess.StartAsync(null, "--demo", "40", "--lease-seconds", "6", "--heartbeat-seconds", "2");
        _playwright = await Playwright.CreateAsync();
        // the sandbox needs a user of its own, and tests may run as root; everything that is opened here is ours
        // Files that a test serves in place of the server come from no address. Chromium would not let such a page connect to this machine.
        _browser = await _playwright.Chromium.LaunchAsync(new()
        {
            ExecutablePath = Find("chromium", "chromium-browser"),
            Args = ["--no-sandbox", "--disable-features=LocalNetworkAccessChecks"],
        });
        // longer than a lease that runs out on a busy machine
        Assertions.SetDefaultExpectTimeout(WaitsMs);
        Directory.CreateDirectory(Screenshots);
    }

    public async Task DisposeAsync()
    {
        await _browser.DisposeAsync();
        _playwright.Dispose();
        await Server.DisposeAsync();
    }

    /// <summary>A window, whose tabs share nothing with other windows. By default it is wide and has light colours.</summary>
    internal async Task<Window> OpenAsync(
        AglowProcess? server = null, ColorScheme scheme = ColorScheme.Light, int width = 1280, int height = 860)
    {
        var context = await _browser.NewContextAsync(
            new() { ColorScheme = scheme, ViewportSize = new() { Width = width, Height = height } });
        context.SetDefaultTimeout(WaitsMs);
        return new Window(context, server ?? Server);
    }

    /// <summary>Somebody else's page, with cookies of its own.</summary>
    internal async Task<IPage> OpenAsync(Uri address)
    {
        var context = await _browser.NewContextAsync();
        context.SetDefaultTimeout(WaitsMs);
        var page = await context.NewPageAsync();
        await page.GotoAsync(address.AbsoluteUri);
        return page;
    }

    private static string Find(params string[] names)
    {
        foreach (var folder in (Environment.GetEnvironmentVariable("PATH") ?? "").Split(':'))
        {
            foreach (var name in names)
            {
                if (File.Exists(Path.Combine(folder, name)))
                    return Path.Combine(folder, name);
            }
        }

        throw new InvalidOperationException("chromium is not on the PATH: ./test installs it, or apt-get install chromium.");
    }
}

/// <summary>The tests of the page.</summary>
[CollectionDefinition(Name)]
public sealed class InBrowser : ICollectionFixture<Browser>
{
    public const string Name = "browser";
}

/// <summary>All other tests, which have a browser and a server of their own, so that they run beside those of the page.</summary>
[CollectionDefinition(Name)]
public sealed class InOtherBrowser : ICollectionFixture<Browser>
{
    public const string Name = "other browser";
}
