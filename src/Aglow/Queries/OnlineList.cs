using System.Numerics;
using Aglow.Sweeping;
using Aglow.Users;

namespace Aglow.Queries;

/// <summary>A page of users who are online, and the start of the next page; null on the last page.</summary>
public sealed record OnlinePage(IReadOnlyList<uint> Users, string? Next);

/// <summary>
/// Lists users who are believed online, in the order of pages and slots. Reads each from the store, as the viewer sees them, before it
/// lists them.
/// </summary>
/// <remarks>
/// Bounded: stops after <see cref="MostGroups"/> groups of 64, even with fewer users than requested. The cursor continues from there.
/// </remarks>
internal static class OnlineList
{
    // a quarter of a billion users for each call: about 20 ms
    private const int MostGroups = 4_000_000;

    private const string CursorList = "/online";

    public static async ValueTask<OnlinePage> ReadAsync(
        Belief belief, IReadOnlyList<int> pages, PresenceView view, int limit, string? cursor, CursorSeal seal)
    {
        var (page, slot) = Decode(seal, cursor);
        var found = new List<uint>(limit);
        var candidates = new uint[limit];
        var answers = new Presence[limit];
        var groupsLeft = MostGroups;
        while (found.Count < limit && groupsLeft > 0)
        {
            var count = Collect(belief, pages, candidates.AsSpan(0, limit - found.Count), ref page, ref slot, ref groupsLeft);
            if (count > 0)
            {
                await view.ReadAsync(candidates.AsMemory(0, count), belief.Definition, answers.AsMemory(0, count));
                for (var i = 0; i < count; i++)
                {
                    if (answers[i].IsOnline)
                        found.Add(candidates[i]);
                }
            }

            if (page == PageLayout.Pages)
                return new OnlinePage(found, null);
        }

        return new OnlinePage(found, Encode(seal, page, slot));
    }

    // Fills candidates from (page, slot) on, and returns where it stopped: Pages if none is left.
    private static int Collect(
        Belief belief, IReadOnlyList<int> pages, Span<uint> candidates, ref int page, ref int slot, ref int groupsLeft)
    {
        var count = 0;
        foreach (var next in pages)
        {
            if (next < page)
                continue;
            if (next > page)
                (page, slot) = (next, 0);
            var groups = belief.Groups(page);
            for (var group = slot >> 6; group < groups.Length; group++)
            {
                if (--groupsLeft <= 0)
                {
                    slot = Math.Max(slot, group * 64);
                    return count;
                }

                for (var bits = Volatile.Read(in groups[group]) & FromSlot(slot, group); bits != 0; bits &= bits - 1)
                {
                    var at = (group * 64) + BitOperations.TrailingZeroCount(bits);
                    candidates[count++] = PageLayout.User(page, at);
                    if (count == candidates.Length)
                    {
                        // the cursor points directly after this user, because the next user may be one whom the caller may not see
                        slot = at + 1;
                        return count;
                    }
                }
            }

            (page, slot) = (page + 1, 0);
        }

        (page, slot) = (PageLayout.Pages, 0);
        return count;
    }

    private static ulong FromSlot(int slot, int group) => slot <= group * 64 ? ulong.MaxValue : ulong.MaxValue << (slot & 63);

    private static string Encode(CursorSeal seal, int page, int slot) => seal.Seal($"{page} {slot}", CursorList);

    private static (int Page, int Slot) Decode(CursorSeal seal, string? cursor) => cursor is null
        ? (0, 0)
        : seal.Open(cursor, CursorList)?.Split(' ') is [var page, var slot]
            ? (int.Parse(page), int.Parse(slot))
            : throw new FormatException("The cursor is not one of this list.");
}
