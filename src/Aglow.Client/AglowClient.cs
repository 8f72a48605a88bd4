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
/// Being connected is being online: there is nothing to send and no timer to keep, since it is the server that pings.
/// <see cref="ConnectAsync"/> or the first <see cref="WatchAsync"/> connects, and the connection is made again whenever it is lost. All
/// watches share it; what they say of one user costs the server one watch. Who only asks, or heartbeats over HTTP
/// (<see cref="RunHeartbeatsAsync"/>), never connects. Refused and failed calls throw <see cref="AglowException"/>; calls over HTTP are not
/// repeated. Threading: any thread.
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
    private static readonly TimeSpan LeaveTimeout = TimeSpan.FromSeconds(10);

    private const long Never = long.MinValue;

    private readonly AglowClientOptions _options;
    private readonly ServerCalls _calls;
    private readonly WatchTable _watches = new();
    private readonly Commands _commands;
    private readonly StayConnected _connection;
    private long _activeAt = Never;

    /// <summary>A client of a server.</summary>
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
    /// Raised with what went wrong behind the scenes: a connection that was not made, a refusal, an error that the server said on the
    /// socket, a heartbeat of <see cref="RunHeartbeatsAsync"/> that did not arrive. The same words are said once until there is a
    /// connection again. A connection that was lost shows in <see cref="State"/> only. For logs: return at once and do not throw.
    /// </summary>
    public event Action<AglowException>? Failed
    {
        add => _connection.Failed += value;
        remove => _connection.Failed -= value;
    }

    /// <summary>What the connection is doing.</summary>
    public ConnectionState State => _connection.State;

    /// <summary>Why <see cref="State"/> is <see cref="ConnectionState.Refused"/>; null otherwise.</summary>
    public AglowException? Refusal => _connection.Refusal;

    /// <summary>Users that are watched, or still have to be unwatched at the server: for tests of what stays behind.</summary>
    internal int WatchedUsers => _watches.Count;

    /// <summary>
    /// Connects, so that this user is online from here on until <see cref="LeaveAsync"/> or the end of this client. Completes when the
    /// server has said welcome; at once where it has already.
    /// </summary>
    /// <exception cref="AglowException">
    /// The server refused, or the try that was under way failed (<see cref="AglowException.IsTransient"/> tells which). After a failure
    /// that is transient the client goes on trying until <see cref="LeaveAsync"/> or its end; after a refusal it waits for
    /// <see cref="RefreshAsync"/>.
    /// </exception>
    public Task ConnectAsync(CancellationToken cancellationToken = default) => _connection.ConnectAsync(cancellationToken);

    /// <summary>
    /// Tries again now, with a new token: after a refusal, when the person has signed in again; between two tries; or on an open
    /// connection, which then goes on with the new token. Returns at once.
    /// </summary>
    public Task RefreshAsync()
    {
        _connection.Refresh();
        return Task.CompletedTask;
    }

    /// <summary>
    /// Says that the application runs again after it was suspended, or that the network is back: connects at once where there is no
    /// connection, and finds out within two seconds whether one that there is still lives. May be called as often as you like.
    /// </summary>
    public void Resume() => _connection.Resume();

    /// <summary>
    /// Watches users: first each as they are, then whoever changes, always the latest. Ends, and with it the watch at the server, when the
    /// loop is left or cancelled; quietly when this client leaves or is disposed.
    /// </summary>
    /// <param name="users">Whom: <see cref="MaxWatches"/> at most in all watches of this client. Who is named twice is watched
    /// once.</param>
    /// <param name="definition">What "online" means, by a name that the server's operator declared; null:
    /// <see cref="DefaultDefinition"/>.</param>
    /// <param name="cancellationToken">Ends the watch, by an <see cref="OperationCanceledException"/>.</param>
    /// <remarks>
    /// Heals itself: while the connection or the server's store is away, whoever was known is told once as
    /// <see cref="PresenceStatus.Unknown"/>, and as they are when it is back. Connects where <see cref="ConnectAsync"/> was not called, and
    /// keeps trying. A loop that reads slowly is told less often, not later: what waits for it is a set of users, never more than it
    /// watches.
    /// </remarks>
    /// <exception cref="AglowException">The server has no such definition, or there are too many watches. A user whom the server refuses is
    /// told that everybody is unknown; see <see cref="State"/>.</exception>
    public IAsyncEnumerable<PresenceRecord> WatchAsync(
        IEnumerable<UserId> users, string? definition = null, CancellationToken cancellationToken = default)
    {
        ArgumentNullException.ThrowIfNull(users);
        return WatchCoreAsync([.. users], definition == DefaultDefinition ? null : definition, cancellationToken);
    }

    /// <summary>
    /// Says that the person did something, so that they are not away for idleness. Sent at most every 30 s, and again where a connection
    /// was lost before the server had confirmed it; over HTTP where this client does not connect.
    /// </summary>
    /// <exception cref="AglowException">There is no connection, and the server refused or was not reached.</exception>
    public async Task ActiveAsync(CancellationToken cancellationToken = default)
    {
        var (before, now) = (Volatile.Read(ref _activeAt), _options.TimeProvider.GetTimestamp());
        if (before != Never && _options.TimeProvider.GetElapsedTime(before, now) < ActiveInterval)
            return;
        Volatile.Write(ref _activeAt, now);
        if (_connection.IsRunning)
            _commands.Active();
        else
            await HeartbeatAsync(active: true, cancellationToken);
    }

    /// <summary>
    /// Chooses what this user is shown as. Completes when the server has saved it, or a newer one was chosen. Where a connection is lost
    /// before the server has answered, it is sent again on the next one. Over HTTP where this client does not connect.
    /// </summary>
    /// <exception cref="InvalidOperationException">This client does not connect, and the options name no user.</exception>
    /// <exception cref="AglowException">The server refused, or this client was closed before the server had answered.</exception>
    public Task<StatusOutcome> SetStatusAsync(ManualStatus status, CancellationToken cancellationToken = default) =>
        SetStatusAsync(status, null, cancellationToken);

    /// <summary>The same with a text, an emoji, an end, or as the claim of another source.</summary>
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
            $"users/{Uri.EscapeDataString(user.ToString())}/status",
            body,
            Wire.Default.StatusBody,
            Wire.Default.WireRecord,
            cancellationToken);
        return StatusOutcome.Saved;
    }

    /// <summary>
    /// Says that this device is gone, and disconnects. Watches end. The user is offline unless they are online on another device. Where the
    /// socket does not bring it to the server within a second, a call does, which names the device, too.
    /// </summary>
    public async Task<LeaveOutcome> LeaveAsync(CancellationToken cancellationToken = default)
    {
        if (await _connection.LeaveAsync())
            return LeaveOutcome.Left;
        using var limit = new CancellationTokenSource(LeaveTimeout, _options.TimeProvider);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(limit.Token, cancellationToken);
        try
        {
            var who = new WhoBody(_options.User, null, null, _options.Device);
            await _calls.SendAsync(HttpMethod.Post, "offline", who, Wire.Default.WhoBody, Wire.Default.SuccessDocument, both.Token);
            return LeaveOutcome.Left;
        }
        catch (Exception failure) when (
            failure is AglowException || (failure is OperationCanceledException && limit.IsCancellationRequested))
        {
            return LeaveOutcome.LeaseExpires;
        }
    }

    /// <summary>
    /// The statuses of users, in their order. Who was never seen is offline. More than 10,000 are asked for in several calls, one after the
    /// other.
    /// </summary>
    /// <exception cref="AglowException">503: the server's store is away, so nobody knows. Others: see
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

    /// <summary>The status of one user. Who was never seen is offline.</summary>
    /// <exception cref="AglowException">See <see cref="StatusAsync"/>.</exception>
    public async Task<PresenceRecord> StatusOfAsync(
        UserId user, string? definition = null, CancellationToken cancellationToken = default) =>
        (await StatusAsync([user], definition, cancellationToken))[0];

    /// <summary>One heartbeat of this user, for those who hold no connection.</summary>
    /// <param name="active">Whether the person did something since the last.</param>
    /// <param name="cancellationToken">Ends the call.</param>
    /// <exception cref="AglowException">429 or 503: try again after <see cref="AglowException.RetryAfter"/>. Others: see
    /// <see cref="AglowException.Detail"/>.</exception>
    public async Task<HeartbeatAnswer> HeartbeatAsync(bool active = false, CancellationToken cancellationToken = default) =>
        await HeartbeatAsync(new WhoBody(_options.User, null, active ? true : null, _options.Device), cancellationToken);

    /// <summary>
    /// Heartbeats of users whom the caller speaks for. More than 10,000 are sent in several calls, one after the other; each is taken whole
    /// or refused whole.
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
    /// Heartbeats over HTTP until cancelled, for those who hold no connection: as often as the server says, with jitter; after 429 and 503
    /// as it says, and while it is not reached with waits that grow up to that interval.
    /// </summary>
    /// <param name="isActive">Asked before each: whether the person did something since the last.</param>
    /// <param name="cancellationToken">Ends it, by an <see cref="OperationCanceledException"/>. The user stays online until the lease runs
    /// out, or <see cref="LeaveAsync"/>.</param>
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

    private async Task<HeartbeatAnswer> HeartbeatAsync(WhoBody who, CancellationToken cancellationToken)
    {
        var answer = await _calls.SendAsync(
            HttpMethod.Post, "heartbeat", who, Wire.Default.WhoBody, Wire.Default.HeartbeatDocument, cancellationToken);
        return new HeartbeatAnswer(TimeSpan.FromSeconds(answer.NextHeartbeatSeconds), TimeSpan.FromSeconds(answer.OfflineAfterSeconds));
    }
}
