namespace Aglow.Heartbeats;

/// <summary>
/// Replaces words in the future. They were written before the clock was set back. Otherwise they would win over every heartbeat and leave
/// until their second comes.
/// </summary>
/// <remarks>Threading: any thread.</remarks>
internal sealed class AheadWords(IPlaneStore store, Clock clock)
{
    /// <summary>The latest word that is not in the future.</summary>
    public static uint Latest(Moment at) => at.Now + Clock.Apart;

    /// <summary>Whether the old word is in the future, so that a heartbeat or leave at this moment did not replace it.</summary>
    public static bool IsAhead(uint old, Moment at) => old != Pulse.Refused && Pulse.Second(old) > Latest(at);

    /// <summary>Whether one of these old words may be in the future.</summary>
    public static bool MayBeAmong(ReadOnlySpan<uint> old, Moment at) => old.ContainsAnyExceptInRange(0u, Latest(at));

    /// <summary>Writes this word for users whose word is in the future.</summary>
    public async ValueTask ReplaceAsync(Plane plane, ReadOnlyMemory<uint> users, uint word, Moment at)
    {
        // while clocks settle, a heartbeat keeps the later second, which counts as now; a leave must count at once
        if (clock.IsSettling && word == Pulse.Second(word))
            return;
        var words = new uint[users.Length];
        words.AsSpan().Fill(word);
        await store.ReplaceAsync(plane, users, words, Latest(at));
    }
}
