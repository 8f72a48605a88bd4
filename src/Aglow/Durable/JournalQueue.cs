using System.Buffers;
using System.Collections.Concurrent;
using Aglow.Model;

namespace Aglow.Durable;

/// <summary>The users whose words the <see cref="Journal"/> is to write, in the order they were added; a user may be in it many times.</summary>
/// <remarks>
/// Numbers and not words: a word is read when it is packed, so the order of the journal cannot contradict that of exchanges.
/// Not bounded by itself: the journal asks writers of batches to wait at a million (<see cref="Journal.IsBacklogged"/>), and while nothing can be written it empties
/// this into a bit a user.
/// Threading: <see cref="Add"/> and <see cref="Count"/> from any thread, without a lock; taking and settling by the journal's writer alone.
/// </remarks>
internal sealed class JournalQueue
{
    private readonly ConcurrentQueue<Batch> _batches = new();
    private long _count;
    private long _unsettled;

    /// <summary>Users added and not settled yet, those included whom the writer has taken: 0 says that all that was added is done with.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>Adds users; returns whether there were none.</summary>
    public bool Add(Plane plane, ReadOnlySpan<uint> users)
    {
        // counted before they are queued: what is counted may not be there yet, but nothing is there uncounted
        var wereNone = Interlocked.Add(ref _count, users.Length) == users.Length;
        if (users.Length == 1)
            _batches.Enqueue(new Batch(plane, 1, users[0], null));
        else
            AddMany(plane, users);
        return wereNone;
    }

    /// <summary>Moves the oldest batch into the list of its plane, and says how many users that were; false where there is none.</summary>
    public bool TryTake(List<uint>[] taken, out int count)
    {
        if (!_batches.TryDequeue(out var batch))
        {
            count = 0;
            return false;
        }

        batch.MoveTo(taken[(int)batch.Plane]);
        count = batch.Count;
        _unsettled += count;
        return true;
    }

    /// <summary>All that was taken is written, or kept elsewhere: it counts no longer.</summary>
    public void Settle()
    {
        Interlocked.Add(ref _count, -_unsettled);
        _unsettled = 0;
    }

    private void AddMany(Plane plane, ReadOnlySpan<uint> users)
    {
        while (!users.IsEmpty)
        {
            var count = Math.Min(users.Length, PresenceFile.EntriesPerRow);
            var copy = ArrayPool<uint>.Shared.Rent(count);
            users[..count].CopyTo(copy);
            _batches.Enqueue(new Batch(plane, count, 0, copy));
            users = users[count..];
        }
    }

    // One number in place, or many in an array of the shared pool.
    private readonly record struct Batch(Plane Plane, int Count, uint One, uint[]? Many)
    {
        public void MoveTo(List<uint> users)
        {
            if (Many is null)
            {
                users.Add(One);
                return;
            }

            users.AddRange(Many.AsSpan(0, Count));
            ArrayPool<uint>.Shared.Return(Many);
        }
    }
}
