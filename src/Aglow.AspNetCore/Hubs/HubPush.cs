using System.Text.Json.Serialization;
using Aglow.AspNetCore.Hosting;
using Aglow.Changes;
using Microsoft.AspNetCore.SignalR;

namespace Aglow.AspNetCore.Hubs;

/// <summary>The message about a change that a hub's clients receive. The newest record of a user replaces earlier ones.</summary>
/// <param name="UserId">The user: a number below 2^31, or text.</param>
/// <param name="IsOnline">Whether they are online.</param>
/// <param name="Status"><c>online</c>, <c>away</c>, <c>busy</c> or <c>offline</c>.</param>
/// <param name="LastSeen">When they were last seen, in seconds since 1970-01-01 UTC; null: never, or deleted.</param>
public sealed record HubPresenceRecord(
    [property: JsonPropertyName("user_id")] object UserId,
    [property: JsonPropertyName("is_online")] bool IsOnline,
    [property: JsonPropertyName("status")] string Status,
    [property: JsonPropertyName("last_seen")] long? LastSeen)
{
    /// <summary>The record of a change.</summary>
    public static HubPresenceRecord Of(PresenceChange change) =>
        new(change.User.Key ?? (object)change.User.Number, change.IsOnline, ChangeWords.Of(change.Status), change.LastSeen);
}

/// <summary>Sends every change to a group of a hub.</summary>
/// <remarks>
/// It begins at the end of the feed before the web server takes connections, so no client misses a change. If AddAglow() comes after it,
/// presence is not open by then, and it begins when the application has started. If it falls behind by more than the feed keeps, or a
/// send fails, it logs that and continues from the end of the feed. Threading: one loop, which sends one change after the other.
/// </remarks>
internal sealed class HubPush<THub>(
    PresenceHost host,
    IPresenceEvents events,
    IHubContext<THub> hub,
    Func<PresenceChange, string?> group,
    TimeProvider time,
    ILoggerFactory logs)
    : IHostedLifecycleService, IDisposable
    where THub : Hub
{
    /// <summary>The name of the method that is called on clients.</summary>
    public const string Method = "presence";

    private static readonly TimeSpan AgainAfter = TimeSpan.FromSeconds(1);

    private readonly ILogger _log = logs.CreateLogger(HttpLog.Category);
    private readonly CancellationTokenSource _stop = new();
    private Task? _loop;

    public Task StartAsync(CancellationToken cancellationToken)
    {
        if (host.IsOpen)
            Begin();
        return Task.CompletedTask;
    }

    public Task StartedAsync(CancellationToken cancellationToken)
    {
        Begin();
        return Task.CompletedTask;
    }

    public async Task StoppingAsync(CancellationToken cancellationToken)
    {
        await _stop.CancelAsync();
        if (_loop is not null)
            await _loop.WaitAsync(cancellationToken);
    }

    public Task StartingAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public Task StoppedAsync(CancellationToken cancellationToken) => Task.CompletedTask;

    public void Dispose() => _stop.Dispose();

    // The enumeration has begun when this returns.
    private void Begin()
    {
        host.RequireChanges();
        _loop ??= RunAsync();
    }

    private async Task RunAsync()
    {
        var stop = _stop.Token;
        while (!stop.IsCancellationRequested)
        {
            try
            {
                await foreach (var change in events.WithCancellation(stop))
                {
                    if (group(change) is { } name)
                        await hub.Clients.Group(name).SendAsync(Method, HubPresenceRecord.Of(change), stop);
                }
            }
            catch (OperationCanceledException) when (stop.IsCancellationRequested)
            {
                return;
            }
            catch (Exception failure)
            {
                HttpLog.PushFailed(_log, typeof(THub).Name, failure);
                await Task.Delay(AgainAfter, time, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
    }
}
