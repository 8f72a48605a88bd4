using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Aglow.AspNetCore;

/// <summary>
/// Opens presence when the application starts and closes it, everything on disk, when it has stopped: after the web server's last request.
/// </summary>
/// <remarks>
/// Hosted services start before the web server and stop after it, so a request always finds presence open. Endpoints read <see cref="Presence"/>: a
/// field. A presence that the application made itself is used as it is and left open.
/// </remarks>
internal sealed class PresenceHost : IHostedService, IAsyncDisposable
{
    // clients of a server that stops come back over this long, each at a time of its own
    private static readonly TimeSpan ReconnectWithin = TimeSpan.FromSeconds(5);

    private readonly KnownCallers? _tokens;
    private readonly TimeProvider _time;
    private readonly ILoggerFactory _logs;
    private readonly Func<TimeProvider, ILoggerFactory, Task<IOpenPresence>> _open;
    private PresenceService? _presence;
    private IOpenPresence? _opened;
    private SocketHost? _sockets;

    public PresenceHost(
        AglowOptions options,
        KnownCallers? tokens,
        TimeProvider time,
        ILoggerFactory logs,
        IHostApplicationLifetime lifetime,
        PresenceService? presence,
        Func<TimeProvider, ILoggerFactory, Task<IOpenPresence>> open)
    {
        Options = options;
        _tokens = tokens;
        _time = time;
        _logs = logs;
        _presence = presence;
        _open = open;
        Lifetime = lifetime;
    }

    /// <summary>What the operator set.</summary>
    public AglowOptions Options { get; }

    /// <summary>When the application started, and whether it stops.</summary>
    public IHostApplicationLifetime Lifetime { get; }

    /// <summary>The service behind every call.</summary>
    public PresenceService Presence => _presence ?? throw new InvalidOperationException("Presence is opened when the application starts.");

    /// <summary>Whether presence is open.</summary>
    public bool IsOpen => _sockets is not null;

    /// <summary>What sockets share.</summary>
    public SocketHost Sockets => _sockets ?? throw new InvalidOperationException("Presence is opened when the application starts.");

    /// <summary>Where the words are, when it was opened here.</summary>
    public string Where => _opened?.Where ?? "";

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        if (_presence is null)
        {
            if (Options.Validate() is [var wrong, ..])
                throw new InvalidOperationException(wrong);
            _opened = await _open(_time, _logs);
            _presence = _opened.Presence;
        }

        _sockets = new SocketHost(_presence, Options, _tokens);
        // sockets end before the web server waits for them
        Lifetime.ApplicationStopping.Register(() => _presence.Watchers.Drain(ReconnectWithin));
    }

    public async Task StopAsync(CancellationToken cancellationToken) => await DisposeAsync();

    public async ValueTask DisposeAsync()
    {
        if (Interlocked.Exchange(ref _opened, null) is { } opened)
            await opened.DisposeAsync();
    }
}
