namespace Aglow.Benchmarks;

/// <summary>One line of the table: a figure, its spread, and what it is to reach.</summary>
/// <param name="Name">What was measured.</param>
/// <param name="Unit">Of the value.</param>
/// <param name="Value">The median of <paramref name="Samples"/> and its interval.</param>
/// <param name="Goal">What is to be reached; null where the figure only informs.</param>
/// <param name="Samples">All of them, in the order they were taken.</param>
internal sealed record Figure(string Name, string Unit, Spread Value, Goal? Goal, IReadOnlyList<double> Samples)
{
    /// <summary>A figure from samples.</summary>
    public static Figure Of(string name, string unit, IReadOnlyList<double> samples, Goal? goal = null) =>
        new(name, unit, Spread.Of(samples), goal, samples);

    /// <summary>Whether the goal is reached, judged by the less favourable bound of the interval. Null without a goal.</summary>
    public bool? Reached => Goal?.IsReachedBy(Value);
}

/// <summary>What a figure is to reach.</summary>
internal sealed record Goal(bool AtLeast, double Bound)
{
    public static Goal Least(double bound) => new(true, bound);

    public static Goal Most(double bound) => new(false, bound);

    /// <summary>A claim "at least 5" holds when the lower bound clears 5.</summary>
    public bool IsReachedBy(Spread value) => AtLeast ? value.Low >= Bound : value.High <= Bound;
}
