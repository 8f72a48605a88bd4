namespace Aglow.Changes;

/// <summary>The feed as a sequence; see <see cref="IPresenceEvents"/>.</summary>
public sealed class PresenceEvents : IPresenceEvents
{
    private const int PageSize = 256;
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(1);

    private readonly Func<IChangeFeed> _feed;

    /// <summary>Creates a sequence over a feed. The feed is requested when an enumeration begins.</summary>
    public PresenceEvents(Func<IChangeFeed> feed) => _feed = feed;

    /// <inheritdoc/>
    public async IAsyncEnumerator<PresenceChange> GetAsyncEnumerator(CancellationToken cancellationToken = default)
    {
        var feed = _feed();
        var page = await feed.ReadAsync(IChangeFeed.Latest, PageSize, cancellationToken);
        while (true)
        {
            await feed.WaitAsync(page.Next, cancellationToken);
            page = await ReadAsync(feed, page.Next, TimeProvider.System, cancellationToken);
            if (page.IsGap)
                throw new InvalidOperationException(
                    "The enumeration fell behind by more changes than the feed keeps: enumerate again, and read again who is online.");
            foreach (var change in page.Changes)
                yield return change;
        }
    }

    /// <summary>Reads a page. While the store is away, this waits: the changes follow when it is back.</summary>
    internal static async ValueTask<ChangePage> ReadAsync(IChangeFeed feed, string? after, TimeProvider time, CancellationToken cancel)
    {
        while (true)
        {
            try
            {
                return await feed.ReadAsync(after, PageSize, cancel);
            }
            catch (StoreUnavailableException)
            {
                await Task.Delay(RetryAfter, time, cancel);
            }
        }
    }
}
