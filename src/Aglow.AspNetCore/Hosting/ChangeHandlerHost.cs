using System.Diagnostics.CodeAnalysis;
using Aglow.Changes;
using Aglow.Storage;

namespace Aglow.AspNetCore.Hosting;

/// <summary>Runs an application's handler of changes while presence is open.</summary>
/// <remarks>
/// Hosted services stop in the reverse order of their registration, so this one stops before presence closes. Each change is handled in a
/// scope of its own.
/// </remarks>
internal sealed class ChangeHandlerHost<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] THandler>(
    PresenceHost host, IServiceScopeFactory scopes, TimeProvider time, ILogger<THandler> logger) : IHostedService, IDisposable
    where THandler : class, IPresenceChangeHandler
{
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;
    private string? _begin;

    public async Task StartAsync(CancellationToken cancellationToken)
    {
        var feed = host.RequireChanges();
        try
        {
            // the loop begins on another thread, and a new handler hears everything that happens after the start
            _begin = (await feed.ReadAsync(IChangeFeed.Latest, 1, cancellationToken)).Next;
        }
        catch (StoreUnavailableException)
        {
            // a new handler begins at the end of the feed when the store is back
        }

        _loop = Task.Run(
            () => feed.RunOwnedAsync($"handler:{typeof(THandler).FullName}", RunAsync, _stop.Token), CancellationToken.None);
    }

    public async Task StopAsync(CancellationToken cancellationToken)
    {
        await _stop.CancelAsync();
        await _loop.WaitAsync(cancellationToken);
    }

    public void Dispose() => _stop.Dispose();

    // if nodes share the feed, only one node at a time runs this
    private Task RunAsync(string token, CancellationToken lost) => new ChangeHandlerLoop(
        host.RequireChanges(), typeof(THandler).FullName!, time, failure => HttpLog.HandlerFailed(logger, failure))
    { Begin = _begin }
            .RunAsync(HandleAsync, lost);

    private async ValueTask HandleAsync(PresenceChange? change, CancellationToken stop)
    {
        await using var scope = scopes.CreateAsyncScope();
        var handler = scope.ServiceProvider.GetRequiredService<THandler>();
        await (change is null ? handler.OnGapAsync(stop) : handler.OnChangeAsync(change, stop));
    }
}
