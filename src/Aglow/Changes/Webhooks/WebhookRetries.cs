namespace Aglow.Changes.Webhooks;

/// <summary>Decides how long a failed request waits for the next attempt. No clock and no I/O.</summary>
/// <remarks>
/// The wait is a share of the time for which the receiver has been failing. With doubled waits, a receiver that was down for two minutes
/// would get no request for up to two more minutes.
/// </remarks>
internal static class WebhookRetries
{
    /// <summary>The wait is this part of the time for which the receiver has been failing.</summary>
    public const double Share = 1.0 / 6;

    /// <summary>The shortest wait, before jitter.</summary>
    public static readonly TimeSpan Shortest = TimeSpan.FromSeconds(1);

    public static readonly TimeSpan Longest = TimeSpan.FromMinutes(10);

    /// <summary>The wait after an attempt that failed at <paramref name="now"/>.</summary>
    /// <param name="now">The present second.</param>
    /// <param name="failingSince">The second of the first failure in a row.</param>
    /// <param name="requested">
    /// The wait that the receiver asks for; null: it asks for none. It replaces the rule's wait if it is longer.
    /// </param>
    /// <param name="luck">A random number from 0 to 1: the wait is between half of the rule's wait and all of it.</param>
    public static TimeSpan WaitAt(long now, long failingSince, TimeSpan? requested, double luck)
    {
        var wait = Bounded(TimeSpan.FromSeconds(now - failingSince) * Share) * (0.5 + (luck / 2));
        return requested is { } least && least > wait ? Bounded(least) : wait;
    }

    private static TimeSpan Bounded(TimeSpan time) => time < Shortest ? Shortest : time < Longest ? time : Longest;
}
