using System.Text;

namespace Aglow.Users;

/// <summary>Keys in UTF-8, with their hashes, and the order of these. Reused from batch to batch; one thread at a time.</summary>
internal sealed class KeyBatch(NameIndex names)
{
    private byte[] _utf8 = new byte[1024];
    private int[] _ends = [];
    private uint[] _hashes = [];
    private long[] _order = [];
    private int[] _byHash = [];
    private bool[] _sharesHash = [];

    public int Count { get; private set; }

    /// <summary>The places of the keys, in the order of their hashes as <see cref="NameIndex"/> sorts them.</summary>
    public ReadOnlySpan<int> ByHash => _byHash.AsSpan(0, Count);

    /// <summary>A key's UTF-8.</summary>
    public ReadOnlySpan<byte> this[int place] => _utf8.AsSpan((place == 0 ? 0 : _ends[place - 1]).._ends[place]);

    /// <summary>A key's hash.</summary>
    public uint Hash(int place) => _hashes[place];

    /// <summary>Whether another key of the batch has the same hash, as the same key named twice does.</summary>
    public bool SharesHash(int place) => _sharesHash[place];

    /// <summary>Puts these keys in, in place of the last ones.</summary>
    public void Fill(IReadOnlyList<string> keys)
    {
        Count = keys.Count;
        if (_ends.Length < Count)
        {
            _ends = new int[Count];
            _hashes = new uint[Count];
            _order = new long[Count];
            _byHash = new int[Count];
            _sharesHash = new bool[Count];
        }

        var end = 0;
        for (var i = 0; i < Count; i++)
        {
            var most = Encoding.UTF8.GetMaxByteCount(keys[i].Length);
            if (_utf8.Length - end < most)
                Array.Resize(ref _utf8, Math.Max(_utf8.Length * 2, end + most));
            end += Encoding.UTF8.GetBytes(keys[i], _utf8.AsSpan(end));
            _ends[i] = end;
            _hashes[i] = names.Hash(this[i]);
            _order[i] = NameIndex.HashId(_hashes[i], (uint)i);
        }

        var order = _order.AsSpan(0, Count);
        order.Sort();
        for (var i = 0; i < Count; i++)
        {
            var place = (int)(uint)order[i];
            _byHash[i] = place;
            _sharesHash[place] = i > 0 && _hashes[_byHash[i - 1]] == _hashes[place];
            if (_sharesHash[place])
                _sharesHash[_byHash[i - 1]] = true;
        }
    }
}
