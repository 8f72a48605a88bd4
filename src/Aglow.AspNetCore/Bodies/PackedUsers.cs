namespace Aglow.AspNetCore.Bodies;

/// <summary>All packed numbers of a body, in a borrowed array that the answer may overwrite.</summary>
internal sealed class PackedUsers(int capacity) : IDisposable
{
    private uint[] _numbers = CallMemory.Shared.Rent<uint>(Math.Max(capacity, 1));
    private int _count;

    public Memory<uint> Numbers => _numbers.AsMemory(0, _count);

    public void Add(ReadOnlySpan<uint> more)
    {
        if (_count + more.Length > _numbers.Length)
            CallMemory.Shared.Grow(ref _numbers, _count, _count + more.Length);
        more.CopyTo(_numbers.AsSpan(_count));
        _count += more.Length;
    }

    public void Dispose()
    {
        if (_numbers.Length > 0)
            CallMemory.Shared.Return(_numbers);
        _numbers = [];
        _count = 0;
    }
}
