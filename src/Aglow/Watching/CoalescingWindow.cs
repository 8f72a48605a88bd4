namespace Aglow.Watching;

/// <summary>
/// How many beats changes are collected before they are sent: one if there is little to send, up to half a second if sending takes half of
/// a core.
/// </summary>
/// <remarks>
/// A frame costs the same with one record or ten, so a busy node must send fewer frames. The window follows the cost of the last flushes:
/// as many beats as keep them below half of one core. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class CoalescingWindow
{
    /// <summary>The widest window: half a second.</summary>
    public const int MaxBeats = 25;

    // the cost of a frame besides the send: its receipt, its acknowledgement, or a pipe
    private static readonly TimeSpan FrameCost = TimeSpan.FromMicroseconds(2);

    private int _lastWanted = 1;

    /// <summary>The current window, in beats.</summary>
    public int Beats { get; private set; } = 1;

    /// <summary>Adjusts the window after a flush of this many frames took this long.</summary>
    public void Flushed(TimeSpan took, int frames)
    {
        var cost = took + (frames * FrameCost);
        var wanted = (int)Math.Clamp(2 * (cost / WatchHub.BeatInterval), 1, MaxBeats);
        // one slow flush on a busy machine does not widen the window, and a wide window shrinks within a few flushes
        var steady = Math.Min(wanted, _lastWanted);
        _lastWanted = wanted;
        Beats = steady > Beats ? steady : Math.Max(steady, Beats - 1 - (Beats / 4));
    }
}
