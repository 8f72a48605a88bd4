namespace Aglow.Watching;

/// <summary>
/// How many beats changes are gathered before they are told: one when the node is quiet, up to half a second when telling takes half of a core.
/// </summary>
/// <remarks>
/// A frame costs the same whether it holds one record or ten, so what a busy node has too little of is frames. The window follows what the last
/// flushes cost: as many beats as keep them to half of one core. Owned by the <see cref="WatchHub"/>'s loop.
/// </remarks>
internal sealed class CoalescingWindow
{
    /// <summary>The widest window: half a second.</summary>
    public const int MaxBeats = 25;

    // what a frame costs beside handing it over: its receipt, acknowledgement, or a pipe
    private static readonly TimeSpan FrameCost = TimeSpan.FromMicroseconds(2);

    private int _lastWanted = 1;

    /// <summary>The window in force, in beats.</summary>
    public int Beats { get; private set; } = 1;

    /// <summary>A flush took this long for so many frames.</summary>
    public void Flushed(TimeSpan took, int frames)
    {
        var cost = took + (frames * FrameCost);
        var wanted = (int)Math.Clamp(2 * (cost / WatchHub.BeatInterval), 1, MaxBeats);
        // one flush in which the machine was busy with something else does not count, and what was too wide shrinks within a few
        var steady = Math.Min(wanted, _lastWanted);
        _lastWanted = wanted;
        Beats = steady > Beats ? steady : Math.Max(steady, Beats - 1 - (Beats / 4));
    }
}
