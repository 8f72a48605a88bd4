using System.Text.Json;

namespace Aglow.Changes.Webhooks;

/// <summary>Delivers the feed to one receiver: in order, one request at a time, at its own pace.</summary>
/// <remarks>
/// <code>
///   feed ─► up to 100 changes that match ─► one signed request ─► 2xx ─► the place advances and is stored
///                         ▲                         │ any other answer, or none
///                         └─ backoff with jitter ◄──┘ until the changes are 24 h old: skipped, and counted
/// </code>
/// The place is stored once a second while it advances, and when there is nothing more to send. So a crash repeats at most a second of
/// requests. Receivers recognize a repeated change by its ID. One request at a time keeps the order without bookkeeping. With a network
/// delay of 20 ms that allows 5,000 changes per second.
///
/// Threading: one loop; any thread may change the settings, read the state and wake it.
/// </remarks>
/// <param name="feed">The feed.</param>
/// <param name="sender">Sends the requests.</param>
/// <param name="counts">The counts that all webhooks share.</param>
/// <param name="time">The source of time.</param>
/// <param name="first">The webhook's settings at first.</param>
/// <param name="stored">The webhook's stored state.</param>
/// <param name="pause">Pauses this webhook, for a reason.</param>
internal sealed class WebhookRunner(
    IChangeFeed feed,
    WebhookSender sender,
    WebhookCounts counts,
    TimeProvider time,
    WebhookSettings first,
    WebhookState stored,
    Func<string, string, CancellationToken, ValueTask> pause) : IAsyncDisposable
{
    public const int PerRequest = 100;

    private const int PageSize = 1000;
    private const int LogEntries = 100;
    private const long GiveUpAfterSeconds = 24 * 3600;
    private static readonly TimeSpan SaveInterval = TimeSpan.FromSeconds(1);
    // The least time between requests that are not full, so that changes gather under load.
    private static readonly TimeSpan GatherFor = TimeSpan.FromMilliseconds(25);

    private readonly string _stateKey = WebhookKeys.State(first.Id);
    private readonly CancellationTokenSource _stop = new();
    private WebhookSettings _settings = first;
    private WebhookState _state = stored;
    private WebhookState? _saved;
    private TaskCompletionSource _woken = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long _savedAt;
    private volatile bool _mayNotSave;
    private Task _loop = Task.CompletedTask;

    public WebhookSettings Settings => Volatile.Read(ref _settings);

    public WebhookState State => Volatile.Read(ref _state);

    private long Now => time.GetUtcNow().ToUnixTimeSeconds();

    public void Start() => _loop = Task.Run(RunAsync);

    /// <summary>Applies new settings. A request that waits for a retry is sent at once.</summary>
    public void Change(WebhookSettings settings)
    {
        Volatile.Write(ref _settings, settings);
        Interlocked.Exchange(ref _woken, new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously)).TrySetResult();
    }

    /// <summary>Stops without storing the place again: the webhook was removed, or another node delivers to it.</summary>
    public ValueTask AbandonAsync()
    {
        _mayNotSave = true;
        return DisposeAsync();
    }

    /// <summary>Stops, and stores the place.</summary>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private async Task RunAsync()
    {
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                await DeliverAllAsync();
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // stopped
            }
            catch (Exception failure) when (failure is StoreUnavailableException or FormatException)
            {
                // if the place cannot be parsed, begin with the oldest stored change
                if (failure is FormatException)
                    _state = _state with { After = "", OwesGap = true, Gaps = _state.Gaps + 1 };
                await Task.Delay(WebhookRetries.Shortest, time, CancellationToken.None);
            }
        }

        await SaveAsync();
    }

    private async Task DeliverAllAsync()
    {
        while (true)
        {
            await UntilResumedAsync();
            var page = await feed.ReadAsync(_state.After.Length == 0 ? null : _state.After, PageSize, _stop.Token);
            if (page.IsGap)
            {
                Interlocked.Increment(ref counts.Gaps);
                Update(_state with { OwesGap = true, Gaps = _state.Gaps + 1 });
            }

            var settings = Settings;
            PresenceChange[] taken = [.. page.Changes.Where(settings.Takes)];
            for (var i = 0; i < taken.Length || _state.OwesGap; i += PerRequest)
            {
                await DeliverAsync([.. taken.Skip(i).Take(PerRequest)]);
                if (time.GetElapsedTime(_savedAt) >= SaveInterval)
                    await SaveAsync();
            }

            Update(_state with { After = page.Next });
            if (page.Changes.Count == PageSize)
                continue;
            if (taken.Length is > 0 and < PerRequest)
                await Task.Delay(GatherFor, time, _stop.Token);
            if (page.Changes.Count > 0)
                continue;
            await SaveAsync();
            await feed.WaitAsync(page.Next, _stop.Token);
        }
    }

    // Returns when the changes are acknowledged or skipped.
    private async Task DeliverAsync(PresenceChange[] changes)
    {
        Update(_state with { PendingSince = changes.Length > 0 ? changes[0].At : Now });
        while (changes.Length > 0 || _state.OwesGap)
        {
            var settings = await UntilResumedAsync();
            var id = $"msg_{settings.Id}_{(changes.Length > 0 ? changes[^1].Id : _state.After)}";
            var result = await sender.SendAsync(
                settings, id, CloudEvents.Write(changes, _state.OwesGap, Now), changes.Length, _stop.Token);
            Log(result.Delivery);
            if (result.Delivery.IsAcknowledged)
            {
                Interlocked.Increment(ref counts.Requests);
                Interlocked.Add(ref counts.Changes, changes.Length);
                Update(_state with
                {
                    After = changes.Length > 0 ? changes[^1].Id : _state.After,
                    Delivered = _state.Delivered + changes.Length,
                    FailingSince = null,
                    OwesGap = false,
                });
                break;
            }

            Interlocked.Increment(ref counts.Failures);
            Update(_state with { Failed = _state.Failed + 1, FailingSince = _state.FailingSince ?? Now });
            if (result.Delivery.Status == 410)
                await pause(settings.Id, "the receiver answered 410 Gone", _stop.Token);
            changes = GiveUpOld(changes);
            await SaveAsync();
            var now = Now;
            await WaitAsync(WebhookRetries.WaitAt(now, _state.FailingSince ?? now, result.RetryAfter, Random.Shared.NextDouble()));
        }

        Update(_state with { PendingSince = 0 });
    }

    private PresenceChange[] GiveUpOld(PresenceChange[] changes)
    {
        var oldest = Now - GiveUpAfterSeconds;
        var old = changes.TakeWhile(change => change.At < oldest).Count();
        if (old == 0)
            return changes;
        Interlocked.Add(ref counts.Skipped, old);
        Update(_state with { After = changes[old - 1].Id, Skipped = _state.Skipped + old });
        return changes[old..];
    }

    private async ValueTask<WebhookSettings> UntilResumedAsync()
    {
        while (true)
        {
            var woken = Volatile.Read(ref _woken);
            var settings = Settings;
            if (!settings.IsPaused)
                return settings;
            await SaveAsync();
            await woken.Task.WaitAsync(_stop.Token);
        }
    }

    private async Task WaitAsync(TimeSpan wait)
    {
        await Volatile.Read(ref _woken).Task.WaitAsync(wait, time, _stop.Token).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        _stop.Token.ThrowIfCancellationRequested();
    }

    private void Log(WebhookDelivery delivery) =>
        Update(_state with { Log = [.. _state.Log.Skip(Math.Max(0, _state.Log.Count - LogEntries + 1)), delivery] });

    private void Update(WebhookState state) => Volatile.Write(ref _state, state);

    private async Task SaveAsync()
    {
        _savedAt = time.GetTimestamp();
        var state = _state;
        if (_mayNotSave || ReferenceEquals(state, _saved))
            return;
        try
        {
            await feed.Consumers.WriteAsync(_stateKey, JsonSerializer.Serialize(state, WebhookJson.Default.WebhookState));
            _saved = state;
        }
        catch (StoreUnavailableException)
        {
            // The next change stores the place. A crash before that repeats changes after the last stored place.
        }
    }
}

/// <summary>The keys of the documents of webhooks.</summary>
internal static class WebhookKeys
{
    public const string SettingsPrefix = "webhook:";
    public const string StatePrefix = "webhook-state:";

    public static string Settings(string id) => SettingsPrefix + id;

    public static string State(string id) => StatePrefix + id;
}

/// <summary>The counts that all webhooks share, changed by interlocked operations.</summary>
internal sealed class WebhookCounts
{
    public long Requests;
    public long Changes;
    public long Failures;
    public long Skipped;
    public long Gaps;
}
