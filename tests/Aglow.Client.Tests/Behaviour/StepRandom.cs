namespace Aglow.Client.Tests.Behaviour;

/// <summary>Draws the same number each time.</summary>
internal sealed class StepRandom(double value) : Random
{
    public override double NextDouble() => value;
}
