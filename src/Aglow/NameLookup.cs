using Microsoft.Data.Sqlite;

namespace Aglow;

/// <summary>
/// Name to number: in the names that wait (<see cref="NameTail"/>), then in <see cref="NameIndex"/>, and what either finds is
/// compared with the user's row. One thread at a time.
/// </summary>
/// <remarks>
/// The order matters: a name leaves the tail after it is in the index, so looking there first misses none. Both may still know
/// a user who is deleted or rolled back; the row decides.
/// </remarks>
internal sealed class NameLookup(SqliteConnection users, SqliteConnection names, NameTail tail) : IDisposable
{
    private readonly SqliteStatement _name = new(users, "SELECT name FROM user WHERE number = ?1");
    private readonly SqliteStatement _hashes = new(names, "SELECT id FROM hash WHERE id BETWEEN ?1 AND ?2");
    private readonly List<uint> _candidates = [];

    /// <summary>The number under this name, or 0.</summary>
    public uint Find(ReadOnlySpan<byte> name, uint hash)
    {
        var number = FindWaiting(name, hash);
        if (number != 0)
            return number;
        _candidates.Clear();
        var from = NameIndex.HashId(hash, 0);
        _hashes.Bind(1, from).Bind(2, from | uint.MaxValue);
        while (_hashes.Step())
            _candidates.Add((uint)_hashes.Int64(0));
        return Decide(name);
    }

    /// <summary>As <see cref="Find"/>, but only among those who wait for the index.</summary>
    public uint FindWaiting(ReadOnlySpan<byte> name, uint hash)
    {
        _candidates.Clear();
        tail.Find(hash, _candidates);
        return Decide(name);
    }

    public void Dispose()
    {
        _name.Dispose();
        _hashes.Dispose();
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
