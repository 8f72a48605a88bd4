
namespace Aglow.Watching;

/// <summary>A table of things by small numbers; a number is used again after its thing was removed. Owned by one loop.</summary>
internal sealed class Slots<T>
    where T : class
{
    private readonly Stack<int> _free = new();
    private T?[] _items = [];
    private int _used;

    /// <summary>How many there are.</summary>
    public int Count => _used - _free.Count;

    /// <summary>All numbers ever in use are below this.</summary>
    public int Capacity => _used;

    /// <summary>The things, in no order that means anything.</summary>
    public IEnumerable<T> All => _items.Take(_used).OfType<T>();

    /// <summary>The thing with this number, or null.</summary>
    public T? this[int id] => _items[id];

    /// <summary>Gives a thing a number.</summary>
    public int Add(T item)
    {
        if (!_free.TryPop(out var id))
        {
            id = _used++;
            if (id == _items.Length)
                Array.Resize(ref _items, Math.Max(16, id + (id / 2)));
        }

        _items[id] = item;
        return id;
    }

    /// <summary>Takes a thing out; its number is free.</summary>
    public void Remove(int id)
    {
        _items[id] = null;
        _free.Push(id);
    }
}
