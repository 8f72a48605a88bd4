using Aglow.Diagnostics;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Heartbeats;

/// <summary>
/// Sends the <see cref="Renewals"/> of both planes ten times a second, a tenth of the pages each time, and tells of those who turn out to have come online.
/// </summary>
/// <remarks>One loop. While the store is away it goes on trying; nothing piles up meanwhile. Threading: heartbeats from any thread, flushes never overlap.</remarks>
internal sealed class RenewalLoop : IAsyncDisposable
{
    private readonly IPlaneStore _store;
    private readonly ITransitionBus _bus;
    private readonly Clock _clock;
    private readonly Definition _online;
    private readonly uint _awaySeconds;
    private readonly AglowMetrics _metrics;
    private readonly Action<int, TimeSpan> _flushed;
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;

    public RenewalLoop(IPlaneStore store, ITransitionBus bus, Clock clock, Definition online, AglowOptions options, AglowMetrics metrics)
    {
        _store = store;
        _bus = bus;
        _clock = clock;
        _online = online;
        _awaySeconds = (uint)options.AwaySeconds;
        _metrics = metrics;
        var budget = options.CreateBudget();
        OfPulse = new Renewals(store, Plane.Pulse, budget);
        OfActivity = new Renewals(store, Plane.Activity, budget);
        bus.Subscribe((kind, users) =>
        {
            if (kind == TransitionKind.Left)
                Forget(users);
        });
        metrics.Gauge("aglow.renewals.waiting", "Users whose renewal waits to be written.", () => OfPulse.Waiting);
        _flushed = metrics.Flushes("renewals");
    }

    /// <summary>Heartbeats that wait.</summary>
    public Renewals OfPulse { get; }

    /// <summary>Activity that waits.</summary>
    public Renewals OfActivity { get; }

    /// <summary>Starts the loop.</summary>
    public void Start() => _loop = Task.Run(RunAsync);

    /// <summary>The store took a batch: what it wrote is known here from now on.</summary>
    public static void Wrote(Renewals renewals, ReadOnlySpan<uint> users, ReadOnlySpan<uint> old, uint word)
    {
        for (var i = 0; i < users.Length; i++)
        {
            if (old[i] != Pulse.Refused && Pulse.Supersedes(word, old[i]))
                renewals.Wrote(users[i], word);
        }
    }

    /// <summary>These users left: nothing of them waits any more.</summary>
    public void Forget(ReadOnlySpan<uint> users)
    {
        OfPulse.Forget(users);
        OfActivity.Forget(users);
    }

    /// <summary>Sends what waits: on a tenth of the pages, or on all. False where something could not be written.</summary>
    public async ValueTask<bool> FlushAsync(bool all)
    {
        var (before, beganAt) = (OfPulse.Sent + OfActivity.Sent, _clock.Time.GetTimestamp());
        var written = await OfPulse.FlushAsync(all, _clock.Now, WasOnline, Came) & await OfActivity.FlushAsync(all, _clock.Now, WasActive, WasAway);
        if (OfPulse.Sent + OfActivity.Sent - before is > 0 and var words)
            _flushed((int)words, _clock.Time.GetElapsedTime(beganAt));
        return written;
    }

    /// <summary>Stops the loop and sends all that waits, where the store can be reached.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        await _loop;
        await FlushAsync(all: true);
        _stop.Dispose();
        OfPulse.Dispose();
        OfActivity.Dispose();
    }

    private async Task RunAsync()
    {
        using var timer = new PeriodicTimer(Renewals.BeatInterval, _clock.Time);
        try
        {
            while (await timer.WaitForNextTickAsync(_stop.Token))
                await FlushAsync(all: false);
        }
        catch (OperationCanceledException)
        {
            // stopped
        }
    }

    private bool WasOnline(uint user, uint old) => _online.IsMet(old, Pulse.Never, _clock.MomentOf(PageLayout.Page(user)));

    private bool WasActive(uint user, uint old) => Pulse.Second(old) >= _clock.Moment.Oldest(_awaySeconds);

    private void Came(ReadOnlySpan<uint> users)
    {
        _metrics.Written(-users.Length, users.Length, 0);
        _bus.Publish(TransitionKind.Arrived, users);
    }

    private void WasAway(ReadOnlySpan<uint> users) => _bus.Publish(TransitionKind.Changed, users);
}
