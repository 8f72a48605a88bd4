namespace Aglow.Heartbeats;

/// <summary>
/// Sends the <see cref="Renewals"/> of all planes ten times a second, a tenth of the pages each time, and publishes the users who came
/// online.
/// </summary>
/// <remarks>
/// One loop. It retries while the store is away; waiting renewals need no more memory then. Threading: any thread adds heartbeats; flushes
/// never overlap.
/// </remarks>
internal sealed class RenewalLoop : IAsyncDisposable
{
    private readonly Sessions _sessions;
    private readonly IPlaneStore _store;
    private readonly ITransitionBus _bus;
    private readonly Clock _clock;
    private readonly Definition _online;
    private readonly uint _awaySeconds;
    private readonly AglowMetrics _metrics;
    private readonly Action<int, TimeSpan> _flushed;
    // users who came online in the current flush, and those of them who begin a session
    private readonly List<uint> _came = [];
    private readonly List<uint> _begun = [];
    private readonly PageBudget _budget;
    // by plane; created when a heartbeat first names the kind
    private readonly Renewals?[] _ofKinds = new Renewals?[Planes.Count];
    private readonly Lock _gate = new();
    private readonly CancellationTokenSource _stop = new();
    private Task _loop = Task.CompletedTask;

    public RenewalLoop(
        Sessions sessions,
        IPlaneStore store,
        ITransitionBus bus,
        Clock clock,
        Definition online,
        AglowOptions options,
        AglowMetrics metrics)
    {
        _sessions = sessions;
        _store = store;
        _bus = bus;
        _clock = clock;
        _online = online;
        _awaySeconds = (uint)options.AwaySeconds;
        _metrics = metrics;
        _budget = PageBudget.Of(options);
        OfPulse = new Renewals(store, Plane.Pulse, _budget);
        OfActivity = new Renewals(store, Plane.Activity, _budget);
        bus.Subscribe((kind, users) =>
        {
            if (kind == TransitionKind.Left)
                Forget(users);
        });
        metrics.Gauge("aglow.renewals.waiting", "Users whose renewal waits to be written.", () => OfPulse.Waiting);
        _flushed = metrics.Flushes("renewals");
    }

    public Renewals OfPulse { get; }

    public Renewals OfActivity { get; }

    public Renewals OfKind(Plane plane)
    {
        if (Volatile.Read(ref _ofKinds[(int)plane]) is { } known)
            return known;
        lock (_gate)
        {
            if (_ofKinds[(int)plane] is null)
                Volatile.Write(ref _ofKinds[(int)plane], new Renewals(_store, plane, _budget));
            return _ofKinds[(int)plane]!;
        }
    }

    public void Start(AglowLog log) => _loop = Task.Run(() => BackgroundLoop.RunAsync(
        "renewals",
        Renewals.BeatInterval,
        _clock.Time,
        log,
        async () => await FlushAsync(all: false),
        _stop.Token));

    /// <summary>Notes the words of a batch that the store took.</summary>
    public static void Wrote(Renewals renewals, ReadOnlySpan<uint> users, ReadOnlySpan<uint> old, uint word)
    {
        for (var i = 0; i < users.Length; i++)
        {
            if (old[i] != Pulse.Refused && Pulse.Supersedes(word, old[i]))
                renewals.Wrote(users[i], word);
        }
    }

    /// <summary>Drops the waiting words of users who left.</summary>
    public void Forget(ReadOnlySpan<uint> users)
    {
        OfPulse.Forget(users);
        OfActivity.Forget(users);
        foreach (var ofKind in _ofKinds)
            ofKind?.Forget(users);
    }

    /// <summary>Sends what waits on a tenth of the pages, or on all pages. False if something could not be written.</summary>
    public async ValueTask<bool> FlushAsync(bool all)
    {
        var (before, beganAt) = (OfPulse.Sent + OfActivity.Sent, _clock.Time.GetTimestamp());
        var written = await OfPulse.FlushAsync(all, _clock.Now, WasOnline, Came);
        await PublishAsync();
        written &= await OfActivity.FlushAsync(all, _clock.Now, WasActive, WasAway);
        foreach (var ofKind in _ofKinds)
            written &= ofKind is null || await ofKind.FlushAsync(all, _clock.Now, IsOnKind, KindCame);
        if (OfPulse.Sent + OfActivity.Sent - before is > 0 and var words)
            _flushed((int)words, _clock.Time.GetElapsedTime(beganAt));
        return written;
    }

    /// <summary>Stops the loop and sends all that waits.</summary>
    /// <exception cref="StoreUnavailableException">Some of it could not be written, and is lost.</exception>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        await _loop;
        await FlushAsync(all: true);
        var lost = OfPulse.Waiting;
        _stop.Dispose();
        OfPulse.Dispose();
        OfActivity.Dispose();
        foreach (var ofKind in _ofKinds)
            ofKind?.Dispose();
        if (lost > 0)
            throw new StoreUnavailableException(
                $"The last heartbeats of {lost} users could not be written to the store. "
                + "Users who go to another node within their lease are not shown offline.");
    }

    // Whether the user was online. If not, the user begins a session.
    private bool WasOnline(uint user, uint old)
    {
        var was = _online.IsMet(old, Pulse.Never, _clock.MomentOf(PageLayout.Page(user)));
        // Never: the user has no earlier session, or the old word was lost with the answer of the store
        if (!was && old != Pulse.Never)
            _begun.Add(user);
        return was;
    }

    private bool IsOnKind(uint user, uint old) => _online.IsMet(old, Pulse.Never, _clock.MomentOf(PageLayout.Page(user)));

    private void KindCame(ReadOnlySpan<uint> users) => _bus.Publish(TransitionKind.DeviceCame, users);

    private bool WasActive(uint user, uint old) => Pulse.Second(old) >= _clock.Moment.Oldest(_awaySeconds);

    private void Came(ReadOnlySpan<uint> users) => _came.AddRange(users);

    private async ValueTask PublishAsync()
    {
        uint[] came = [.. _came], begun = [.. _begun];
        _came.Clear();
        _begun.Clear();
        if (came.Length == 0)
            return;
        try
        {
            await _sessions.EndActivityAsync(begun);
        }
        catch (StoreUnavailableException)
        {
            // at worst, a user is shown away until the next activity
        }

        _metrics.Written(-came.Length, came.Length, 0);
        _bus.Publish(TransitionKind.Arrived, came);
    }

    private void WasAway(ReadOnlySpan<uint> users) => _bus.Publish(TransitionKind.Changed, users);
}
