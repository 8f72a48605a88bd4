using System.Buffers;
using Aglow.Users;

namespace Aglow.Model;

/// <summary>
/// The users of one request: numbers, and for those who came as text, the text, so that an answer can echo it.
/// </summary>
/// <remarks>Filled by one reader, resolved by the <see cref="PresenceService"/>, used, disposed. Arrays are borrowed from the shared pool. Not thread-safe.</remarks>
public sealed class UserBatch : IDisposable
{
    private uint[] _numbers;
    private int[] _textEnds;
    private byte[] _text = [];
    private int _textLength;
    private List<int>? _unresolved;

    /// <summary>An empty batch with room for <paramref name="capacity"/> users; it grows.</summary>
    public UserBatch(int capacity = 16)
    {
        _numbers = ArrayPool<uint>.Shared.Rent(capacity);
        _textEnds = ArrayPool<int>.Shared.Rent(capacity);
    }

    /// <summary>How many users there are.</summary>
    public int Count { get; private set; }

    /// <summary>Their numbers; <see cref="UserId.Nobody"/> for a key that is not (yet) resolved, or that nobody registered.</summary>
    public ReadOnlyMemory<uint> Numbers => _numbers.AsMemory(0, Count);

    /// <summary>The text a user came as; empty where as a number.</summary>
    public ReadOnlySpan<byte> Text(int index)
    {
        var start = index == 0 ? 0 : _textEnds[index - 1];
        return _text.AsSpan(start, _textEnds[index] - start);
    }

    /// <summary>Adds a user who came as a number.</summary>
    public void Add(uint number) => Add(number, default);

    /// <summary>Adds a user who came as text: a number's canonical form, or a key that <paramref name="known"/> may know. False where it can be neither.</summary>
    public bool TryAdd(ReadOnlySpan<byte> text, KeyCache known)
    {
        if (!UserId.TryParseNumber(text, out var number))
        {
            if (!UserId.IsKey(text))
                return false;
            if (!known.TryGet(text, out number))
            {
                number = UserId.Nobody;
                (_unresolved ??= []).Add(Count);
            }
        }

        Add(number, text);
        return true;
    }

    /// <summary>How many keys have no number (yet): nobody registered them, or nobody has looked.</summary>
    public int UnknownCount => _unresolved?.Count(index => _numbers[index] == UserId.Nobody) ?? 0;

    /// <summary>Gives the borrowed arrays back.</summary>
    public void Dispose()
    {
        if (_numbers.Length == 0)
            return;
        ArrayPool<uint>.Shared.Return(_numbers);
        ArrayPool<int>.Shared.Return(_textEnds);
        if (_text.Length > 0)
            ArrayPool<byte>.Shared.Return(_text);
        _numbers = [];
        Count = 0;
    }

    /// <summary>Indexes of keys that the node does not know; null where there are none.</summary>
    internal IReadOnlyList<int>? Unresolved => _unresolved;

    /// <summary>Says whose number a key has turned out to be.</summary>
    internal void Resolve(int index, uint number) => _numbers[index] = number;

    private void Add(uint number, ReadOnlySpan<byte> text)
    {
        Grow(ref _numbers, Count, 1);
        Grow(ref _textEnds, Count, 1);
        if (!text.IsEmpty)
        {
            Grow(ref _text, _textLength, text.Length);
            text.CopyTo(_text.AsSpan(_textLength));
            _textLength += text.Length;
        }

        _numbers[Count] = number;
        _textEnds[Count++] = _textLength;
    }

    private static void Grow<T>(ref T[] array, int used, int more)
    {
        if (used + more <= array.Length)
            return;
        var larger = ArrayPool<T>.Shared.Rent(Math.Max(used + more, array.Length * 2));
        array.AsSpan(0, used).CopyTo(larger);
        if (array.Length > 0)
            ArrayPool<T>.Shared.Return(array);
        array = larger;
    }
}
