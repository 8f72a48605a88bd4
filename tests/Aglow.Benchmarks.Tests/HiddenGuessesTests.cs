using Aglow.Benchmarks.Door;

namespace Aglow.Benchmarks.Tests;

/// <summary>The guesses of the benchmark: what tells two kinds of users apart is found, and chance is not taken for it.</summary>
public class HiddenGuessesTests
{
    [Theory]
    [InlineData(50, 99, 100)]
    [InlineData(-50, 99, 100)]
    [InlineData(20, 60, 90)]
    [InlineData(0, 40, 60)]
    public void Times_that_differ_are_told_apart_and_others_are_not(double slowerBy, double atLeast, double atMost)
    {
        var dice = new Random(1);
        var times = Enumerable.Range(0, 2_000).Select(_ =>
        {
            var isBack = dice.Next(2) == 0;
            return (100 + (40 * dice.NextDouble()) + (isBack ? slowerBy : 0), isBack);
        }).ToArray();
        HiddenGuesses.PercentRight(times).ShouldBeInRange(atLeast, atMost);
    }
}
