using System.Net;
using System.Security.Cryptography;
using System.Text.Json;

namespace Aglow.Changes.Webhooks;

/// <summary>All webhooks of a server: adds, removes, pauses and rotates them, and runs a <see cref="WebhookRunner"/> for each.</summary>
/// <remarks>
/// <code>
///   a call on any node ─► the consumers' store ─► the one node that delivers ─► a runner for each webhook
/// </code>
/// If nodes share the feed, one of them delivers, and checks once a second for changes made by calls on other nodes. Its runners' counts
/// are in the store within a second, so any node can show them. Threading: any thread; changes are made one at a time.
/// </remarks>
public sealed class WebhookDeliveries : IAsyncDisposable
{
    /// <summary>The most webhooks.</summary>
    public const int Most = 100;

    private const string Work = "webhooks";
    private const int MaxUrlCharacters = 2048;
    private const int MaxSecrets = 8;
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(1);

    private readonly IChangeFeed _feed;
    private readonly WebhookTargets _targets;
    private readonly WebhookSender _sender;
    private readonly WebhookCounts _counts = new();
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly CancellationTokenSource _stop = new();
    private volatile Dictionary<string, WebhookRunner> _runners = new(StringComparer.Ordinal);
    private Task _owning = Task.CompletedTask;
    private bool _isOwner;

    /// <summary>Creates the webhooks of a feed.</summary>
    public WebhookDeliveries(IChangeFeed feed, AglowOptions options, TimeProvider time)
    {
        _feed = feed;
        _time = time;
        _targets = new WebhookTargets([.. options.WebhooksAllow.Select(IPNetwork.Parse)], options.WebhooksToLoopback);
        _sender = new WebhookSender(_targets, time);
    }

    private long Now => _time.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>Starts to deliver to stored webhooks, while this node owns that work.</summary>
    public async Task StartAsync()
    {
        // a node without others starts its webhooks before it is ready, and fails to start if they cannot be read
        if (!_feed.IsShared)
            await RunStoredAsync();
        _owning = _feed.RunOwnedAsync(Work, OwnAsync, _stop.Token);
    }

    /// <summary>All webhooks, oldest first.</summary>
    public async ValueTask<IReadOnlyList<Webhook>> ListAsync()
    {
        var settings = await ReadSettingsAsync(WebhookKeys.SettingsPrefix);
        var states = settings.Count == 0 ? [] : await ReadStatesAsync(WebhookKeys.StatePrefix);
        return
        [
            .. settings.Values.OrderBy(static w => w.Order).ThenBy(static w => w.CreatedAt).ThenBy(static w => w.Id, StringComparer.Ordinal)
                .Select(w => Shown(w, StateOf(w.Id, states))),
        ];
    }

    /// <summary>One webhook; null: none has this ID.</summary>
    public async ValueTask<Webhook?> FindAsync(string id) =>
        await FindSettingsAsync(id) is { } settings ? Shown(settings, await ReadStateAsync(id)) : null;

    /// <summary>The newest requests of a webhook, newest last; null: no webhook has this ID.</summary>
    public async ValueTask<IReadOnlyList<WebhookDelivery>?> LogOfAsync(string id) =>
        await FindSettingsAsync(id) is null ? null : (await ReadStateAsync(id)).Log;

    /// <summary>Why no webhook may have this URL; null: one may.</summary>
    public string? RefusalOf(string url) => url.Length > MaxUrlCharacters
        ? $"url is longer than {MaxUrlCharacters} characters"
        : _targets.Refusal(url, out _);

    /// <summary>
    /// Adds a webhook that receives changes from now on. Returns it and its secret, which cannot be read again. Null: there are
    /// <see cref="Most"/> already.
    /// </summary>
    /// <exception cref="ArgumentException">The URL is not allowed; see <see cref="RefusalOf"/>.</exception>
    public async ValueTask<(Webhook Webhook, string Secret)?> AddAsync(string url, WebhookEvents events, string? usersPrefix)
    {
        if (RefusalOf(url) is { } refusal)
            throw new ArgumentException(refusal, nameof(url));
        using var turn = await _turn.EnterAsync();
        var others = await ReadSettingsAsync(WebhookKeys.SettingsPrefix);
        if (others.Count >= Most)
            return null;
        var secret = WebhookSignature.NewSecret();
        var webhook = new WebhookSettings(
            $"wh_{RandomNumberGenerator.GetHexString(12, lowercase: true)}", url, events, Now)
        {
            Order = Math.Max(_time.GetUtcNow().UtcTicks, 1 + others.Values.Select(static w => w.Order).DefaultIfEmpty().Max()),
            UsersPrefix = usersPrefix,
            Secrets = [new(secret, null)],
        };
        var state = new WebhookState((await _feed.ReadAsync(IChangeFeed.Latest, 1)).Next);
        // the place first: a webhook without a place would begin with the oldest change
        await _feed.Consumers.WriteAsync(WebhookKeys.State(webhook.Id), JsonSerializer.Serialize(state, WebhookJson.Default.WebhookState));
        await _feed.Consumers.WriteAsync(WebhookKeys.Settings(webhook.Id), JsonOf(webhook));
        if (_isOwner)
            Run(webhook, state);
        return (Shown(webhook, state), secret);
    }

    /// <summary>Removes a webhook. False: none has this ID.</summary>
    public async ValueTask<bool> RemoveAsync(string id)
    {
        using var turn = await _turn.EnterAsync();
        if (await FindSettingsAsync(id) is null)
            return false;
        await _feed.Consumers.WriteAsync(WebhookKeys.Settings(id), null);
        await AbandonAsync(id);
        return true;
    }

    /// <summary>Pauses or resumes a webhook. Requests that wait for a retry are sent at once. Null: no webhook has this ID.</summary>
    public ValueTask<Webhook?> PauseAsync(string id, bool isPaused) =>
        ChangeAsync(id, webhook => webhook with { IsPaused = isPaused, PausedFor = null });

    /// <summary>Gives a webhook a new secret. The previous one also signs for a while. Null: no webhook has this ID.</summary>
    public async ValueTask<string?> RotateAsync(string id, TimeSpan overlap)
    {
        var secret = WebhookSignature.NewSecret();
        var until = Now + (long)overlap.TotalSeconds;
        var changed = await ChangeAsync(id, webhook => webhook with
        {
            Secrets =
            [
                new WebhookSecret(secret, null),
                .. webhook.Secrets.Select(old => old with { Until = Math.Min(old.Until ?? long.MaxValue, until) }).Where(
                    old => old.Until > Now).Take(MaxSecrets - 1),
            ],
        });
        return changed is null ? null : secret;
    }

    /// <summary>Sends a webhook one test request, even while it is paused. Null: no webhook has this ID.</summary>
    public async ValueTask<WebhookDelivery?> TestAsync(string id, CancellationToken cancel)
    {
        if (await FindSettingsAsync(id) is not { } settings)
            return null;
        var message = $"msg_{id}_test-{RandomNumberGenerator.GetHexString(12, lowercase: true)}";
        return (await _sender.SendAsync(settings, message, CloudEvents.WriteTest(message, Now), 0, cancel)).Delivery;
    }

    /// <summary>Adds the metrics of webhooks.</summary>
    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.webhooks", "Webhooks that this node delivers.", () => _runners.Count);
        metrics.Gauge("aglow.webhooks.failing", "Webhooks whose last request failed.", () =>
            _runners.Values.Count(static r => r.State.FailingSince is not null && !r.Settings.IsPaused));
        metrics.Gauge("aglow.webhooks.paused", "Webhooks that are paused.", () => _runners.Values.Count(static r => r.Settings.IsPaused));
        metrics.Gauge(
            "aglow.webhook.lag.seconds",
            "Age of the oldest change that a webhook, not paused, has yet to deliver.",
            () => _runners.Values.Where(static r => !r.Settings.IsPaused).Select(r => LagOf(r.State)).DefaultIfEmpty().Max());
        metrics.Count("aglow.webhook.requests", "Requests to receivers that were acknowledged.", () => Volatile.Read(ref _counts.Requests));
        metrics.Count("aglow.webhook.changes", "Changes that receivers acknowledged.", () => Volatile.Read(ref _counts.Changes));
        metrics.Count("aglow.webhook.failures", "Requests to receivers that failed.", () => Volatile.Read(ref _counts.Failures));
        metrics.Count("aglow.webhook.skipped", "Changes that were given up after 24 hours.", () => Volatile.Read(ref _counts.Skipped));
        metrics.Count(
            "aglow.webhook.gaps",
            "Times that a webhook lost changes, since the feed no longer kept them.",
            () => Volatile.Read(ref _counts.Gaps));
    }

    /// <summary>Stops all runners, and stores their places.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        await _owning;
        _sender.Dispose();
        _turn.Dispose();
        _stop.Dispose();
    }

    private async Task OwnAsync(string token, CancellationToken lost)
    {
        try
        {
            do
            {
                await RunStoredAsync();
                await Task.Delay(_feed.IsShared ? CheckInterval : Timeout.InfiniteTimeSpan, _time, lost)
                    .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
            while (!lost.IsCancellationRequested);
        }
        finally
        {
            using var turn = await _turn.EnterAsync(CancellationToken.None);
            _isOwner = false;
            // if this node lost the work, another node continues it and stores the places
            foreach (var runner in _runners.Values)
                await (_stop.IsCancellationRequested ? runner.DisposeAsync() : runner.AbandonAsync());
            _runners = new(StringComparer.Ordinal);
        }
    }

    // Runs exactly the stored webhooks.
    private async Task RunStoredAsync()
    {
        using var turn = await _turn.EnterAsync();
        _isOwner = true;
        try
        {
            var settings = await ReadSettingsAsync(WebhookKeys.SettingsPrefix);
            foreach (var id in _runners.Keys.Where(id => !settings.ContainsKey(id)).ToArray())
                await AbandonAsync(id);
            var states = settings.Keys.All(_runners.ContainsKey) ? [] : await ReadStatesAsync(WebhookKeys.StatePrefix);
            foreach (var webhook in settings.Values)
            {
                if (!_runners.TryGetValue(webhook.Id, out var runner))
                    Run(webhook, states.GetValueOrDefault(webhook.Id) ?? new WebhookState(""));
                else if (JsonOf(runner.Settings) != JsonOf(webhook))
                    runner.Change(webhook);
            }
        }
        catch (StoreUnavailableException) when (_feed.IsShared)
        {
            // a second later, the next round retries
        }
    }

    private void Run(WebhookSettings webhook, WebhookState state)
    {
        var runner = new WebhookRunner(_feed, _sender, _counts, _time, webhook, state, PauseForAsync);
        _runners = new Dictionary<string, WebhookRunner>(_runners, StringComparer.Ordinal) { [webhook.Id] = runner };
        runner.Start();
    }

    // Call it after the webhook's settings were deleted.
    private async ValueTask AbandonAsync(string id)
    {
        if (_runners.TryGetValue(id, out var runner))
        {
            _runners = _runners.Where(one => one.Key != id).ToDictionary(StringComparer.Ordinal);
            await runner.AbandonAsync();
        }

        await _feed.Consumers.WriteAsync(WebhookKeys.State(id), null);
    }

    // Called by a runner. The runner must not wait for a call that waits for the runner to stop.
    private async ValueTask PauseForAsync(string id, string why, CancellationToken stop) =>
        await ChangeAsync(id, webhook => webhook with { IsPaused = true, PausedFor = why }, stop);

    private async ValueTask<Webhook?> ChangeAsync(
        string id, Func<WebhookSettings, WebhookSettings> change, CancellationToken cancel = default)
    {
        using var turn = await _turn.EnterAsync(cancel);
        while (await FindSettingsAsync(id) is { } settings)
        {
            var changed = change(settings);
            if (!await _feed.Consumers.ReplaceAsync(WebhookKeys.Settings(id), JsonOf(settings), JsonOf(changed)))
                continue;
            if (_runners.TryGetValue(id, out var runner))
                runner.Change(changed);
            return Shown(changed, await ReadStateAsync(id));
        }

        return null;
    }

    private async ValueTask<WebhookSettings?> FindSettingsAsync(string id) =>
        (await ReadSettingsAsync(WebhookKeys.Settings(id))).GetValueOrDefault(id);

    private async ValueTask<Dictionary<string, WebhookSettings>> ReadSettingsAsync(string prefix) =>
        (await _feed.Consumers.ReadAsync(prefix)).Values.Select(static json =>
            JsonSerializer.Deserialize(json, WebhookJson.Default.WebhookSettings)!).ToDictionary(static w => w.Id, StringComparer.Ordinal);

    private async ValueTask<Dictionary<string, WebhookState>> ReadStatesAsync(string prefix) =>
        (await _feed.Consumers.ReadAsync(prefix)).ToDictionary(
            static state => state.Key[WebhookKeys.StatePrefix.Length..],
            static state => JsonSerializer.Deserialize(state.Value, WebhookJson.Default.WebhookState)!,
            StringComparer.Ordinal);

    private async ValueTask<WebhookState> ReadStateAsync(string id) => StateOf(id, await ReadStatesAsync(WebhookKeys.State(id)));

    // a local runner has newer counts than those stored
    private WebhookState StateOf(string id, Dictionary<string, WebhookState> stored) =>
        _runners.TryGetValue(id, out var runner) ? runner.State : stored.GetValueOrDefault(id) ?? new WebhookState("");

    private static string JsonOf(WebhookSettings webhook) => JsonSerializer.Serialize(webhook, WebhookJson.Default.WebhookSettings);

    private long LagOf(WebhookState state) => state.PendingSince > 0 ? Math.Max(0, Now - state.PendingSince) : 0;

    private Webhook Shown(WebhookSettings settings, WebhookState state) => new(
        settings.Id,
        settings.Url,
        settings.Events,
        settings.UsersPrefix,
        settings.CreatedAt,
        settings.IsPaused,
        settings.PausedFor,
        LagOf(state),
        state.FailingSince,
        state.Delivered,
        state.Failed,
        state.Skipped,
        state.Gaps);
}
