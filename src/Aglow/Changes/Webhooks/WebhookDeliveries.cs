using System.Net;
using System.Security.Cryptography;
using System.Text.Json;
using Aglow.Diagnostics;
using Aglow.Model;

namespace Aglow.Changes.Webhooks;

/// <summary>All webhooks of a server: adds, removes, pauses and rotates them, and keeps a <see cref="WebhookRunner"/> for each.</summary>
/// <remarks>Without webhooks it does nothing: no loop runs, and no file is opened. Threading: any thread; changes are one at a
/// time.</remarks>
public sealed class WebhookDeliveries : IAsyncDisposable
{
    /// <summary>Webhooks there may be.</summary>
    public const int Most = 100;

    private const int MaxUrlCharacters = 2048;
    private const int MaxSecrets = 8;

    private readonly IChangeFeed _feed;
    private readonly WebhookTargets _targets;
    private readonly WebhookSender _sender;
    private readonly WebhookCounts _counts = new();
    private readonly TimeProvider _time;
    private readonly SemaphoreSlim _turn = new(1);
    private volatile Dictionary<string, WebhookRunner> _runners = new(StringComparer.Ordinal);

    /// <summary>The webhooks of a feed.</summary>
    public WebhookDeliveries(IChangeFeed feed, AglowOptions options, TimeProvider time)
    {
        _feed = feed;
        _time = time;
        _targets = new WebhookTargets([.. options.WebhooksAllow.Select(IPNetwork.Parse)], options.WebhooksToLoopback);
        _sender = new WebhookSender(_targets, time);
    }

    /// <summary>All webhooks, the oldest first.</summary>
    public IReadOnlyList<Webhook> All =>
        [.. _runners.Values.Select(Shown).OrderBy(static w => w.CreatedAt).ThenBy(static w => w.Id, StringComparer.Ordinal)];

    private long Now => _time.GetUtcNow().ToUnixTimeSeconds();

    /// <summary>Reads what is stored, and begins to deliver.</summary>
    public async Task StartAsync()
    {
        var settings = await _feed.Consumers.ReadAsync(WebhookKeys.SettingsPrefix);
        if (settings.Count == 0)
            return;
        var states = await _feed.Consumers.ReadAsync(WebhookKeys.StatePrefix);
        foreach (var json in settings.Values)
        {
            var webhook = JsonSerializer.Deserialize(json, ConsumerJson.Default.WebhookSettings)!;
            Run(webhook, states.TryGetValue(WebhookKeys.State(webhook.Id), out var state)
                ? JsonSerializer.Deserialize(state, ConsumerJson.Default.WebhookState)! : new WebhookState(""));
        }
    }

    /// <summary>Adds a webhook, told of what changes from now on. Returns it and its secret, which nobody can read again.</summary>
    /// <exception cref="ArgumentException">The URL is not one that a webhook may have; the message says why.</exception>
    /// <exception cref="InvalidOperationException">There are too many.</exception>
    public async ValueTask<(Webhook Webhook, string Secret)> AddAsync(string url, WebhookEvents events, string? usersPrefix)
    {
        if (url.Length > MaxUrlCharacters)
            throw new ArgumentException($"url is longer than {MaxUrlCharacters} characters");
        if (_targets.Refusal(url, out _) is { } refusal)
            throw new ArgumentException(refusal);
        using var turn = await EnterAsync();
        if (_runners.Count >= Most)
            throw new InvalidOperationException($"There are {Most} webhooks already: remove one.");
        var secret = WebhookSignature.NewSecret();
        var webhook = new WebhookSettings(
            $"wh_{RandomNumberGenerator.GetHexString(12, lowercase: true)}", url, events, Now)
        {
            UsersPrefix = usersPrefix,
            Secrets =
            [new(secret, null)]
        };
        var state = new WebhookState((await _feed.ReadAsync(IChangeFeed.Latest, 1)).Next);
        // the place first: settings without one would begin with the oldest change
        await _feed.Consumers.WriteAsync(WebhookKeys.State(webhook.Id), JsonSerializer.Serialize(state, ConsumerJson.Default.WebhookState));
        await WriteAsync(webhook);
        return (Shown(Run(webhook, state)), secret);
    }

    /// <summary>One webhook; null: there is none of this name.</summary>
    public Webhook? Find(string id) => _runners.TryGetValue(id, out var runner) ? Shown(runner) : null;

    /// <summary>The newest requests of a webhook, the newest last; null: there is none of this name.</summary>
    public IReadOnlyList<WebhookDelivery>? LogOf(string id) => _runners.TryGetValue(id, out var runner) ? runner.State.Log : null;

    /// <summary>Removes a webhook. False: there is none of this name.</summary>
    public async ValueTask<bool> RemoveAsync(string id)
    {
        using var turn = await EnterAsync();
        if (!_runners.TryGetValue(id, out var runner))
            return false;
        _runners = _runners.Where(one => one.Key != id).ToDictionary(StringComparer.Ordinal);
        await _feed.Consumers.WriteAsync(WebhookKeys.Settings(id), null);
        await runner.DisposeAsync();
        await _feed.Consumers.WriteAsync(WebhookKeys.State(id), null);
        return true;
    }

    /// <summary>Pauses a webhook, or resumes it: what waits to be tried again is tried at once. Null: there is none of this name.</summary>
    public ValueTask<Webhook?> PauseAsync(string id, bool isPaused) =>
        ChangeAsync(id, webhook => webhook with { IsPaused = isPaused, PausedFor = null });

    /// <summary>Gives a webhook a new secret; the one before signs as well for a while. Null: there is none of this name.</summary>
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

    /// <summary>Sends a webhook a test, once, also while it is paused. Null: there is none of this name.</summary>
    public async ValueTask<WebhookDelivery?> TestAsync(string id, CancellationToken cancel)
    {
        if (!_runners.TryGetValue(id, out var runner))
            return null;
        var message = $"msg_{id}_test-{RandomNumberGenerator.GetHexString(12, lowercase: true)}";
        return (await _sender.SendAsync(runner.Settings, message, CloudEvents.WriteTest(message, Now), 0, cancel)).Delivery;
    }

    /// <summary>Adds what webhooks can tell.</summary>
    public void Observe(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.webhooks", "Webhooks there are.", () => _runners.Count);
        metrics.Gauge("aglow.webhooks.failing", "Webhooks whose last request failed.", () =>
            _runners.Values.Count(static r => r.State.FailingSince is not null && !r.Settings.IsPaused));
        metrics.Gauge("aglow.webhooks.paused", "Webhooks that are paused.", () => _runners.Values.Count(static r => r.Settings.IsPaused));
        metrics.Gauge(
            "aglow.webhook.lag.seconds",
            "Age of the oldest change that a webhook, not paused, has yet to deliver.",
            () => _runners.Values.Where(static r => !r.Settings.IsPaused).Select(static r => r.LagSeconds).DefaultIfEmpty().Max());
        metrics.Count("aglow.webhook.requests", "Requests to receivers that were acknowledged.", () => _counts.Requests);
        metrics.Count("aglow.webhook.changes", "Changes that receivers acknowledged.", () => _counts.Changes);
        metrics.Count("aglow.webhook.failures", "Requests to receivers that failed.", () => _counts.Failures);
        metrics.Count("aglow.webhook.skipped", "Changes that were given up after 24 hours.", () => _counts.SkippedChanges);
        metrics.Count("aglow.webhook.gaps", "Times that a webhook lost changes, since the feed no longer kept them.", () => _counts.Gaps);
    }

    /// <summary>Stops all, and stores their places.</summary>
    public async ValueTask DisposeAsync()
    {
        using (await EnterAsync())
        {
            foreach (var runner in _runners.Values)
                await runner.DisposeAsync();
            _runners = new(StringComparer.Ordinal);
        }

        _sender.Dispose();
        _turn.Dispose();
    }

    private WebhookRunner Run(WebhookSettings webhook, WebhookState state)
    {
        var runner = new WebhookRunner(_feed, _sender, _counts, _time, webhook, state, PauseForAsync);
        _runners = new Dictionary<string, WebhookRunner>(_runners, StringComparer.Ordinal) { [webhook.Id] = runner };
        runner.Start();
        return runner;
    }

    // by a runner, which must not wait for whoever waits for it to stop
    private async ValueTask PauseForAsync(string id, string why, CancellationToken stop) =>
        await ChangeAsync(id, webhook => webhook with { IsPaused = true, PausedFor = why }, stop);

    private async ValueTask<Webhook?> ChangeAsync(
        string id, Func<WebhookSettings, WebhookSettings> change, CancellationToken cancel = default)
    {
        using var turn = await EnterAsync(cancel);
        if (!_runners.TryGetValue(id, out var runner))
            return null;
        var changed = change(runner.Settings);
        await WriteAsync(changed);
        runner.Change(changed);
        return Shown(runner);
    }

    private ValueTask WriteAsync(WebhookSettings webhook) =>
        _feed.Consumers.WriteAsync(
            WebhookKeys.Settings(webhook.Id), JsonSerializer.Serialize(webhook, ConsumerJson.Default.WebhookSettings));

    private async ValueTask<Turn> EnterAsync(CancellationToken cancel = default)
    {
        await _turn.WaitAsync(cancel);
        return new Turn(_turn);
    }

    private static Webhook Shown(WebhookRunner runner)
    {
        var (settings, state) = (runner.Settings, runner.State);
        return new Webhook(
            settings.Id,
            settings.Url,
            settings.Events,
            settings.UsersPrefix,
            settings.CreatedAt,
            settings.IsPaused,
            settings.PausedFor,
            runner.LagSeconds,
            state.FailingSince,
            state.Delivered,
            state.Failed,
            state.Skipped,
            state.Gaps);
    }

    private readonly struct Turn(SemaphoreSlim semaphore) : IDisposable
    {
        public void Dispose() => semaphore.Release();
    }
}
