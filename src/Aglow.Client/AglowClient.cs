using System.Runtime.CompilerServices;

namespace Aglow.Client;

/// <summary>
/// Presence from .NET: be online, watch who else is, ask for many at once.
/// </summary>
/// <remarks>
/// <code>
/// await using var client = new AglowClient("http://127.0.0.1:8080", "alice");
/// await foreach (var record in client.WatchAsync(["bob", 42]))
///     Console.WriteLine($"{record.User} is {record.Status}");
/// </code>
/// Being connected is being online: there is nothing to send and no timer to keep, since it is the server that pings. <see cref="ConnectAsync"/> or the first
/// <see cref="WatchAsync"/> connects, and the connection is made again whenever it is lost. All watches share it; what they say of one user costs the
/// server one watch. Who only asks, or heartbeats over HTTP (<see cref="RunHeartbeatsAsync"/>), never connects.
/// Refused and failed calls throw <see cref="AglowException"/>; calls over HTTP are not repeated. Threading: any thread.
/// </remarks>
public sealed class AglowClient : IAsyncDisposable
{
    /// <summary>Users that one client may watch, in all its watches.</summary>
    public const int MaxWatches = WatchTable.MaxWatches;

    /// <summary>The definition of "online" that goes for those who name none: a heartbeat within the lease, ended by a goodbye.</summary>
    public const string DefaultDefinition = "chat";

    // what a call takes; longer lists are several calls
    private const int ListedUsers = 10_000;

    private static readonly TimeSpan ActiveInterval = TimeSpan.FromSeconds(30);

    private readonly AglowClientOptions _options;
    private readonly ServerCalls _calls;
    private readonly WatchTable _watches = new();
    private readonly StayConnected _connection;
    private long _activeAt;

    /// <summary>A client of a server.</summary>
    /// <exception cref="ArgumentException">The options contradict each other.</exception>
    public AglowClient(AglowClientOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        _options = options;
        _calls = new ServerCalls(options);
        _connection = new StayConnected(_calls, _watches, options);
    }

    /// <summary>A client of the server at this address, for this user (null: who only asks).</summary>
    /// <exception cref="ArgumentException">The address is none.</exception>
    public AglowClient(string address, UserId? user = null)
        : this(new AglowClientOptions(new Uri(address)) { User = user })
    {
    }

    /// <summary>Raised with each change of <see cref="State"/>, on the connection's own loop: return at once and do not throw.</summary>
    public event Action<ConnectionState>? StateChanged
    {
        add => _connection.StateChanged += value;
        remove => _connection.StateChanged -= value;
    }

    /// <summary>
    /// Raised with what went wrong behind the scenes, and is tried again: a connection that failed or was lost, an error that the server said on the socket, a heartbeat
    /// of <see cref="RunHeartbeatsAsync"/> that did not arrive. For logs: return at once and do not throw.
    /// </summary>
    public event Action<AglowException>? Failed
    {
        add => _connection.Failed += value;
        remove => _connection.Failed -= value;
    }

    /// <summary>What the connection is doing.</summary>
    public ConnectionState State => _connection.State;

    /// <summary>Users that are watched, or still have to be unwatched at the server: for tests of what stays behind.</summary>
    internal int WatchedUsers => _watches.Count;

    /// <summary>
    /// Connects, so that this user is online from here on until <see cref="LeaveAsync"/> or the end of this client. Completes when the server has said welcome; at once
    /// where it has already.
    /// </summary>
    /// <exception cref="AglowException">
    /// The server refused, or was not reached (<see cref="AglowException.IsTransient"/> tells which). After the first welcome there is nothing to catch: it reconnects.
    /// </exception>
    public Task ConnectAsync(CancellationToken cancellationToken = default) => _connection.ConnectAsync(cancellationToken);

    /// <summary>
    /// Watches users: first each as they are, then whoever changes, always the latest. Ends, and with it the watch at the server, when the loop is left or cancelled;
    /// quietly when this client leaves or is disposed.
    /// </summary>
    /// <param name="users">Whom: <see cref="MaxWatches"/> at most in all watches of this client. Who is named twice is watched once.</param>
    /// <param name="definition">What "online" means, by a name that the server's operator declared; null: <see cref="DefaultDefinition"/>.</param>
    /// <param name="cancellationToken">Ends the watch, by an <see cref="OperationCanceledException"/>.</param>
    /// <remarks>
    /// Heals itself: while the connection or the server's store is away, whoever was known is told once as <see cref="PresenceStatus.Unknown"/>, and as they are when it is
    /// back. Connects where <see cref="ConnectAsync"/> was not called, and keeps trying. A loop that reads slowly is told less often, not later: what waits for it is a set of
    /// users, never more than it watches.
    /// </remarks>
    /// <exception cref="AglowException">The server refused this user or has no such definition, or there are too many watches.</exception>
    public IAsyncEnumerable<PresenceRecord> WatchAsync(IEnumerable<UserId> users, string? definition = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(users);
        return WatchCoreAsync([.. users], definition == DefaultDefinition ? null : definition, cancellationToken);
    }

    /// <summary>Says that the person did something, so that they are not away for idleness. Sent at most every 30 s; over HTTP where there is no connection.</summary>
    /// <exception cref="AglowException">There is no connection, and the server refused or was not reached.</exception>
    public async Task ActiveAsync(CancellationToken cancellationToken = default)
    {
        var (before, now) = (Volatile.Read(ref _activeAt), _options.TimeProvider.GetTimestamp());
        if (before != 0 && _options.TimeProvider.GetElapsedTime(before, now) < ActiveInterval)
            return;
        Volatile.Write(ref _activeAt, now);
        if (!_connection.TryActive())
            await HeartbeatAsync(active: true, cancellationToken);
    }

    /// <summary>Chooses what this user is shown as. Saved when this completes. Returns the user as others see them.</summary>
    /// <exception cref="InvalidOperationException">The options name no user.</exception>
    /// <exception cref="AglowException">404: this key was never online nor registered. Others: see <see cref="AglowException.Detail"/>.</exception>
    public async Task<PresenceRecord> SetStatusAsync(ManualStatus status, CancellationToken cancellationToken = default)
    {
        var user = _options.User ?? throw new InvalidOperationException($"Say whose status it is: set {nameof(AglowClientOptions)}.{nameof(AglowClientOptions.User)}.");
        var word = status switch
        {
            ManualStatus.Auto => "auto",
            ManualStatus.Online => "online",
            ManualStatus.Away => "away",
            ManualStatus.Busy => "busy",
            ManualStatus.Offline => "offline",
            _ => throw new ArgumentOutOfRangeException(nameof(status), status, null),
        };
        var record = await _calls.SendAsync(
            HttpMethod.Put,
            $"users/{Uri.EscapeDataString(user.ToString())}/status",
            new ManualStatusBody(word),
            Wire.Default.ManualStatusBody,
            Wire.Default.WireRecord,
            cancellationToken);
        return record.ToRecord();
    }

    /// <summary>
    /// Says goodbye, so that this user is offline at once, and disconnects. Watches end. Connected, it is this device that leaves, and others keep the user online; otherwise
    /// (over HTTP) it is the user, on all devices.
    /// </summary>
    /// <exception cref="AglowException">Nobody could be told: the user is offline when their lease has run out.</exception>
    public async Task LeaveAsync(CancellationToken cancellationToken = default)
    {
        if (!await _connection.LeaveAsync())
            await _calls.SendAsync(HttpMethod.Post, "offline", Me(active: null), Wire.Default.WhoBody, Wire.Default.SuccessDocument, cancellationToken);
    }

    /// <summary>The statuses of users, in their order. Who was never seen is offline. More than 10,000 are asked for in several calls, one after the other.</summary>
    /// <exception cref="AglowException">503: the server's store is away, so nobody knows. Others: see <see cref="AglowException.Detail"/>.</exception>
    public async Task<IReadOnlyList<PresenceRecord>> StatusAsync(
        IEnumerable<UserId> users, string? definition = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(users);
        var path = definition is null ? "status/batch" : $"status/batch?definition={Uri.EscapeDataString(definition)}";
        var records = new List<PresenceRecord>();
        foreach (var some in users.Chunk(ListedUsers))
        {
            var answer = await _calls.SendAsync(
                HttpMethod.Post, path, new WhoBody(null, some, null), Wire.Default.WhoBody, Wire.Default.WireRecordArray, cancellationToken);
            records.AddRange(answer.Select(static r => r.ToRecord()));
        }

        return records;
    }

    /// <summary>The status of one user. Who was never seen is offline.</summary>
    /// <exception cref="AglowException">See <see cref="StatusAsync"/>.</exception>
    public async Task<PresenceRecord> StatusOfAsync(UserId user, string? definition = null, CancellationToken cancellationToken = default) =>
        (await StatusAsync([user], definition, cancellationToken))[0];

    /// <summary>One heartbeat of this user, for those who hold no connection.</summary>
    /// <param name="active">Whether the person did something since the last.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <exception cref="AglowException">429 or 503: try again after <see cref="AglowException.RetryAfter"/>. Others: see <see cref="AglowException.Detail"/>.</exception>
    public async Task<HeartbeatAnswer> HeartbeatAsync(bool active = false, CancellationToken cancellationToken = default) =>
        await HeartbeatAsync(Me(active ? true : null), cancellationToken);

    /// <summary>Heartbeats of users whom the caller speaks for. More than 10,000 are sent in several calls, one after the other; each is taken whole or refused whole.</summary>
    /// <exception cref="AglowException">See <see cref="HeartbeatAsync(bool, CancellationToken)"/>.</exception>
    public async Task<HeartbeatAnswer> HeartbeatAsync(IEnumerable<UserId> users, bool active = false, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(users);
        HeartbeatAnswer? answer = null;
        foreach (var some in users.Chunk(ListedUsers))
            answer = await HeartbeatAsync(new WhoBody(null, some, active ? true : null), cancellationToken);
        return answer ?? throw new ArgumentException("There is nobody in the list: name one user at least.", nameof(users));
    }

    /// <summary>
    /// Heartbeats over HTTP until cancelled, for those who hold no connection: as often as the server says, with jitter; after 429 and 503 as it says, and while it is not reached
    /// with waits that grow up to that interval.
    /// </summary>
    /// <param name="isActive">Asked before each: whether the person did something since the last.</param>
    /// <param name="cancellationToken">Ends it, by an <see cref="OperationCanceledException"/>. The user stays online until the lease runs out, or <see cref="LeaveAsync"/>.</param>
    /// <exception cref="AglowException">The server refused, and would again.</exception>
    public async Task RunHeartbeatsAsync(Func<bool>? isActive = null, CancellationToken cancellationToken = default)
    {
        var most = _options.RetryWithin;
        var failures = 0;
        while (true)
        {
            TimeSpan wait;
            try
            {
                var answer = await HeartbeatAsync(isActive?.Invoke() ?? false, cancellationToken);
                wait = Jitter.Heartbeat(answer.NextIn, _options.Random);
                most = answer.NextIn;
                failures = 0;
            }
            catch (AglowException failure) when (failure.IsTransient)
            {
                _connection.Complain(failure);
                wait = (failure.RetryAfter ?? TimeSpan.Zero) + Jitter.Retry(failures++, _options.FirstRetryWithin, most, _options.Random);
            }

            await Task.Delay(wait, _options.TimeProvider, cancellationToken);
        }
    }

    /// <summary>Disconnects without a goodbye: the user stays online until the lease runs out. Watches end.</summary>
    public async ValueTask DisposeAsync()
    {
        await _connection.DisposeAsync();
        _calls.Dispose();
    }

    private async IAsyncEnumerable<PresenceRecord> WatchCoreAsync(
        HashSet<UserId> users, string? definition, [EnumeratorCancellation] CancellationToken cancellationToken)
    {
        var watch = _watches.Add(users, definition);
        try
        {
            _connection.Start();
            while (true)
            {
                cancellationToken.ThrowIfCancellationRequested();
                if (watch.TryTake(out var record))
                    yield return record;
                else if (watch.IsEnded)
                    yield break;
                else
                    await watch.WaitAsync(cancellationToken);
            }
        }
        finally
        {
            _watches.Remove(watch);
        }
    }

    // Without a user it is whoever the token says: then there is nothing in the body to contradict it.
    private WhoBody? Me(bool? active) => _options.User is { } user ? new WhoBody(user, null, active) : null;

    private async Task<HeartbeatAnswer> HeartbeatAsync(WhoBody? who, CancellationToken cancellationToken)
    {
        var answer = await _calls.SendAsync(HttpMethod.Post, "heartbeat", who, Wire.Default.WhoBody, Wire.Default.HeartbeatDocument, cancellationToken);
        return new HeartbeatAnswer(TimeSpan.FromSeconds(answer.NextHeartbeatSeconds), TimeSpan.FromSeconds(answer.OfflineAfterSeconds));
    }
}
