using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.InteropServices;

namespace Aglow.Users;

/// <summary>
/// Caches the indexes of IDs, from UTF-8 text to index. Every call for a user whose ID is not its own index reads it first.
/// </summary>
/// <remarks>
/// A lookup takes no lock and allocates nothing. Writes take a lock; they are rare (an ID's first heartbeat on this node). An entry never
/// becomes wrong, because an index belongs to its ID forever. There is no object for each ID:
/// <code>
/// slots    hash (32) | place + 1 (32)     8 bytes each, open addressing, at most 4 of 5 used
/// arena    number (4) length (1) key      in chunks of 1 MiB, append-only
/// </code>
/// So a UUID of 36 characters costs 41 bytes, and 10 to 20 for its slot; in a dictionary of strings it takes some 140. An entry is written
/// before its slot, and a slot is one 8-byte store, so a reader sees a whole entry or none.
/// <para>
/// Capacity: there are two generations, each with half of the capacity. When the young one is full, it becomes the old one, and the entries
/// of the old one are dropped: nobody looked them up for a whole generation. A lookup that finds an ID in the old generation copies it into
/// the young one, if the lock is free. A dropped ID that comes again is looked up in the directory. Rejected: an exact order of use,
/// because every lookup would be a write.
/// </para>
/// </remarks>
public sealed class KeyCache
{
    private readonly Lock _writing = new();
    private Generations _generations = new(new Generation(), new Generation());

    /// <summary>A cache of at most <paramref name="capacity"/> keys.</summary>
    public KeyCache(int capacity)
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(capacity, 2);
        Capacity = capacity;
    }

    /// <summary>The most keys it holds.</summary>
    public int Capacity { get; }

    /// <summary>The keys it holds; one that is in both generations counts twice.</summary>
    public int Count
    {
        get
        {
            var generations = Volatile.Read(ref _generations);
            return generations.Young.Count + generations.Old.Count;
        }
    }

    /// <summary>The memory it holds, in bytes.</summary>
    public long Bytes
    {
        get
        {
            var generations = Volatile.Read(ref _generations);
            return generations.Young.Bytes + generations.Old.Bytes;
        }
    }

    /// <summary>The index of an ID, if this node knows it.</summary>
    public bool TryGet(ReadOnlySpan<byte> key, out uint number)
    {
        var hash = Hash(key);
        var generations = Volatile.Read(ref _generations);
        if (generations.Young.TryGet(key, hash, out number))
            return true;
        if (!generations.Old.TryGet(key, hash, out number))
            return false;
        KeepYoung(key, hash);
        return true;
    }

    /// <summary>Remembers a key.</summary>
    internal void Add(ReadOnlySpan<byte> key, uint number)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(key.Length, UserId.MaxKeyBytes);
        lock (_writing)
            AddYoung(key, Hash(key), number);
    }

    // The hash of strings has a random key in each process, so nobody can choose IDs that collide.
    private static uint Hash(ReadOnlySpan<byte> key)
    {
        var hash = (uint)string.GetHashCode(MemoryMarshal.Cast<byte, char>(key), StringComparison.Ordinal);
        // an odd byte at the end is not part of a character
        return key.Length % 2 == 0 ? hash : hash ^ (key[^1] * 0x9E37_79B1);
    }

    private void KeepYoung(ReadOnlySpan<byte> key, uint hash)
    {
        if (!_writing.TryEnter())
            return;
        try
        {
            // looks again under the lock, because the entry may have been dropped meanwhile
            if (_generations.Old.TryGet(key, hash, out var number))
                AddYoung(key, hash, number);
        }
        finally
        {
            _writing.Exit();
        }
    }

    private void AddYoung(ReadOnlySpan<byte> key, uint hash, uint number)
    {
        // the young generation hides entries of the old one, so a changed index takes effect at once
        if (_generations.Young.TryGet(key, hash, out var known) && known == number)
            return;
        if (_generations.Young.Count >= Capacity / 2 || _generations.Young.IsFull)
            Volatile.Write(ref _generations, new Generations(new Generation(), _generations.Young));
        _generations.Young.Put(key, hash, number);
    }

    private sealed record Generations(Generation Young, Generation Old);

    /// <summary>One table. Any thread reads; writes hold the cache's lock.</summary>
    private sealed class Generation
    {
        private const int ChunkShift = 20;
        private const int ChunkBytes = 1 << ChunkShift;
        private const int HeadBytes = 5;
        private const int SmallestTableBits = 4;

        private ulong[] _slots = new ulong[1 << SmallestTableBits];
        private byte[][] _chunks = [];
        private long _end;
        private int _used;

        /// <summary>How many IDs were added.</summary>
        public int Count { get; private set; }

        /// <summary>Whether the place of the longest key might not fit into a slot's 32 bits.</summary>
        public bool IsFull => _end > uint.MaxValue - (2L * ChunkBytes);

        public long Bytes => ((long)_slots.Length * sizeof(ulong)) + ((long)_chunks.Length * ChunkBytes);

        public bool TryGet(ReadOnlySpan<byte> key, uint hash, out uint number)
        {
            var found = Find(Volatile.Read(ref _slots), key, hash, out _);
            number = found.IsEmpty ? 0 : BinaryPrimitives.ReadUInt32LittleEndian(found);
            return !found.IsEmpty;
        }

        public void Put(ReadOnlySpan<byte> key, uint hash, uint number)
        {
            if (_used + 1 > _slots.Length / 5 * 4)
                Grow();
            var place = Append(key, number);
            var isNew = Find(_slots, key, hash, out var slot).IsEmpty;
            Volatile.Write(ref _slots[slot], ((ulong)hash << 32) | (place + 1));
            Count++;
            if (isNew)
                _used++;
        }

        /// <summary>The entry and its slot; or no entry, and the empty slot for it.</summary>
        private ReadOnlySpan<byte> Find(ulong[] slots, ReadOnlySpan<byte> key, uint hash, out int slot)
        {
            for (slot = Home(slots, hash); ; slot = (slot + 1) & (slots.Length - 1))
            {
                var content = Volatile.Read(ref slots[slot]);
                var place = (uint)content;
                if (place == 0)
                    return default;
                if ((uint)(content >> 32) != hash)
                    continue;
                place--;
                var entry = Volatile.Read(ref _chunks)[place >> ChunkShift].AsSpan((int)(place & (ChunkBytes - 1)));
                if (entry[4] == key.Length && entry.Slice(HeadBytes, key.Length).SequenceEqual(key))
                    return entry;
            }
        }

        /// <summary>The first slot for a hash: its highest bits. A larger table takes more of them, so growing computes no hash.</summary>
        private static int Home(ulong[] slots, uint hash) => (int)(hash >> (32 - BitOperations.TrailingZeroCount(slots.Length)));

        private uint Append(ReadOnlySpan<byte> key, uint number)
        {
            var length = HeadBytes + key.Length;
            if ((_end & (ChunkBytes - 1)) + length > ChunkBytes || _end == (long)_chunks.Length << ChunkShift)
            {
                _end = (long)_chunks.Length << ChunkShift;
                Volatile.Write(ref _chunks, [.. _chunks, GC.AllocateUninitializedArray<byte>(ChunkBytes)]);
            }

            var place = (uint)_end;
            var entry = _chunks[place >> ChunkShift].AsSpan((int)(place & (ChunkBytes - 1)), length);
            BinaryPrimitives.WriteUInt32LittleEndian(entry, number);
            entry[4] = (byte)key.Length;
            key.CopyTo(entry[HeadBytes..]);
            _end += length;
            return place;
        }

        private void Grow()
        {
            var slots = new ulong[_slots.Length * 2];
            _used = 0;
            foreach (var content in _slots)
            {
                if ((uint)content == 0)
                    continue;
                var slot = Home(slots, (uint)(content >> 32));
                while (slots[slot] != 0)
                    slot = (slot + 1) & (slots.Length - 1);
                slots[slot] = content;
                _used++;
            }

            Volatile.Write(ref _slots, slots);
        }
    }
}
