using System.Runtime.InteropServices;
using Aglow.Model;

namespace Aglow.Durable;

/// <summary>
/// Whose words the <see cref="Journal"/> has to write: who was queued, who was set aside while nothing could be written, and who was taken for the commit
/// under way.
/// </summary>
/// <remarks>Threading: <see cref="Queue"/> as it says; all else by the journal's writer alone.</remarks>
internal sealed class JournalWork
{
    /// <summary>Users of one commit: 16 rows of them.</summary>
    public const int PerCommit = 16 * PresenceFile.EntriesPerRow;

    private readonly UnsavedUsers _unsaved = new();
    private readonly List<uint>[] _taken = [[], []];

    /// <summary>Who was added.</summary>
    public JournalQueue Queue { get; } = new();

    /// <summary>Users of both planes that were taken.</summary>
    public int TakenCount => _taken[0].Count + _taken[1].Count;

    /// <summary>Those that were taken of a plane; valid until one is added.</summary>
    public ReadOnlySpan<uint> Taken(Plane plane) => CollectionsMarshal.AsSpan(_taken[(int)plane]);

    /// <summary>Takes at most one commit's worth: of who was set aside first, else of the queue, of which <paramref name="left"/> users are for this commit. False where there is nobody.</summary>
    public bool Take(ref long left)
    {
        for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
            _unsaved.MoveTo(plane, _taken[(int)plane], PerCommit);
        while (TakenCount < PerCommit && left > 0 && Queue.TryTake(_taken, out var count))
            left -= count;
        return TakenCount > 0;
    }

    /// <summary>Adds one to those that were taken.</summary>
    public void Take(Plane plane, uint user) => _taken[(int)plane].Add(user);

    /// <summary>Those that were taken are written: they count no longer.</summary>
    public void Settle()
    {
        Queue.Settle();
        foreach (var users in _taken)
            users.Clear();
    }

    /// <summary>Those that were taken could not be written: they count no longer, and are taken again when something can be.</summary>
    public void SetAside()
    {
        for (var plane = Plane.Pulse; plane <= Plane.Activity; plane++)
            _unsaved.Add(plane, Taken(plane));
        Settle();
    }

    /// <summary>Sets all of the queue aside, so that neither it nor memory grows while nothing can be written.</summary>
    public void SetQueueAside()
    {
        while (Queue.TryTake(_taken, out _))
        {
            if (TakenCount >= PerCommit)
                SetAside();
        }

        SetAside();
    }
}
