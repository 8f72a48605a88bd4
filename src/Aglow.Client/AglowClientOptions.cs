using System.Net.WebSockets;

namespace Aglow.Client;

/// <summary>
/// Where the server is, and who calls. Only <see cref="Address"/> is required. Immutable; each value is checked as it is set, their relations by the client's constructor.
/// </summary>
public sealed record AglowClientOptions
{
    /// <summary>Options for a server at this address.</summary>
    /// <exception cref="ArgumentException">See <see cref="Address"/>.</exception>
    public AglowClientOptions(Uri address) => Address = address;

    /// <summary>The server's address, with the path prefix where it has one: <c>https://presence.example/</c>.</summary>
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

    /// <summary>Who calls, if the server is in open mode. Null: the user of <see cref="AccessToken"/>, or of the HTTP client's own headers.</summary>
    public UserId? User { get; init; }

    /// <summary>
    /// Who calls, with proof: asked for a token before calls and connections and before a token ends, at most once a second, and sent as <c>Authorization: Bearer</c>. It has 10 s each time.
    /// </summary>
    public Func<CancellationToken, ValueTask<string>>? AccessToken { get; init; }

    /// <summary>A token that never changes, in place of <see cref="AccessToken"/>.</summary>
    public string? Token { get; init; }

    /// <summary>This device. Null: one of this client's own, so an application that is started again is another device.</summary>
    public ClientDevice Device { get; init; } = new(Guid.NewGuid().ToString("N"), DeviceKind.Other);

    /// <summary>Other addresses of the same server, each tried in its turn when a try fails.</summary>
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

    /// <summary>Sends all calls, the socket's handshake included, so that its handlers and headers apply to both. Stays its owner's. Null: the client makes one.</summary>
    public HttpClient? HttpClient { get; init; }

    /// <summary>
    /// Opens a WebSocket to a ws:// or wss:// address with a token (null where none is used), in place of the built-in one over <see cref="HttpClient"/>. Presenting the token is then its affair.
    /// </summary>
    public Func<Uri, string?, CancellationToken, ValueTask<WebSocket>>? ConnectSocket { get; init; }

    /// <summary>The first wait before connecting again is anywhere between nothing and this; the ceiling doubles with each try. 1 s.</summary>
    public TimeSpan FirstRetryWithin { get; init => field = Positive(value); } = TimeSpan.FromSeconds(1);

    /// <summary>The highest ceiling of waits. 30 s: at most as long as a lease, after which all are shown offline anyway.</summary>
    public TimeSpan RetryWithin { get; init => field = Positive(value); } = TimeSpan.FromSeconds(30);

    /// <summary>How long connecting may take, from the first packet to the server's welcome. 10 s.</summary>
    public TimeSpan ConnectTimeout { get; init => field = Positive(value); } = TimeSpan.FromSeconds(10);

    /// <summary>After how long without a word the connection counts as dead. Null: two and a half of the server's ticks, 25 s where it ticks every 10.</summary>
    public TimeSpan? SilenceLimit { get; init => field = value is { } limit ? Positive(limit) : null; }

    /// <summary>The clock and timers.</summary>
    public TimeProvider TimeProvider { get; init; } = TimeProvider.System;

    /// <summary>The dice of jitter. Used by one thread at a time.</summary>
    public Random Random { get; init; } = Random.Shared;

    // where the client's loops run; tests run them one step at a time
    internal TaskScheduler Scheduler { get; init; } = TaskScheduler.Default;

    internal void Check()
    {
        if (Token is not null && AccessToken is not null)
            throw new ArgumentException($"Set {nameof(Token)} or {nameof(AccessToken)}, not both.");
        if (RetryWithin < FirstRetryWithin)
            throw new ArgumentException($"{nameof(RetryWithin)} ({RetryWithin}) is shorter than {nameof(FirstRetryWithin)} ({FirstRetryWithin}): set it at least as long.");
    }

    private static Uri Checked(Uri value, string name)
    {
        if (!value.IsAbsoluteUri || value.Scheme is not ("http" or "https") || (value.Query + value.Fragment + value.UserInfo).Length > 0)
            throw new ArgumentException($"\"{value}\" is not a server's address: set http://HOST:PORT or https://HOST, with a path at most.", name);
        // relative paths are appended to what ends with a slash
        return value.AbsolutePath.EndsWith('/') ? value : new Uri(value.AbsoluteUri + "/");
    }

    private static TimeSpan Positive(TimeSpan value) => value > TimeSpan.Zero && value < TimeSpan.FromDays(1)
        ? value
        : throw new ArgumentOutOfRangeException(nameof(value), value, "Set a time longer than nothing and shorter than a day.");
}
