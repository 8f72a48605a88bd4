using System.Numerics;

namespace Aglow.Durable;

/// <summary>
/// Users whose words could not be written yet, as one bit each. So the memory does not depend on how long the disk is full (125 MB at a
/// billion users). Their words are read again when writes succeed.
/// </summary>
/// <remarks>Threading: the journal's writer only.</remarks>
internal sealed class UnsavedUsers
{
    private readonly SortedDictionary<int, ulong[]>[] _pages = [new(), new()];

    public void Add(Plane plane, ReadOnlySpan<uint> users)
    {
        var pages = _pages[(int)plane];
        foreach (var user in users)
        {
            var page = PageLayout.Page(user);
            if (!pages.TryGetValue(page, out var groups))
                pages.Add(page, groups = new ulong[PageLayout.Groups]);
            var slot = PageLayout.Slot(user);
            groups[slot >> 6] |= 1UL << (slot & 63);
        }
    }

    /// <summary>
    /// Moves users of whole pages into <paramref name="users"/>, until there are <paramref name="enough"/> or none is left.
    /// </summary>
    public void MoveTo(Plane plane, List<uint> users, int enough)
    {
        var pages = _pages[(int)plane];
        while (pages.Count > 0 && users.Count < enough)
        {
            var (page, groups) = pages.First();
            for (var group = 0; group < groups.Length; group++)
            {
                for (var bits = groups[group]; bits != 0; bits &= bits - 1)
                    users.Add(PageLayout.User(page, (group * 64) + BitOperations.TrailingZeroCount(bits)));
            }

            pages.Remove(page);
        }
    }
}
