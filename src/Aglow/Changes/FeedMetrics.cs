namespace Aglow.Changes;

/// <summary>The metrics that every feed has.</summary>
internal static class FeedMetrics
{
    public static void Add(AglowMetrics metrics, Func<long> recorded, Func<double> kept, Func<double> bytes, Func<long> gaps)
    {
        metrics.Count("aglow.feed.recorded", "Changes recorded in the feed since it began.", recorded);
        metrics.Gauge("aglow.feed.kept", "Changes that the feed keeps.", kept);
        metrics.Gauge("aglow.feed.bytes", "What the changes that the feed keeps take.", bytes);
        metrics.Count("aglow.feed.gaps", "Reads of the feed from a cursor whose changes are no longer kept.", gaps);
    }
}
