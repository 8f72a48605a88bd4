using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Sockets;
using Aglow.Changes;
using Aglow.Changes.Webhooks;

namespace Aglow.AspNetCore.Hosting;

/// <summary>
/// Opens presence when the application starts. Closes it after the web server's last request, with all data on disk.
/// </summary>
/// <remarks>
/// Hosted services start before the web server and stop after it, so presence is open during every request. Endpoints read
/// <see cref="Presence"/>, which is only a field. If the application passes its own presence, this class neither opens nor closes it.
/// </remarks>
internal sealed class PresenceHost(
    AglowOptions options,
    KnownCallers? tokens,
    TimeProvider time,
    ILoggerFactory logs,
    IHostApplicationLifetime lifetime,
    PresenceService? presence,
    ConnectionLimit connections,
    Func<Gate> gate,
    Func<TimeProvider, ILoggerFactory, Task<IOpenPresence>> open)
    : IHostedLifecycleService, IAsyncDisposable
{
    /// <summary>
    /// The default of <see cref="AglowOptions.DrainSeconds"/> if nodes share a store. It is shorter than the lease, so that no lease
    /// expires while a client moves, and long enough for 100,000 handshakes on other nodes.
    /// </summary>
    public const int DrainSecondsOfMany = 10;

    // when the server stops, its clients reconnect at random times within this period
    private static readonly TimeSpan ReconnectWithin = TimeSpan.FromSeconds(5);

    // share of the drain time in which the node is not ready, but sends no client away yet. It is 2 s of 10 s, in which a load balancer
    // that checks every second checks twice
    private const double UntilNoticed = 0.2;

    private PresenceService? _presence = presence;
    private IOpenPresence? _opened;
    private SocketHost? _sockets;

    public AglowOptions Options => options;

    /// <summary>Whether the application has started, and whether it is stopping.</summary>
    public IHostApplicationLifetime Lifetime => lifetime;

    public PresenceService Presence => _presence ?? throw new InvalidOperationException("Presence is opened when the application starts.");

    /// <summary>The webhooks; null if there is no feed.</summary>
    public WebhookDeliveries? Webhooks { get; private set; }

    /// <summary>The problem that there is no feed. Its text says how to get one.</summary>
    public NotInThisDeploymentException NoFeed() => new(Presence.IsShared && options.ChangesHours > 0
        ? "This Redis cannot keep a feed of changes: it needs streams and scripts, as Redis 6.2 and Valkey have them."
        : "This server records no changes. Set AglowOptions.ChangesHours (--changes-hours) to 24.");

    /// <summary>The feed of changes. If there is none, throws an exception that says how to get one.</summary>
    public IChangeFeed RequireChanges() => Presence.Changes
        ?? throw new InvalidOperationException(
            "There is no feed of changes: set AglowOptions.ChangesHours to 1 or more.");

    public bool IsOpen => _sockets is not null;

    /// <summary>Why requests should not be sent here just now, and what to do instead; null: they should.</summary>
    public string? NotReady()
    {
        if (lifetime.ApplicationStopping.IsCancellationRequested)
            return "This server is stopping. Use another node.";
        if (!lifetime.ApplicationStarted.IsCancellationRequested || _presence is not { } presence)
            return "This server is starting. Try again in a second.";
        if (!presence.IsStoreReachable)
            return "The store cannot be reached just now. Try again in a second.";
        return presence.IsStoreWritable ? null : "The store takes no writes just now. Use another node, or try again in a second.";
    }

    public SocketHost Sockets => _sockets ?? throw new InvalidOperationException("Presence is opened when the application starts.");

    /// <summary>Where the store keeps words; empty if the application passed its own presence.</summary>
    public string Where => _opened?.Where ?? "";

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (_presence is null)
        {
            if (options.Validate() is [var wrong, ..])
                throw new InvalidOperationException(wrong);
            _opened = await open(time, logs);
            _presence = _opened.Presence;
        }

        connections.AddTo(_presence.Metrics);
        CallMemory.Shared.AddTo(_presence.Metrics);
        if (_presence.Changes is { } feed)
        {
            Webhooks = new WebhookDeliveries(feed, options, time);
            Webhooks.Observe(_presence.Metrics);
            await Webhooks.StartAsync();
        }

        _sockets = new SocketHost(_presence, options, tokens, gate());
    }

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StartedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    /// <summary>
    /// Sends clients to other nodes before the web server stops, because the web server waits for sockets to end. Meanwhile the node
    /// reports that it is not ready, but serves all requests and new connections.
    /// </summary>
    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        if (_presence is null)
            return;
        var over = TimeSpan.FromSeconds(options.DrainSeconds ?? (_presence.IsShared ? DrainSecondsOfMany : 0));
        try
        {
            await Task.Delay(over * UntilNoticed, time, cancellationToken);
            if (over > TimeSpan.Zero)
                await _presence.Watchers.DrainAsync(over * (1 - UntilNoticed)).WaitAsync(cancellationToken);
        }
        catch (OperationCanceledException)
        {
            // the host's time for stopping is over
        }

        _presence.Watchers.Drain(ReconnectWithin);
    }

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public async Task StopAsync(CancellationToken cancellationToken) => await DisposeAsync();

    public async ValueTask DisposeAsync()
    {
        if (Webhooks is { } webhooks)
        {
            Webhooks = null;
            await webhooks.DisposeAsync();
        }

        if (Interlocked.Exchange(ref _opened, null) is { } opened)
            await opened.DisposeAsync();
    }
}
