namespace Aglow.Sweeping;

/// <summary>
/// Runs the <see cref="Sweep"/> ten times a second, beats the <see cref="Clock"/>, and logs when the sweep exceeds its bound.
/// </summary>
/// <remarks>
/// One loop, which beats the clock even while a sweep waits. Threading: any thread may ask for a pass. Beats and passes never overlap.
/// </remarks>
internal sealed class SweepLoop : IAsyncDisposable
{
    private readonly Clock _clock;
    private readonly AglowLog _log;
    private readonly bool _isRemote;
    private readonly SemaphoreSlim _turn = new(1);
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;
    private Task _beating = Task.CompletedTask;
    private bool _warned;

    public SweepLoop(Sweep sweep, Clock clock, AglowMetrics metrics, AglowLog log, bool isRemote)
    {
        Sweep = sweep;
        _isRemote = isRemote;
        _clock = clock;
        _log = log;
        clock.Stepped += (from, to) => log.ClockStepped((long)to - from);
        metrics.Gauge(
            "aglow.sweep.interval.seconds",
            "The bound on staleness: the time in which every page is read again.",
            () => sweep.Interval.TotalSeconds);
        metrics.Gauge(
            "aglow.sweep.cost.seconds",
            "CPU time of one core that the last complete sweep took.",
            () => sweep.LastPassCost.TotalSeconds);
        metrics.Count("aglow.sweep.lapses", "Users whose expired lease a sweep found.", () => sweep.Lapses);
        metrics.Gauge(
            "aglow.staleness.seconds",
            "Age of the oldest belief: the time since the last complete sweep began.",
            () => Math.Max(0, (long)clock.Now - sweep.AsOf));
    }

    public Sweep Sweep { get; }

    public async Task StartAsync()
    {
        await PassAsync();
        _loop = Task.Run(() => BackgroundLoop.RunAsync("sweep", Sweep.BeatInterval, _clock.Time, _log, Beat, _stop.Token));
    }

    public async ValueTask PassAsync()
    {
        using var turn = await _turn.EnterAsync();
        await Sweep.PassAsync();
    }

    /// <summary>
    /// Ends the loop. For a local store it sweeps once more, so that users whose lease expired since the last beat keep their exact last
    /// seen.
    /// </summary>
    public async Task StopAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        await _loop;
        await _beating.ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        if (!_isRemote)
            await PassAsync();
    }

    public async ValueTask DisposeAsync()
    {
        await StopAsync();
        _stop.Dispose();
        _turn.Dispose();
    }

    private ValueTask Beat()
    {
        var paused = _clock.Beat();
        if (paused > TimeSpan.Zero)
            _log.Paused(paused.TotalSeconds);
        // a sweep in memory is done when this returns; the clock must not wait for a remote store
        if (!_beating.IsCompleted)
            return default;
        // if the previous sweep failed in the background, this beat reports it
        var before = _beating;
        _beating = SweepAsync();
        return new ValueTask(before.IsFaulted ? before : _beating.IsFaulted ? _beating : Task.CompletedTask);
    }

    private async Task SweepAsync()
    {
        using var turn = await _turn.EnterAsync();
        try
        {
            if (!await Sweep.BeatAsync())
                return;
            if (Sweep.Interval > Sweep.Bound != _warned)
            {
                _warned = !_warned;
                if (_warned)
                    _log.BoundStretched(Sweep.Interval.TotalSeconds);
            }
        }
        catch (StoreUnavailableException)
        {
            // readers and writers report the failure; the next beat continues where this one stopped
        }
    }
}
