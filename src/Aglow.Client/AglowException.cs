using System.Net.WebSockets;

namespace Aglow.Client;

/// <summary>A call that the server refused, or that did not reach it. The message holds the title and the detail.</summary>
public sealed class AglowException : Exception
{
    // the server's problem types begin with this (docs/protocol.md)
    private const string TypePrefix = "urn:aglow:";

    internal AglowException(int status, string title, string detail, TimeSpan? retryAfter = null, Exception? inner = null)
        : base($"{title}: {detail}", inner)
    {
        Status = status;
        Title = title;
        Detail = detail;
        RetryAfter = retryAfter;
    }

    /// <summary>The HTTP status, also for errors on the socket; 0 if there was no answer.</summary>
    public int Status { get; }

    /// <summary>What is wrong, in a few words.</summary>
    public string Title { get; }

    /// <summary>What to do instead.</summary>
    public string Detail { get; }

    /// <summary>For 429 and 503: how long to wait before trying again, if the server says so.</summary>
    public TimeSpan? RetryAfter { get; }

    /// <summary>The <c>type</c> of the server's problem document (RFC 9457); null if the answer was not the server's own.</summary>
    public string? Type { get; internal init; }

    /// <summary>
    /// Whether the same call may succeed later. False only if the server itself refused: a 401 or 404 from a restarting gateway says
    /// nothing about this user.
    /// </summary>
    public bool IsTransient => Status >= 500 || Status is 0 or 408 or 429 || Type is null;

    /// <summary>
    /// Whether another address of the same server may answer otherwise: this one did not answer, a gateway did, or the server has a failure
    /// of its own. Other answers of the server hold for all of its addresses.
    /// </summary>
    internal bool MayDifferElsewhere => Type is null || Status >= 500;

    internal static AglowException NotConnected(string why, Exception? failure = null) => new(0, "Not connected", why, inner: failure);

    internal static AglowException NotConnected(Uri address, Exception failure)
    {
        var where = address.GetLeftPart(UriPartial.Path);
        return failure is WebSocketException { WebSocketErrorCode: WebSocketError.ConnectionClosedPrematurely }
            ? NotConnected($"{where} broke off the connection. Connecting again.", failure)
            : NotConnected(
                $"{where} was not reached ({failure.Message.TrimEnd('.')}). Check the address, and that the server runs.", failure);
    }

    /// <summary>A refusal on a socket, by a close code or by an error about one message.</summary>
    internal static AglowException Refused(int status, string title, string detail) =>
        new(status, title, detail) { Type = TypePrefix + "socket" };

    internal static string? OwnType(string? type) => type?.StartsWith(TypePrefix, StringComparison.Ordinal) == true ? type : null;
}
