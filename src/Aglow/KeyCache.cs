using System.Collections.Concurrent;
using System.Text;

namespace Aglow;

/// <summary>The keys known to this node.</summary>
public sealed class KeyCache
{
    private readonly ConcurrentDictionary<string, uint> _numbers = new(StringComparer.Ordinal);

    /// <summary>A cache of at most <paramref name="capacity"/> keys.</summary>
    public KeyCache(int capacity) => Capacity = capacity;

    /// <summary>The most keys it holds.</summary>
    public int Capacity { get; }

    /// <summary>The number of a key, if this node knows it.</summary>
    public bool TryGet(ReadOnlySpan<byte> key, out uint number) => _numbers.TryGetValue(Encoding.UTF8.GetString(key), out number);

    /// <summary>Remembers a key.</summary>
    public void Add(ReadOnlySpan<byte> key, uint number) => _numbers[Encoding.UTF8.GetString(key)] = number;

    /// <summary>Forgets a key.</summary>
    public void Remove(ReadOnlySpan<byte> key) => _numbers.TryRemove(Encoding.UTF8.GetString(key), out _);
}
