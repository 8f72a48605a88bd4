using System.Buffers;
using System.Buffers.Text;

namespace Aglow.Users;

/// <summary>
/// The users of one request. Holds their indexes. Answers repeat IDs as they came, so it also holds the text of IDs that came as text or
/// are not their own index.
/// </summary>
/// <remarks>
/// One reader fills it, the <see cref="PresenceService"/> resolves it, and the caller disposes it. Arrays are borrowed from the shared
/// pool. Not thread-safe.
/// </remarks>
public sealed class UserBatch : IDisposable
{
    private uint[] _numbers;
    // the highest bit is set if the ID came as a JSON integer
    private uint[] _textEnds;
    private byte[] _text = [];
    private int _textLength;
    private List<int>? _unresolved;

    private const uint CameAsInteger = 1u << 31;

    /// <summary>An empty batch with room for <paramref name="capacity"/> users; it grows.</summary>
    public UserBatch(int capacity = 16)
    {
        _numbers = ArrayPool<uint>.Shared.Rent(capacity);
        _textEnds = ArrayPool<uint>.Shared.Rent(capacity);
    }

    /// <summary>How many users there are.</summary>
    public int Count { get; private set; }

    /// <summary>Their indexes; <see cref="UserId.Nobody"/> for an ID that is not resolved, or has none.</summary>
    public ReadOnlyMemory<uint> Numbers => _numbers.AsMemory(0, Count);

    /// <summary>The ID as text; empty if it came as an integer below 2^31.</summary>
    public ReadOnlySpan<byte> Text(int index) => _text.AsSpan(End(index - 1)..End(index));

    /// <summary>Whether the ID came as a JSON integer from 2^31 up.</summary>
    public bool IsLargeNumber(int index) => (_textEnds[index] & CameAsInteger) != 0;

    /// <summary>In which form the ID came.</summary>
    public UserForm Form(int index)
    {
        var text = Text(index);
        if (text.IsEmpty)
            return UserForm.Number;
        if (IsLargeNumber(index))
            return UserForm.LargeNumber;
        return UserId.TryParseNumber(text, out _) ? UserForm.Digits : UserForm.Key;
    }

    /// <summary>Adds a user by an ID below 2^31 that came as an integer.</summary>
    public void Add(uint number) => Add(number, default, isInteger: false);

    /// <summary>Adds a user by an ID that came as an integer from 0 up. Looks up its index in <paramref name="known"/>.</summary>
    public void Add(long integer, KeyCache known)
    {
        if (integer < UserId.FirstDirectoryNumber)
        {
            Add((uint)integer);
            return;
        }

        Span<byte> digits = stackalloc byte[20];
        Utf8Formatter.TryFormat(integer, digits, out var length);
        AddText(digits[..length], known, isInteger: true);
    }

    /// <summary>
    /// Adds a user by an ID that came as text. Looks up its index in <paramref name="known"/>. False if the text cannot be an ID.
    /// </summary>
    public bool TryAdd(ReadOnlySpan<byte> text, KeyCache known)
    {
        if (UserId.TryParseNumber(text, out var number))
        {
            Add(number, text, isInteger: false);
            return true;
        }

        if (!UserId.IsKey(text))
            return false;
        AddText(text, known, isInteger: false);
        return true;
    }

    /// <summary>How many IDs have no index: they are not registered, or not resolved yet.</summary>
    public int UnknownCount => _unresolved?.Count(index => _numbers[index] == UserId.Nobody) ?? 0;

    /// <summary>Returns the borrowed arrays.</summary>
    public void Dispose()
    {
        if (_numbers.Length == 0)
            return;
        ArrayPool<uint>.Shared.Return(_numbers);
        ArrayPool<uint>.Shared.Return(_textEnds);
        if (_text.Length > 0)
            ArrayPool<byte>.Shared.Return(_text);
        _numbers = [];
        Count = 0;
    }

    /// <summary>Positions of the IDs that this node does not know; null if there are none.</summary>
    internal IReadOnlyList<int>? Unresolved => _unresolved;

    internal void Resolve(int index, uint number) => _numbers[index] = number;

    private int End(int index) => index < 0 ? 0 : (int)(_textEnds[index] & ~CameAsInteger);

    private void AddText(ReadOnlySpan<byte> text, KeyCache known, bool isInteger)
    {
        if (!known.TryGet(text, out var index))
        {
            index = UserId.Nobody;
            (_unresolved ??= []).Add(Count);
        }

        Add(index, text, isInteger);
    }

    private void Add(uint number, ReadOnlySpan<byte> text, bool isInteger)
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
        _textEnds[Count++] = (uint)_textLength | (isInteger ? CameAsInteger : 0);
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
