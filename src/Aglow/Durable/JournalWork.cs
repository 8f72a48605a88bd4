using System.Numerics;
using System.Runtime.InteropServices;

namespace Aglow.Durable;

/// <summary>
/// The users whose words the <see cref="Journal"/> must write: queued, set aside while nothing could be written, or taken for the present
/// commit.
/// </summary>
/// <remarks>Threading: <see cref="Queue"/> as documented there; the rest by the journal's writer only.</remarks>
internal sealed class JournalWork
{
    /// <summary>Users of one commit: 16 rows.</summary>
    public const int PerCommit = 16 * PresenceFile.EntriesPerRow;

    // users whose words could not be written yet: a bit each, however long the disk is full (125 MB at a billion users); null: never any
    private readonly UserBits?[] _unsaved = new UserBits?[2];
    private readonly List<uint>[] _taken = [[], []];

    /// <summary>The users who were added.</summary>
    public JournalQueue Queue { get; } = new();

    public int TakenCount => _taken[0].Count + _taken[1].Count;

    /// <summary>The users taken of a plane. Valid until another user is taken.</summary>
    public ReadOnlySpan<uint> Taken(Plane plane) => CollectionsMarshal.AsSpan(_taken[(int)plane]);

    /// <summary>
    /// Takes the users of one commit: first those set aside, and then up to <paramref name="left"/> users of the queue. False if there are
    /// none.
    /// </summary>
    public bool Take(ref long left)
    {
        for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
            TakeUnsaved(plane);
        while (TakenCount < PerCommit && left > 0 && Queue.TryTake(_taken, out var count))
            left -= count;
        return TakenCount > 0;
    }

    public void Take(Plane plane, uint user) => _taken[(int)plane].Add(user);

    /// <summary>Call it when the users taken are written.</summary>
    public void Settle()
    {
        Queue.Settle();
        foreach (var users in _taken)
            users.Clear();
    }

    /// <summary>Call it when the users taken could not be written. They are taken again later.</summary>
    public void SetAside()
    {
        for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
        {
            foreach (var user in Taken(plane))
                (_unsaved[(int)plane] ??= new UserBits()).Set(user, present: true);
        }

        Settle();
    }

    /// <summary>Sets the whole queue aside, so that memory does not grow while nothing can be written.</summary>
    public void SetQueueAside()
    {
        while (Queue.TryTake(_taken, out _))
        {
            if (TakenCount >= PerCommit)
                SetAside();
        }

        SetAside();
    }

    // Takes users of whole pages, until there are enough for a commit.
    private void TakeUnsaved(Plane plane)
    {
        if (_unsaved[(int)plane] is not { Count: > 0 } unsaved)
            return;
        var taken = _taken[(int)plane];
        for (var page = 0; page < PageLayout.Pages && taken.Count < PerCommit; page++)
        {
            for (var group = 0; group < unsaved.Groups(page).Length; group++)
            {
                for (var bits = unsaved.Set(page, group, ulong.MaxValue, present: false); bits != 0; bits &= bits - 1)
                    taken.Add(PageLayout.User(page, (group * 64) + BitOperations.TrailingZeroCount(bits)));
            }
        }
    }
}
