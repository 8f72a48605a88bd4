using System.Net.WebSockets;

namespace Aglow.Client;

/// <summary>
/// The server's address and the caller. Only <see cref="Address"/> is required. Immutable. Each value is checked when it is set; the
/// client's constructor checks their relations.
/// </summary>
public sealed record AglowClientOptions
{
    /// <summary>Options for a server at this address.</summary>
    /// <exception cref="ArgumentException">See <see cref="Address"/>.</exception>
    public AglowClientOptions(Uri address) => Address = address;

    /// <summary>The server's address, with its path prefix if it has one: <c>https://presence.example/</c>.</summary>
    /// <exception cref="ArgumentException">It is not an absolute http or https URL, or has a query, a fragment or a password.</exception>
    public Uri Address
    {
        get;
        init
        {
            ArgumentNullException.ThrowIfNull(value);
            field = Checked(value, nameof(value));
        }
    }

    /// <summary>
    /// The user that calls, if the server is in open mode. Null: the user of <see cref="AccessToken"/>, or of the HTTP client's own
    /// headers.
    /// </summary>
    public UserId? User { get; init; }

    /// <summary>
    /// Returns the caller's token, which is sent as <c>Authorization: Bearer</c>. The client calls it before calls and connections, and
    /// before a token ends, but at most once a second. Each call has 10 s.
    /// </summary>
    public Func<CancellationToken, ValueTask<string>>? AccessToken { get; init; }

    /// <summary>A token that never changes, instead of <see cref="AccessToken"/>.</summary>
    public string? Token { get; init; }

    /// <summary>This device. Null: the client creates an ID, so a restarted application is another device.</summary>
    public ClientDevice Device { get; init; } = new(Guid.NewGuid().ToString("N"), DeviceKind.Other);

    /// <summary>
    /// Other addresses of the same server, if no balancer is in front of its nodes. The client begins with <see cref="Address"/>. It goes
    /// on to the next one when one does not answer, has a failure of its own (5xx), or asks the client to reconnect.
    /// </summary>
    /// <exception cref="ArgumentException">See <see cref="Address"/>.</exception>
    public IReadOnlyList<Uri> OtherAddresses
    {
        get;
        init
        {
            ArgumentNullException.ThrowIfNull(value);
            field = [.. value.Select(static one => Checked(one, nameof(OtherAddresses)))];
        }
    } = [];

    /// <summary>
    /// Sends all calls and the socket's handshake, so its handlers and headers apply to both. Its owner disposes it. Null: the client
    /// creates one.
    /// </summary>
    public HttpClient? HttpClient { get; init; }

    /// <summary>
    /// Opens a WebSocket to a ws:// or wss:// address with a token (null if there is none). It replaces the built-in one over
    /// <see cref="HttpClient"/>, and must present the token itself.
    /// </summary>
    public Func<Uri, string?, CancellationToken, ValueTask<WebSocket>>? ConnectSocket { get; init; }

    /// <summary>The limit of the first random wait before a reconnect. Default: 1 s. The limit doubles with each try.</summary>
    public TimeSpan FirstRetryWithin { get; init => field = Positive(value); } = TimeSpan.FromSeconds(1);

    /// <summary>
    /// The limit of any wait before a reconnect. Default: 30 s, one lease. After that, all users on this server are offline anyway.
    /// </summary>
    public TimeSpan RetryWithin { get; init => field = Positive(value); } = TimeSpan.FromSeconds(30);

    /// <summary>The timeout of connecting, from the first packet to the server's welcome. Default: 10 s.</summary>
    public TimeSpan ConnectTimeout { get; init => field = Positive(value); } = TimeSpan.FromSeconds(10);

    /// <summary>
    /// The connection counts as lost after this time without a message. Null: two and a half of the server's ticks, 25 s for ticks of 10 s.
    /// </summary>
    public TimeSpan? SilenceLimit { get; init => field = value is { } limit ? Positive(limit) : null; }

    /// <summary>The clock and timers.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>The random numbers for jitter. Used by one thread at a time.</summary>
    public Random Random { get; init; } = Random.Shared;

    // where the client's loops run; tests run them one step at a time
    internal TaskScheduler Scheduler { get; init; } = TaskScheduler.Default;

    internal void Check()
    {
        if (Token is not null && AccessToken is not null)
            throw new ArgumentException($"Set {nameof(Token)} or {nameof(AccessToken)}, not both.");
        if (RetryWithin < FirstRetryWithin)
            throw new ArgumentException(
                $"{nameof(RetryWithin)} ({RetryWithin}) is shorter than {nameof(FirstRetryWithin)} ({FirstRetryWithin}): set it at "
                    + "least as long.");
    }

    private static Uri Checked(Uri value, string name)
    {
        if (!value.IsAbsoluteUri || value.Scheme is not ("http" or "https") || (value.Query + value.Fragment + value.UserInfo).Length > 0)
            throw new ArgumentException(
                $"\"{value}\" is not a server's address: set http://HOST:PORT or https://HOST, with a path at most.", name);
        // relative paths are appended to a base that ends with a slash
        return value.AbsolutePath.EndsWith('/') ? value : new Uri(value.AbsoluteUri + "/");
    }

    private static TimeSpan Positive(TimeSpan value) => value > TimeSpan.Zero && value < TimeSpan.FromDays(1)
        ? value
        : throw new ArgumentOutOfRangeException(nameof(value), value, "Set a time longer than zero and shorter than a day.");
}
