namespace Aglow.Client;

/// <summary>When to try again, and when to send a heartbeat: rules that get the random number as an argument.</summary>
internal static class Jitter
{
    /// <summary>
    /// The wait before try <paramref name="attempt"/> (from 0): "full jitter", evenly between 0 and a bound that doubles from
    /// <paramref name="first"/> up to <paramref name="most"/>.
    /// </summary>
    /// <remarks>
    /// A hundred thousand clients who lost a server together must not come back together. Drawing from the whole span needs the fewest
    /// calls until all are back (M. Brooker, "Exponential Backoff And Jitter", 2015).
    /// </remarks>
    public static TimeSpan Retry(int attempt, TimeSpan first, TimeSpan most, Random random)
    {
        var ceiling = Math.Min(most.TotalMilliseconds, first.TotalMilliseconds * Math.Pow(2, Math.Min(attempt, 60)));
        return TimeSpan.FromMilliseconds(random.NextDouble() * ceiling);
    }

    /// <summary>
    /// The wait before the next heartbeat: up to a tenth less than the server asked for, never more. So clients that began together drift
    /// apart, and no lease runs short.
    /// </summary>
    public static TimeSpan Heartbeat(TimeSpan interval, Random random) => interval * (1 - (random.NextDouble() / 10));
}
