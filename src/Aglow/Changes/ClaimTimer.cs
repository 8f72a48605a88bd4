using Aglow.Users;

namespace Aglow.Changes;

/// <summary>Finds claims that change with time: a heap with one timer holds the next such second of each user.</summary>
/// <remarks>
/// A claim ends without any write, so the server must check the user at that second. Rejected: a timer for each user. The heap is rebuilt
/// when it holds twice as many entries as users. Threading: any thread.
/// </remarks>
internal sealed class ClaimTimer : IDisposable
{
    private const int LeastForDrop = 1024;

    // a step of the clock is noticed within this time
    private static readonly TimeSpan LongestWait = TimeSpan.FromSeconds(60);

    private readonly Clock _clock;
    private readonly Action<uint> _changed;
    private readonly Lock _gate = new();
    private readonly PriorityQueue<uint, uint> _next = new();
    private readonly Dictionary<uint, uint> _byUser = [];
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

    /// <summary>Follows every user who has claims.</summary>
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
            if (next == 0)
            {
                _byUser.Remove(user);
                return;
            }

            if (_byUser.TryGetValue(user, out var known) && known == next)
                return;
            _byUser[user] = next;
            _next.Enqueue(user, next);
            if (_next.Count > LeastForDrop + (2 * _byUser.Count))
            {
                _next.Clear();
                _next.EnqueueRange(_byUser.Select(static entry => (entry.Key, entry.Value)));
            }

            Wait();
        }
    }

    public void Dispose() => _timer.Dispose();

    private void Fire()
    {
        var due = new List<uint>();
        lock (_gate)
        {
            while (_next.TryPeek(out var user, out var second) && second <= _clock.Now)
            {
                _next.Dequeue();
                if (!_byUser.TryGetValue(user, out var next) || next != second)
                    continue;
                _byUser.Remove(user);
                due.Add(user);
            }

            Wait();
        }

        foreach (var user in due)
            _changed(user);
    }

    private void Wait()
    {
        if (!_next.TryPeek(out _, out var second))
            return;
        var wait = TimeSpan.FromSeconds(Math.Max(0.05, (double)second - _clock.Now));
        _timer.Change(wait < LongestWait ? wait : LongestWait, Timeout.InfiniteTimeSpan);
    }
}
