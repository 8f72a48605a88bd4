using System.Collections.Concurrent;

namespace Aglow.AspNetCore.Http;

/// <summary>Counts what each owner has open. An entry exists while its owner has something.</summary>
/// <remarks>Threading: any thread; no lock.</remarks>
internal sealed class Counts<TOwner>
    where TOwner : notnull
{
    private readonly ConcurrentDictionary<TOwner, int> _counts = new();

    /// <summary>Whether nobody has anything.</summary>
    public bool IsEmpty => _counts.IsEmpty;

    /// <summary>Whether this owner has something.</summary>
    public bool Has(TOwner owner) => _counts.ContainsKey(owner);

    /// <summary>Counts one more. False: the owner already has <paramref name="most"/>.</summary>
    public bool TryEnter(TOwner owner, int most)
    {
        while (true)
        {
            var count = _counts.GetValueOrDefault(owner);
            if (count >= most)
                return false;
            if (count == 0 ? _counts.TryAdd(owner, 1) : _counts.TryUpdate(owner, count + 1, count))
                return true;
        }
    }

    /// <summary>Counts one less; returns whether it was the owner's last.</summary>
    public bool Exit(TOwner owner)
    {
        while (_counts.TryGetValue(owner, out var count))
        {
            if (count > 1 ? _counts.TryUpdate(owner, count - 1, count) : _counts.TryRemove(new(owner, count)))
                return count == 1;
        }

        return true;
    }
}
