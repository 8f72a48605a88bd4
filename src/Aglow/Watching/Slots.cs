namespace Aglow.Watching;

/// <summary>A table of items by small numbers. Numbers of removed items are reused. One loop owns it.</summary>
internal sealed class Slots<T>
    where T : class
{
    private readonly Stack<int> _free = new();
    private T?[] _items = [];
    private int _used;

    public int Count => _used - _free.Count;

    /// <summary>All numbers are below this.</summary>
    public int Capacity => _used;

    public IEnumerable<T> All => _items.Take(_used).OfType<T>();

    public T? this[int id] => _items[id];

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

    public void Remove(int id)
    {
        _items[id] = null;
        _free.Push(id);
    }
}
