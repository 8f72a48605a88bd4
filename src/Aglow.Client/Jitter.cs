namespace Aglow.Client;

/// <summary>Computes random waits, for retries and for heartbeats. The random number generator is an argument.</summary>
internal static class Jitter
{
    /// <summary>
    /// The wait before try <paramref name="attempt"/> (from 0). "Full jitter": uniform between 0 and a limit that doubles from
    /// <paramref name="first"/> up to <paramref name="most"/>.
    /// </summary>
    /// <remarks>
    /// A hundred thousand clients that lost a server together must not reconnect together. A draw from the whole range needs the fewest
    /// calls until all clients are connected again (M. Brooker, "Exponential Backoff And Jitter", 2015).
    /// </remarks>
    public static TimeSpan Retry(int attempt, TimeSpan first, TimeSpan most, Random random)
    {
        var ceiling = Math.Min(most.TotalMilliseconds, first.TotalMilliseconds * Math.Pow(2, Math.Min(attempt, 60)));
        return TimeSpan.FromMilliseconds(random.NextDouble() * ceiling);
    }

    /// <summary>
    /// The wait before the next heartbeat: up to a tenth less than the server's interval, never more. Clients that started together drift
    /// apart, and no lease expires early.
    /// </summary>
    public static TimeSpan Heartbeat(TimeSpan interval, Random random) => interval * (1 - (random.NextDouble() / 10));
}
