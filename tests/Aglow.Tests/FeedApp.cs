using Aglow.Changes;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.Extensions.DependencyInjection;

namespace Aglow.Tests;

/// <summary>An application with all calls, whose feed of changes a test gives.</summary>
internal static class FeedApp
{
    public static async Task<WebApplication> StartAsync(IChangeFeed feed)
    {
        var options = new AglowOptions { OpenMode = true, MemoryMegabytes = 512, KnownKeys = 1024 };
        var presence = new PresenceService(
            new MemoryPlaneStore(PageBudget.Of(options)), null, new LocalTransitionBus(),
            new Clock(TimeProvider.System, new StallGuard(20)), options, new AglowMetrics(), new AglowLog(NullLogger.Instance), feed);
        var builder = WebApplication.CreateSlimBuilder();
        builder.WebHost.UseUrls("http://127.0.0.1:0");
        builder.Services.AddAglow(options, presence);
        var app = builder.Build();
        app.MapAglow();
        await app.StartAsync();
        return app;
    }
}
