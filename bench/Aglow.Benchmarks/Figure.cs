namespace Aglow.Benchmarks;

/// <summary>One line of the table: a figure, its interval and its goal.</summary>
/// <param name="Name">What was measured.</param>
/// <param name="Unit">The unit of the value.</param>
/// <param name="Value">The median of <paramref name="Samples"/> and its interval.</param>
/// <param name="Goal">The goal; null if the figure only informs.</param>
/// <param name="Samples">All samples, in the order in which they were taken.</param>
internal sealed record Figure(string Name, string Unit, Spread Value, Goal? Goal, IReadOnlyList<double> Samples)
{
    /// <summary>Computes a figure from samples.</summary>
    public static Figure Of(string name, string unit, IReadOnlyList<double> samples, Goal? goal = null) =>
        new(name, unit, Spread.Of(samples), goal, samples);

    /// <summary>Whether the goal is reached, by the less favourable bound of the interval. Null without a goal.</summary>
    public bool? Reached => Goal?.IsReachedBy(Value);
}

/// <summary>The goal of a figure.</summary>
internal sealed record Goal(bool AtLeast, double Bound)
{
    public static Goal Least(double bound) => new(true, bound);

    public static Goal Most(double bound) => new(false, bound);

    /// <summary>The goal "at least 5" is reached if the lower bound is at least 5.</summary>
    public bool IsReachedBy(Spread value) => AtLeast ? value.Low >= Bound : value.High <= Bound;
}
