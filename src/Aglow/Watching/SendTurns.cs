using System.Diagnostics.CodeAnalysis;

namespace Aglow.Watching;

/// <summary>
/// The connections that have changes to send, in fair turns: each is sent all its changes at once, and then waits behind all others.
/// </summary>
/// <remarks>
/// <code>
///   a change ─► its watchers at the end ─► | c9 | c2 | c7 | ... | ─► the first, while the CoalescingWindow is open
/// </code>
/// No connection waits for more than one round of the others. A change for a connection that waits already takes only a bit in its
/// <see cref="Outbox"/>. The owner adds a connection only once. The <see cref="WatchHub"/>'s loop owns it. It reads no clock.
/// </remarks>
internal sealed class SendTurns<T>
{
    private readonly Queue<(T Connection, TimeSpan Since)> _waiting = new();
    private readonly CoalescingWindow _window = new();
    private TimeSpan _longest;

    /// <summary>
    /// How many connections were ever added. With <see cref="Taken"/>, it says when a change has reached all its watchers.
    /// </summary>
    public long Added { get; private set; }

    public long Taken { get; private set; }

    /// <summary>Adds a connection at the end.</summary>
    public void Add(T connection, TimeSpan now)
    {
        _waiting.Enqueue((connection, now));
        Added++;
    }

    /// <summary>Takes the first connection if the window is open.</summary>
    public bool TryTake(TimeSpan now, [MaybeNullWhen(false)] out T connection)
    {
        connection = default;
        if (!_waiting.TryPeek(out var first) || _window.OpensIn(now, first.Since) > TimeSpan.Zero)
            return false;
        connection = _waiting.Dequeue().Connection;
        Taken++;
        if (now - first.Since > _longest)
            _longest = now - first.Since;
        return true;
    }

    /// <summary>How long the first connection must wait; null: none waits.</summary>
    public TimeSpan? OpensIn(TimeSpan now) => _waiting.TryPeek(out var first) ? _window.OpensIn(now, first.Since) : null;

    /// <summary>Whether a change that is found just now would be sent at once.</summary>
    public bool IsOpen(TimeSpan now) => (OpensIn(now) ?? _window.OpensIn(now, now)) <= TimeSpan.Zero;

    /// <summary>Counts time that the hub worked, and the frames that it sent.</summary>
    public void Worked(TimeSpan now, TimeSpan took, int frames) => _window.Worked(now, took, frames);

    /// <summary>The longest wait for a turn since the last call.</summary>
    public TimeSpan TakeLongestWait()
    {
        var longest = _longest;
        _longest = default;
        return longest;
    }
}
