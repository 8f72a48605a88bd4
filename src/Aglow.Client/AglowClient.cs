using System.Runtime.CompilerServices;

namespace Aglow.Client;

/// <summary>A client for presence: keeps this user online, watches other users, and reads the statuses of many users at once.</summary>
/// <remarks>
/// <code>
/// await using var client = new AglowClient("http://127.0.0.1:8080", "alice");
/// await foreach (var record in client.WatchAsync(["bob", 42]))
///     Console.WriteLine($"{record.User} is {record.Status}");
/// </code>
/// A user is online while this client is connected. The server pings, so the application needs no timer and sends nothing.
/// <see cref="ConnectAsync"/> or the first <see cref="WatchAsync"/> connects, and the client reconnects after each loss. All watches share
/// the connection. Several watches of one user cost the server one watch. A client that only reads statuses, or sends heartbeats over HTTP
/// (<see cref="RunHeartbeatsAsync"/>), never connects. Refused and failed calls throw <see cref="AglowException"/>. Calls over HTTP are not
/// retried. Threading: any thread.
/// </remarks>
public sealed class AglowClient : IAsyncDisposable
{
    /// <summary>Users that one client may watch, in all its watches.</summary>
    public const int MaxWatches = WatchTable.MaxWatches;

    /// <summary>The definition of "online" for callers that name none: a heartbeat within the lease, and no leave since.</summary>
    public const string DefaultDefinition = "chat";

    // the server's limit for one call; a longer list is split into several calls
    private const int ListedUsers = 10_000;

    private static readonly TimeSpan ActiveInterval = TimeSpan.FromSeconds(30);
    private static readonly TimeSpan LeaveTimeout = TimeSpan.FromSeconds(10);

    private const long Never = long.MinValue;

    private readonly AglowClientOptions _options;
    private readonly ServerCalls _calls;
    private readonly WatchTable _watches = new();
    private readonly Commands _commands;
    private readonly StayConnected _connection;
    private long _activeAt = Never;

    /// <summary>Creates a client with these options.</summary>
    /// <exception cref="ArgumentException">The options contradict each other.</exception>
    public AglowClient(AglowClientOptions options)
    {
        ArgumentNullException.ThrowIfNull(options);
        options.Check();
        _options = options;
        var tokens = new TokenSource(options);
        _calls = new ServerCalls(options, tokens);
        _commands = new Commands(options.TimeProvider, _watches.Work);
        _connection = new StayConnected(_calls, _watches, _commands, tokens, options);
    }

    /// <summary>Creates a client for the server at this address and this user (null for a client that only reads statuses).</summary>
    /// <exception cref="ArgumentException">The address is not valid.</exception>
    public AglowClient(string address, UserId? user = null)
        : this(new AglowClientOptions(new Uri(address)) { User = user })
    {
    }

    /// <summary>
    /// Raised with each change of <see cref="State"/>, on the connection's own loop. Handlers must return at once and not throw.
    /// </summary>
    public event Action<ConnectionState>? StateChanged
    {
        add => _connection.StateChanged += value;
        remove => _connection.StateChanged -= value;
    }

    /// <summary>
    /// Raised with a failure in the background: a failed connection, a refusal, an error message on the socket, or a heartbeat of
    /// <see cref="RunHeartbeatsAsync"/> that did not arrive. For logs: handlers must return at once and not throw.
    /// </summary>
    /// <remarks>
    /// The same message is raised once until the client is connected again. A lost connection only changes <see cref="State"/>.
    /// </remarks>
    public event Action<AglowException>? Failed
    {
        add => _connection.Failed += value;
        remove => _connection.Failed -= value;
    }

    /// <summary>The state of the connection.</summary>
    public ConnectionState State => _connection.State;

    /// <summary>Why <see cref="State"/> is <see cref="ConnectionState.Refused"/>; null otherwise.</summary>
    public AglowException? Refusal => _connection.Refusal;

    /// <summary>Users that are watched, or that the server must still unwatch. Tests check with it that nothing stays behind.</summary>
    internal int WatchedUsers => _watches.Count;

    /// <summary>
    /// Connects. This user is online until <see cref="LeaveAsync"/> or the disposal of this client. Completes when the server has sent its
    /// welcome, or at once if it already has.
    /// </summary>
    /// <exception cref="AglowException">
    /// The server refused, or the current try failed (<see cref="AglowException.IsTransient"/> tells which). After a transient failure the
    /// client keeps trying until <see cref="LeaveAsync"/> or its disposal. After a refusal it waits for <see cref="RefreshAsync"/>.
    /// </exception>
    public Task ConnectAsync(CancellationToken cancellationToken = default) => _connection.ConnectAsync(cancellationToken);

    /// <summary>
    /// Tries again now, with a new token. Call it after a refusal, when the person has signed in again, or to end a wait between two tries.
    /// An open connection stays open with the new token. Returns at once.
    /// </summary>
    public Task RefreshAsync()
    {
        _connection.Refresh();
        return Task.CompletedTask;
    }

    /// <summary>
    /// Call this when the application runs again after it was suspended, or when the network is back. Without a connection, the client
    /// connects at once. With one, it finds out within two seconds whether the connection still works. Calls may be as frequent as you
    /// like.
    /// </summary>
    public void Resume() => _connection.Resume();

    /// <summary>
    /// Watches users: returns the current record of each, then each change, always the latest. Leaving or cancelling the loop ends the
    /// watch, also at the server. The loop ends without an error when this client leaves or is disposed.
    /// </summary>
    /// <param name="users">The users: at most <see cref="MaxWatches"/> in all watches of this client. A user who is listed twice is watched
    /// once.</param>
    /// <param name="definition">The name of a definition of "online" that the server's operator declared. Null:
    /// <see cref="DefaultDefinition"/>.</param>
    /// <param name="cancellationToken">Ends the watch with an <see cref="OperationCanceledException"/>.</param>
    /// <remarks>
    /// The watch recovers by itself. When the connection or the server's store is lost, each known user is returned once as
    /// <see cref="PresenceStatus.Unknown"/>. When it is back, each is returned with the current status. Connects if
    /// <see cref="ConnectAsync"/> was not called, and keeps trying. A slow loop gets fewer records, not older ones: a set of users waits
    /// for it, never more than it watches.
    /// </remarks>
    /// <exception cref="AglowException">The server has no such definition, or there are too many watches. If the server refuses this
    /// client, nothing is thrown and all users become unknown; see <see cref="State"/>.</exception>
    public IAsyncEnumerable<PresenceRecord> WatchAsync(
        IEnumerable<UserId> users, string? definition = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(users);
        return WatchCoreAsync([.. users], definition == DefaultDefinition ? null : definition, cancellationToken);
    }

    /// <summary>
    /// Reports activity of the person, so that they do not become away. Sent at most every 30 s, and again if a connection is lost before
    /// the server has confirmed it. A client that does not connect sends it over HTTP.
    /// </summary>
    /// <exception cref="AglowException">There is no connection, and the server refused the call or did not answer.</exception>
    public async Task ActiveAsync(CancellationToken cancellationToken = default)
    {
        var (before, now) = (Volatile.Read(ref _activeAt), _options.TimeProvider.GetTimestamp());
        if (before != Never && _options.TimeProvider.GetElapsedTime(before, now) < ActiveInterval)
            return;
        Volatile.Write(ref _activeAt, now);
        if (_connection.IsRunning)
        {
            _commands.Active();
            return;
        }

        try
        {
            await HeartbeatAsync(active: true, cancellationToken);
        }
        catch
        {
            // nothing was reported, so the next call must send
            Interlocked.CompareExchange(ref _activeAt, before, now);
            throw;
        }
    }

    /// <summary>
    /// Chooses the status that this user shows. Completes when the server has saved it, or when a newer status was chosen. If the
    /// connection is lost before the server has answered, the client sends the status again on the next connection. A client that does not
    /// connect sends it over HTTP.
    /// </summary>
    /// <exception cref="InvalidOperationException">This client does not connect, and the options name no user.</exception>
    /// <exception cref="AglowException">The server refused, or this client was closed before the server answered.</exception>
    public Task<StatusOutcome> SetStatusAsync(ManualStatus status, CancellationToken cancellationToken = default) =>
        SetStatusAsync(status, null, cancellationToken);

    /// <summary>Chooses a status with a text, an emoji or an end, or as the claim of another source.</summary>
    public async Task<StatusOutcome> SetStatusAsync(
        ManualStatus status, StatusDetails? details, CancellationToken cancellationToken = default)
    {
        var word = status switch
        {
            ManualStatus.Auto => "auto",
            ManualStatus.Online => "online",
            ManualStatus.Away => "away",
            ManualStatus.Busy => "busy",
            ManualStatus.Offline => "offline",
            _ => throw new ArgumentOutOfRangeException(nameof(status), status, null),
        };
        var body = StatusBody.Of(word, details);
        if (_connection.Refusal is { } refusal)
            throw refusal;
        if (_connection.IsRunning)
            return await _commands.SetAsync(body).WaitAsync(cancellationToken);
        var user = _options.User ?? throw new InvalidOperationException(
            $"Say whose status it is: set {nameof(AglowClientOptions)}.{nameof(AglowClientOptions.User)}.");
        await _calls.SendAsync(
            HttpMethod.Put,
            $"users/-/status?user={Uri.EscapeDataString(user.ToString())}",
            body,
            Wire.Default.StatusBody,
            Wire.Default.WireRecord,
            cancellationToken);
        return StatusOutcome.Saved;
    }

    /// <summary>
    /// Sends a leave for this device, and disconnects. Watches end. The user is offline unless they are online on another device. If the
    /// socket does not deliver the leave within a second, an HTTP call does; it names the device too. After the client was disposed, the
    /// lease expires.
    /// </summary>
    public async Task<LeaveOutcome> LeaveAsync(CancellationToken cancellationToken = default)
    {
        if (await _connection.LeaveAsync())
            return LeaveOutcome.Left;
        using var limit = new CancellationTokenSource(LeaveTimeout, _options.TimeProvider);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            var who = new WhoBody(_options.User, null, null, WireDevice.Of(_options.Device));
            await _calls.SendAsync(HttpMethod.Post, "offline", who, Wire.Default.WhoBody, Wire.Default.SuccessDocument, both.Token);
            return LeaveOutcome.Left;
        }
        catch (Exception failure) when (
            failure is AglowException or ObjectDisposedException
            || (failure is OperationCanceledException && limit.IsCancellationRequested))
        {
            return LeaveOutcome.LeaseExpires;
        }
    }

    /// <summary>
    /// Gets the statuses of users, in their order. A user who was never seen is offline. More than 10,000 users are split into several
    /// calls, one after the other.
    /// </summary>
    /// <exception cref="AglowException">503: the server cannot read its store, so all statuses are unknown. Others: see
    /// <see cref="AglowException.Detail"/>.</exception>
    public async Task<IReadOnlyList<PresenceRecord>> StatusAsync(
        IEnumerable<UserId> users, string? definition = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(users);
        var path = definition is null ? "status/batch" : $"status/batch?definition={Uri.EscapeDataString(definition)}";
        var records = new List<PresenceRecord>();
        foreach (var some in users.Chunk(ListedUsers))
        {
            var answer = await _calls.SendAsync(
                HttpMethod.Post, path, new WhoBody(null, some, null), Wire.Default.WhoBody, Wire.Default.WireRecordArray,
                cancellationToken);
            records.AddRange(answer.Select(static r => r.ToRecord()));
        }

        return records;
    }

    /// <summary>Gets the status of one user. A user who was never seen is offline.</summary>
    /// <exception cref="AglowException">See <see cref="StatusAsync"/>.</exception>
    public async Task<PresenceRecord> StatusOfAsync(
        UserId user, string? definition = null, CancellationToken cancellationToken = default) =>
        (await StatusAsync([user], definition, cancellationToken))[0];

    /// <summary>Sends one heartbeat of this user, for clients without a connection.</summary>
    /// <param name="active">Whether the person did something since the last heartbeat.</param>
    /// <param name="cancellationToken">Cancels the call.</param>
    /// <exception cref="AglowException">429 or 503: try again after <see cref="AglowException.RetryAfter"/>. Others: see
    /// <see cref="AglowException.Detail"/>.</exception>
    public async Task<HeartbeatAnswer> HeartbeatAsync(bool active = false, CancellationToken cancellationToken = default) =>
        await HeartbeatAsync(
            new WhoBody(_options.User, null, active ? true : null, WireDevice.Of(_options.Device)), cancellationToken);

    /// <summary>
    /// Sends heartbeats of users whom the caller speaks for. More than 10,000 users are split into several calls, one after the other; the
    /// server accepts or refuses each call as a whole.
    /// </summary>
    /// <exception cref="AglowException">See <see cref="HeartbeatAsync(bool, CancellationToken)"/>.</exception>
    public async Task<HeartbeatAnswer> HeartbeatAsync(
        IEnumerable<UserId> users, bool active = false, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(users);
        HeartbeatAnswer? answer = null;
        foreach (var some in users.Chunk(ListedUsers))
            answer = await HeartbeatAsync(new WhoBody(null, some, active ? true : null), cancellationToken);
        return answer ?? throw new ArgumentException("There is nobody in the list: name one user at least.", nameof(users));
    }

    /// <summary>
    /// Sends heartbeats over HTTP until cancelled, for clients without a connection. The server sets the interval, to which the client adds
    /// jitter. After 429 and 503 it waits as long as the server says. While the server cannot be reached, waits grow up to the interval.
    /// </summary>
    /// <param name="isActive">Called before each heartbeat: whether the person did something since the last one.</param>
    /// <param name="cancellationToken">Ends the loop with an <see cref="OperationCanceledException"/>. The user stays online until the
    /// lease expires, or until <see cref="LeaveAsync"/>.</param>
    /// <exception cref="AglowException">The server refused, and would refuse again.</exception>
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
                _connection.Recovered();
                failures = 0;
            }
            catch (AglowException failure) when (failure.IsTransient)
            {
                _connection.Report(failure);
                wait = (failure.RetryAfter ?? TimeSpan.Zero) + Jitter.Retry(failures++, _options.FirstRetryWithin, most, _options.Random);
            }

            await Task.Delay(wait, _options.TimeProvider, cancellationToken);
        }
    }

    /// <summary>Disconnects without a leave: the user stays online until the lease expires. Watches end.</summary>
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
            await _connection.StartAsync(watch, cancellationToken);
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

    private async Task<HeartbeatAnswer> HeartbeatAsync(WhoBody who, CancellationToken cancellationToken)
    {
        var answer = await _calls.SendAsync(
            HttpMethod.Post, "heartbeat", who, Wire.Default.WhoBody, Wire.Default.HeartbeatDocument, cancellationToken);
        return new HeartbeatAnswer(TimeSpan.FromSeconds(answer.NextHeartbeatSeconds), TimeSpan.FromSeconds(answer.OfflineAfterSeconds));
    }
}
