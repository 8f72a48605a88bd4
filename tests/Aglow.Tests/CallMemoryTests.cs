using Aglow.AspNetCore;
using Aglow.AspNetCore.Http;

namespace Aglow.Tests;

public sealed class CallMemoryTests
{
    private const int Large = 2 * CallMemory.Small;

    private readonly CallMemory _memory = new(most: 3 * Large);

    [Fact]
    public void What_would_be_more_than_there_may_be_is_refused_until_something_is_given_back()
    {
        var taken = Enumerable.Range(0, 3).Select(_ => _memory.Rent<byte>(Large)).ToArray();
        _memory.Taken.ShouldBe(3 * Large);
        var refused = Should.Throw<ProblemException>(() => _memory.Rent<byte>(Large));
        (refused.Status, refused.RetryAfter).ShouldBe((503, 1));
        _memory.Taken.ShouldBe(3 * Large);
        _memory.Return(taken[0]);
        _memory.Return(_memory.Rent<uint>(Large / sizeof(uint)));
        _memory.Taken.ShouldBe(2 * Large);
    }

    [Fact]
    public void Small_ones_are_never_refused_nor_counted()
    {
        for (var i = 0; i < 3; i++)
            _memory.Rent<byte>(Large);
        _memory.Return(_memory.Rent<byte>(CallMemory.Small));
        _memory.Rent<uint>(1).Length.ShouldBeGreaterThanOrEqualTo(1);
        _memory.Taken.ShouldBe(3 * Large);
    }

    [Fact]
    public void One_that_grows_takes_along_what_is_in_it_and_is_counted_once()
    {
        var array = _memory.Rent<byte>(16);
        array[7] = 42;
        _memory.Grow(ref array, used: 8, atLeast: Large);
        array[7].ShouldBe((byte)42);
        _memory.Taken.ShouldBe(array.Length);
        // if there is no room for a larger array, the array stays the same
        var before = array;
        Should.Throw<ProblemException>(() => _memory.Grow(ref array, used: 8, atLeast: 3 * Large));
        array.ShouldBeSameAs(before);
        _memory.Return(array);
        _memory.Taken.ShouldBe(0);
    }
}
