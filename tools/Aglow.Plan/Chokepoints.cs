namespace Aglow.Plan;

/// <summary>A resource that runs out at some load. The search increases the number of people.</summary>
/// <param name="Resource">What runs out.</param>
/// <param name="Factor">The load as a multiple of the planned people; infinite if it never runs out.</param>
/// <param name="Active">Active users at that load.</param>
/// <param name="Registered">Registered users at that load.</param>
internal sealed record Chokepoint(Resource Resource, double Factor, double Active, double Registered)
{
    private const double MostTimes = 1e6;

    /// <summary>Finds all of them, the first to run out first.</summary>
    public static IReadOnlyList<Chokepoint> Of(Demand demand, Constants measured)
    {
        var now = new Capacity(demand, measured).Resources;
        return [.. now.Select((resource, i) => Find(demand, measured, resource, i)).OrderBy(c => c.Factor)];
    }

    private static Chokepoint Find(Demand demand, Constants measured, Resource resource, int index)
    {
        double low = 1 / MostTimes, high = MostTimes;
        if (Share(high) < 1)
            return new Chokepoint(resource, double.PositiveInfinity, double.PositiveInfinity, double.PositiveInfinity);
        // Shares only grow with people, so bisection finds the only point. Sixty steps exceed the precision of a double.
        for (var i = 0; i < 60; i++)
        {
            var middle = Math.Sqrt(low * high);
            (low, high) = Share(middle) < 1 ? (middle, high) : (low, middle);
        }

        return new Chokepoint(resource, high, demand.Active * high, demand.Registered * high);

        double Share(double factor) => new Capacity(demand.Times(factor), measured).Resources[index].Share.Value;
    }
}
