using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Users;

/// <summary>
/// Name to number: in the names that wait (<see cref="NameTail"/>), then in <see cref="NameIndex"/>, and what either finds is
/// compared with the user's row. One thread at a time.
/// </summary>
/// <remarks>
/// The order matters: a name leaves the tail after it is in the index, so who looks there first, and begins to read the index
/// afterwards, misses none. Both may still know a user who is deleted or rolled back; the row decides.
/// </remarks>
internal sealed class NameLookup(SqliteConnection users, SqliteConnection names, NameTail tail) : IDisposable
{
    private readonly SqliteStatement _name = new(users, "SELECT name FROM user WHERE number = ?1");
    private readonly SqliteStatement _hashes = new(names, "SELECT id FROM hash WHERE id BETWEEN ?1 AND ?2");
    private readonly SqliteStatement _begin = new(names, "BEGIN");
    private readonly SqliteStatement _end = new(names, "COMMIT");
    private readonly List<uint> _candidates = [];

    /// <summary>The numbers of the keys of a batch, 0 for those who have none.</summary>
    public void Find(KeyBatch keys, Span<uint> numbers)
    {
        var missing = 0;
        for (var i = 0; i < keys.Count; i++)
        {
            numbers[i] = FindWaiting(keys[i], keys.Hash(i));
            missing += numbers[i] == 0 ? 1 : 0;
        }

        if (missing == 0)
            return;
        _begin.Run();
        try
        {
            // in the order of the index, so that neighbours share its pages
            foreach (var i in keys.ByHash)
            {
                if (numbers[i] == 0)
                    numbers[i] = FindIndexed(keys[i], keys.Hash(i));
            }
        }
        finally
        {
            _hashes.Reset();
            _end.Run();
        }
    }

    /// <summary>The number under this name among those who wait for the index, or 0.</summary>
    public uint FindWaiting(ReadOnlySpan<byte> name, uint hash)
    {
        _candidates.Clear();
        tail.Find(hash, _candidates);
        return Decide(name);
    }

    public void Dispose()
    {
        foreach (var statement in new[] { _name, _hashes, _begin, _end })
            statement.Dispose();
    }

    private uint FindIndexed(ReadOnlySpan<byte> name, uint hash)
    {
        _candidates.Clear();
        var from = NameIndex.HashId(hash, 0);
        _hashes.Bind(1, from).Bind(2, from | uint.MaxValue);
        while (_hashes.Step())
            _candidates.Add((uint)_hashes.Int64(0));
        return Decide(name);
    }

    private uint Decide(ReadOnlySpan<byte> name)
    {
        foreach (var candidate in _candidates)
        {
            _name.Bind(1, candidate);
            var same = _name.Step() && _name.Blob(0).SequenceEqual(name);
            _name.Reset();
            if (same)
                return candidate;
        }

        return 0;
    }
}
