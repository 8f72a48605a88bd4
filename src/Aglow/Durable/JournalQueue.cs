using System.Buffers;
using System.Collections.Concurrent;

namespace Aglow.Durable;

/// <summary>The users whose words the <see cref="Journal"/> must write, in the order of adding. A user may be in it many times.</summary>
/// <remarks>
/// It holds indexes, not words: a word is read when its row is written, so the journal's order cannot contradict the order in which words
/// changed in memory.
/// It has no bound of its own. The journal makes writers of batches wait at a million (<see cref="Journal.IsBacklogged"/>), and moves the
/// queue into one bit a user while nothing can be written.
/// Threading: <see cref="Add"/> and <see cref="Count"/> from any thread, without a lock; taking and settling by the journal's writer only.
/// </remarks>
internal sealed class JournalQueue
{
    private readonly ConcurrentQueue<Batch> _batches = new();
    private long _count;
    private long _unsettled;

    /// <summary>Users who are added and not settled, including those whom the writer has taken. 0 means that everything is done.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>Adds users; returns whether the queue was empty.</summary>
    public bool Add(Plane plane, ReadOnlySpan<uint> users)
    {
        // counted before they are queued, so the count is never too low
        var wereNone = Interlocked.Add(ref _count, users.Length) == users.Length;
        if (users.Length == 1)
            _batches.Enqueue(new Batch(plane, 1, users[0], null));
        else
            AddMany(plane, users);
        return wereNone;
    }

    /// <summary>Moves the oldest batch into the list of its plane and returns its size; false if the queue is empty.</summary>
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

    /// <summary>Everything that was taken is written or set aside, so it no longer counts.</summary>
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

    // one index in place, or several in an array of the shared pool
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
