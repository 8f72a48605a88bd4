using System.Buffers;

namespace Aglow.AspNetCore.Http;

/// <summary>
/// Builds an answer in a borrowed array that grows. The length of the answer is then known before it is sent, and an error can still
/// replace it.
/// </summary>
/// <remarks>For one request; one thread at a time. The array comes from <see cref="CallMemory"/>, which limits the memory of all.</remarks>
internal sealed class AnswerBuffer(int capacity = 1024) : IBufferWriter<byte>, IDisposable
{
    private byte[] _bytes = CallMemory.Shared.Rent<byte>(capacity);
    private int _length;

    public ReadOnlyMemory<byte> Written => _bytes.AsMemory(0, _length);

    /// <summary>Makes room for so many more bytes, so that the array grows only once.</summary>
    public void Reserve(int more)
    {
        if (_length + more <= _bytes.Length)
            return;
        CallMemory.Shared.Grow(ref _bytes, _length, _length + more);
    }

    public void Advance(int count) => _length += count;

    public Memory<byte> GetMemory(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _bytes.AsMemory(_length);
    }

    public Span<byte> GetSpan(int sizeHint = 0)
    {
        Reserve(Math.Max(sizeHint, 1));
        return _bytes.AsSpan(_length);
    }

    public void Add(byte one)
    {
        Reserve(1);
        _bytes[_length++] = one;
    }

    public void Add(ReadOnlySpan<byte> bytes)
    {
        Reserve(bytes.Length);
        bytes.CopyTo(_bytes.AsSpan(_length));
        _length += bytes.Length;
    }

    public void RemoveFirst(int count)
    {
        _bytes.AsSpan(count, _length - count).CopyTo(_bytes);
        _length -= count;
    }

    public void Dispose()
    {
        if (_bytes.Length > 0)
            CallMemory.Shared.Return(_bytes);
        _bytes = [];
        _length = 0;
    }
}
