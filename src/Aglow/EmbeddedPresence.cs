using Microsoft.Extensions.Logging;

namespace Aglow;

/// <summary>Presence on one machine, opened and closed in order.</summary>
public sealed class EmbeddedPresence : IAsyncDisposable
{
    private readonly MemoryPlaneStore _store;
    private readonly AglowMetrics _metrics;

    private EmbeddedPresence(PresenceService presence, MemoryPlaneStore store, AglowMetrics metrics)
    {
        Presence = presence;
        _store = store;
        _metrics = metrics;
    }

    /// <summary>The service, started.</summary>
    public PresenceService Presence { get; }

    /// <summary>Users ever seen.</summary>
    public long Registered => _store.Registered;

    /// <summary>Opens it.</summary>
    public static async Task<EmbeddedPresence> OpenAsync(AglowOptions options, TimeProvider time, ILoggerFactory logs)
    {
        var store = new MemoryPlaneStore(options.CreateBudget());
        var metrics = new AglowMetrics();
        var clock = new Clock(time, new StallGuard((uint)(2 * options.HeartbeatSeconds)));
        var presence = new PresenceService(
            store, null, new LocalTransitionBus(), clock, options, metrics, new AglowLog(logs.CreateLogger("Aglow")));
        await presence.StartAsync();
        return new EmbeddedPresence(presence, store, metrics);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Presence.StopAsync();
        await Presence.DisposeAsync();
        await _store.DisposeAsync();
        _metrics.Dispose();
    }
}
