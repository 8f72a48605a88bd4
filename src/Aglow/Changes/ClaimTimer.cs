using Aglow.Users;

namespace Aglow.Changes;

/// <summary>Finds claims that change with time: one timer for the next such second of all users.</summary>
/// <remarks>A claim ends without any write, so the server must check the user at that second. Threading: any thread.</remarks>
internal sealed class ClaimTimer : IDisposable
{
    // a step of the clock is noticed within this time
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(60);

    private readonly Clock _clock;
    private readonly Action<uint> _changed;
    private readonly Lock _gate = new();
    private readonly DueUsers _next = new();
    private readonly ITimer _timer;
    private Claims? _claims;

    /// <summary>
    /// Creates a timer that reports each user whose claims changed. To follow that user further, call <see cref="Follow"/> again.
    /// </summary>
    public ClaimTimer(Clock clock, Action<uint> changed)
    {
        _clock = clock;
        _changed = changed;
        _timer = clock.Time.CreateTimer(_ => Fire(), null, Timeout.InfiniteTimeSpan, Timeout.InfiniteTimeSpan);
    }

    public void Start(Claims claims)
    {
        _claims = claims;
        foreach (var user in claims.Users)
            Follow(user);
    }

    /// <summary>Follows a user whose claims were set or changed.</summary>
    public void Follow(uint user)
    {
        var next = _claims?.ChangeAfter(user, _clock.Now) ?? 0;
        lock (_gate)
        {
            _next.Set(user, next);
            Wait();
        }
    }

    public void Dispose() => _timer.Dispose();

    private void Fire()
    {
        var due = new List<uint>();
        lock (_gate)
        {
            while (_next.TryTake(_clock.Now, out var user))
                due.Add(user);
            Wait();
        }

        foreach (var user in due)
            _changed(user);
    }

    private void Wait()
    {
        if (_next.First is not { } second)
            return;
        var wait = TimeSpan.FromSeconds(Math.Max(0.05, (double)second - _clock.Now));
        _timer.Change(wait < LongestWait ? wait : LongestWait, Timeout.InfiniteTimeSpan);
    }
}
