using System.Buffers;

namespace Aglow.Heartbeats;

/// <summary>
/// A session begins when the user comes online. Activity of an earlier session is marked, so that it does not make the user away.
/// </summary>
/// <remarks>Threading: any thread.</remarks>
internal sealed class Sessions(IPlaneStore store, Definition online)
{
    /// <summary>
    /// Whether a session begins: the user was not online. A user never seen has no activity; a store that lost the old word also returns
    /// "never seen".
    /// </summary>
    public bool Begins(uint old, Moment at) => old != Pulse.Never && !online.IsMet(old, Pulse.Never, at);

    /// <summary>Marks activity before this second as that of an earlier session. Call it only for users who begin one.</summary>
    public async ValueTask EndActivityAsync(ReadOnlyMemory<uint> users, uint before = uint.MaxValue)
    {
        if (users.IsEmpty || before == 0)
            return;
        var scratch = ArrayPool<uint>.Shared.Rent(users.Length * 3);
        try
        {
            var words = scratch.AsMemory(0, users.Length);
            await store.ReadAsync(Plane.Activity, users, words);
            var active = scratch.AsMemory(users.Length, users.Length);
            var count = 0;
            for (var i = 0; i < users.Length; i++)
            {
                // no activity, or marked already, or new enough
                if ((int)words.Span[i] <= 0 || words.Span[i] >= before)
                    continue;
                active.Span[count] = users.Span[i];
                words.Span[count++] = words.Span[i] | Pulse.LeftBit;
            }

            if (count == 0)
                return;
            await store.ExchangeAsync(Plane.Activity, active[..count], words[..count], scratch.AsMemory(users.Length * 2, count));
            store.Keep(Plane.Activity, active.Span[..count]);
        }
        finally
        {
            ArrayPool<uint>.Shared.Return(scratch);
        }
    }
}
