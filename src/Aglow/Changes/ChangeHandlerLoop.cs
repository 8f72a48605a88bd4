using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Changes;

/// <summary>
/// Runs one <see cref="IPresenceChangeHandler"/>: reads the feed, passes on one change after the other, and stores the place.
/// </summary>
/// <remarks>
/// The place is stored once a second, when the feed has nothing more, and at the end. So a crash repeats at most a second of changes.
/// Threading: one loop.
/// </remarks>
/// <param name="feed">The feed.</param>
/// <param name="name">The name under which the place is stored.</param>
/// <param name="time">The source of time.</param>
/// <param name="failed">Receives each failure of the handler.</param>
public sealed class ChangeHandlerLoop(IChangeFeed feed, string name, TimeProvider time, Action<Exception> failed)
{
    private const string Prefix = "handler:";
    private static readonly TimeSpan SaveInterval = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan FirstRetry = TimeSpan.FromSeconds(1);
    private static readonly TimeSpan LastRetry = TimeSpan.FromMinutes(1);

    private readonly string _key = Prefix + name;
    private string _saved = "";
    private long _savedAt;

    /// <summary>
    /// The cursor at which the first run begins; null: at the end of the feed as the run finds it. So changes after an application's start
    /// are handled even if the run begins a moment later.
    /// </summary>
    public string? Begin { get; init; }

    /// <summary>Runs until it is stopped. The first run begins at <see cref="Begin"/>, all others at the stored place.</summary>
    /// <param name="handle">Handles a change; null: a gap.</param>
    /// <param name="stop">Stops the loop after the current change.</param>
    public async Task RunAsync(Func<PresenceChange?, CancellationToken, ValueTask> handle, CancellationToken stop)
    {
        var after = await FirstAsync(stop);
        try
        {
            while (true)
            {
                var page = await ReadAsync(after, stop);
                if (page.IsGap)
                    await RetryAsync(() => handle(null, stop), stop);
                foreach (var change in page.Changes)
                {
                    await RetryAsync(() => handle(change, stop), stop);
                    after = change.Id;
                    if (time.GetElapsedTime(_savedAt) >= SaveInterval)
                        await SaveAsync(after);
                }

                after = page.Next;
                if (page.Changes.Count > 0)
                    continue;
                await SaveAsync(after);
                await feed.WaitAsync(after, stop);
            }
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            await SaveAsync(after);
        }
    }

    private async Task<string> FirstAsync(CancellationToken stop)
    {
        if (await StoredAsync() is { } stored)
            return _saved = stored;
        return Begin ?? (await feed.ReadAsync(IChangeFeed.Latest, 1, stop)).Next;
    }

    // A place of another feed, or a text that is not a cursor of this version, counts as a gap.
    private async ValueTask<ChangePage> ReadAsync(string after, CancellationToken stop)
    {
        try
        {
            return await PresenceEvents.ReadAsync(feed, after, time, stop);
        }
        catch (FormatException)
        {
            return await PresenceEvents.ReadAsync(feed, null, time, stop) with { IsGap = true };
        }
    }

    private async Task RetryAsync(Func<ValueTask> handle, CancellationToken stop)
    {
        for (var wait = FirstRetry; ; wait = wait * 2 < LastRetry ? wait * 2 : LastRetry)
        {
            try
            {
                await handle();
                return;
            }
            catch (Exception failure) when (!stop.IsCancellationRequested)
            {
                failed(failure);
                await Task.Delay(wait * (0.5 + (Random.Shared.NextDouble() / 2)), time, stop);
            }
        }
    }

    private async Task SaveAsync(string after)
    {
        _savedAt = time.GetTimestamp();
        if (after == _saved)
            return;
        try
        {
            // if another node owned this consumer meanwhile, the write fails, and the place that the other node stored is read instead
            var isSaved = await feed.Consumers.ReplaceAsync(_key, _saved.Length == 0 ? null : JsonOf(_saved), JsonOf(after));
            _saved = isSaved ? after : await StoredAsync() ?? "";
        }
        catch (StoreUnavailableException)
        {
            // The next change stores the place. A crash before that repeats changes after the last stored place.
        }
    }

    private async ValueTask<string?> StoredAsync() =>
        (await feed.Consumers.ReadAsync(_key)).TryGetValue(_key, out var stored)
            ? JsonSerializer.Deserialize(stored, ConsumerJson.Default.String)
            : null;

    private static string JsonOf(string place) => JsonSerializer.Serialize(place, ConsumerJson.Default.String);
}

/// <summary>The places of consumers in an <see cref="IConsumerStore"/> as JSON.</summary>
[JsonSerializable(typeof(string))]
internal sealed partial class ConsumerJson : JsonSerializerContext;
