namespace Aglow.Client;

/// <summary>
/// A call that the server refused, or that did not reach it. The message has the title, and the detail that says what to do instead.
/// </summary>
public sealed class AglowException : Exception
{
    internal AglowException(int status, string title, string detail, TimeSpan? retryAfter = null, Exception? inner = null)
        : base($"{title}: {detail}", inner)
    {
        Status = status;
        Title = title;
        Detail = detail;
        RetryAfter = retryAfter;
    }

    /// <summary>The HTTP status; 0 where there was no answer, or where the server said it on the socket.</summary>
    public int Status { get; }

    /// <summary>What is wrong, in a few words.</summary>
    public string Title { get; }

    /// <summary>What to do instead.</summary>
    public string Detail { get; }

    /// <summary>For 429 and 503: how long to wait before trying again, where the server says so.</summary>
    public TimeSpan? RetryAfter { get; }

    /// <summary>Whether the same may work later: the server was not reached, is busy, or has its store away. False: it would be refused again.</summary>
    public bool IsTransient => Status is 0 or 408 or 425 or 429 or 500 or 502 or 503 or 504;

    internal static AglowException NotReached(Uri address, Exception failure) =>
        new(0, "Not reached", $"{address.GetLeftPart(UriPartial.Path)} did not answer ({failure.Message.TrimEnd('.')}). Check the address, and that the server runs.", inner: failure);
}
