using Aglow.Changes;
using Aglow.Heartbeats;
using Aglow.Queries;
using Aglow.Sweeping;
using Aglow.Users;
using Aglow.Watching;

namespace Aglow;

/// <summary>
/// All of Aglow in one class: heartbeats in, statuses out. Read this first: each call of the API is one call here.
/// </summary>
/// <remarks>
/// <code>
///   heartbeat ─► HeartbeatWriter ─► IPlaneStore.Exchange ─► old words ─► came online? ─► ITransitionBus ─► Beliefs ─► watchers
///   query     ─► StatusReader    ─► IPlaneStore.Read     ─► words     ─► status under a definition
///   sweep     ─► IPlaneStore.ReadPage ─► bits now, XOR bits believed ─► changed users ─► watchers (and, embedded, the journal)
/// </code>
/// Methods identify users by index. Callers first resolve IDs: <see cref="TryFindKnown"/>, <see cref="FindAsync(UserBatch)"/>,
/// <see cref="RegisterAsync(UserBatch)"/>.
/// Threading: every method from any thread. The loops run between <see cref="StartAsync"/> and <see cref="StopAsync"/>.
/// </remarks>
public sealed class PresenceService : IAsyncDisposable
{
    private readonly IPlaneStore _store;
    private readonly IUserDirectory? _directory;
    private readonly AglowOptions _options;
    private readonly HeartbeatWriter _heartbeats;
    private readonly SweepLoop _sweep;
    // null if this node has all words
    private readonly OnlineCounts? _counts;
    private readonly KeyResolver _keys;
    private readonly KeyResolver _requestedKeys;
    private readonly UserLocks _locks = new();
    private readonly AglowLog _log;
    private readonly ClaimWriter _claims;
    private readonly VisibilityWriter _visibility;
    private readonly AccountWriter _accounts;
    private readonly StoredWords _words;
    private readonly PresenceQueries _queries;

    /// <summary>Presence over a store, a directory (null: user IDs are integers below 2^31) and a bus.</summary>
    public PresenceService(
        IPlaneStore store,
        IUserDirectory? directory,
        ITransitionBus bus,
        Clock clock,
        AglowOptions options,
        AglowMetrics metrics,
        AglowLog log,
        IChangeFeed? changes = null)
    {
        Changes = changes;
        _store = store;
        _directory = directory;
        Bus = bus;
        _options = options;
        _log = log;
        Clock = clock;
        Background = new BackgroundWork(clock.Time, log);
        Metrics = metrics;
        Definitions = new Definitions(options);
        Beliefs = new Beliefs(Definitions, bus);
        KnownKeys = new KeyCache(options.KnownKeys);
        RequestedKeys = new KeyCache(options.KnownKeys);
        Action<string, uint> registered = (key, index) => KeyRegistered?.Invoke(key, index);
        _keys = new KeyResolver(directory?.OfActs, KnownKeys, registered);
        _requestedKeys = new KeyResolver(directory, RequestedKeys, registered);
        _heartbeats = new HeartbeatWriter(store, bus, clock, Definitions, options, metrics);
        Statuses = new StatusReader(store, Claims, clock, options, metrics);
        _sweep = new SweepLoop(new Sweep(store, clock, Beliefs), clock, metrics, log, store.IsRemote);
        // without a directory, an index is an ID, and there is nothing to hide
        Cursors = new CursorSeal(directory?.CursorSecret ?? new byte[16]);
        Visibilities = new Visibilities(options.IsVisibilityReciprocal);
        _words = new StoredWords(store, _heartbeats, clock, Definitions.Default, changes is null ? null : changes.Note);
        _claims = new ClaimWriter(directory, Claims, _locks, _heartbeats, bus, clock, _words);
        Watchers = new WatchHub(
            store, Statuses, _heartbeats, Beliefs, Definitions, Claims, Visibilities, KnownKeys, RequestedKeys, bus, clock, metrics, log);
        KeyRegistered += Watchers.Bind;
        _visibility = new VisibilityWriter(directory, Visibilities, _locks, options.RelationLimit, Watchers.Resight);
        _accounts = new AccountWriter(
            directory, Claims, Accounts, Visibilities, _visibility, _locks, _words, store, _heartbeats, bus, clock, Watchers.Recheck);
        if (store.PageCounts is { } counts)
            _counts = new OnlineCounts(store, counts, clock, Claims, Visibilities, Sweep);
        _queries = new PresenceQueries(store, Statuses, _counts, Beliefs, _sweep, Claims, Visibilities, Cursors, clock, options);
        _counts?.Observe(metrics);
        directory?.Observe(metrics);
        Beliefs.Observe(metrics);
        clock.Observe(metrics);
        Claims.Observe(metrics, clock);
        metrics.Gauge(
            "aglow.store.reachable",
            "1 while words can be read and written, as far as is known.",
            () => IsStoreReachable && IsStoreWritable ? 1 : 0);
        if (directory is { IsShared: true })
            directory.Changed += new DirectoryNews(directory, Claims, Accounts, Visibilities, Watchers, clock, log).Apply;
        Accounts.Changed += _accounts.OnAccountChanged;
        bus.Subscribe((kind, users) =>
        {
            if (kind == TransitionKind.DeviceCame)
                store.Expect(users);
        });
    }

    /// <summary>Raised with an ID and its index when this node gave the ID its index. Handlers return at once.</summary>
    public event Action<string, uint>? KeyRegistered;

    /// <summary>
    /// Raised before a device of a user leaves on this node, so that its own connection does not object. Handlers return at once.
    /// </summary>
    public event Action<uint, Device>? DeviceLeaves;

    /// <summary>The bus that carries hints of transitions.</summary>
    public ITransitionBus Bus { get; }

    /// <summary>The feed of changes, for backends; null if it is off.</summary>
    public IChangeFeed? Changes { get; }

    /// <summary>The watches of this node's connections.</summary>
    public WatchHub Watchers { get; }

    /// <summary>Store time.</summary>
    public Clock Clock { get; }

    /// <summary>Tasks that nobody awaits.</summary>
    public BackgroundWork Background { get; }

    /// <summary>The counters.</summary>
    public AglowMetrics Metrics { get; }

    /// <summary>The definitions of "online".</summary>
    public Definitions Definitions { get; }

    /// <summary>The beliefs of this node.</summary>
    public Beliefs Beliefs { get; }

    /// <summary>The sweep: the bound on staleness, and its cost.</summary>
    public Sweep Sweep => _sweep.Sweep;

    /// <summary>The IDs of users who acted on this node: heartbeats, and calls about oneself.</summary>
    public KeyCache KnownKeys { get; }

    /// <summary>
    /// The IDs of users whose statuses were requested. They are apart from <see cref="KnownKeys"/>, so that the time of a first read
    /// does not tell whether the user has come back.
    /// </summary>
    public KeyCache RequestedKeys { get; }

    /// <summary>All claims.</summary>
    public Claims Claims { get; } = new();

    /// <summary>Encrypts the places in cursors of lists.</summary>
    public CursorSeal Cursors { get; }

    /// <summary>Disabled users, and users whose tokens were revoked.</summary>
    public Accounts Accounts { get; } = new();

    /// <summary>What users show, and to whom.</summary>
    public Visibilities Visibilities { get; }

    /// <summary>
    /// Presence as a viewer sees it; <see cref="UserId.Nobody"/> is a stranger. All other members ignore visibility: they are for the
    /// application itself.
    /// </summary>
    public PresenceView As(uint viewer) => new(_queries, viewer);

    /// <summary>Reads statuses in batches, without visibility; see <see cref="As"/>.</summary>
    public StatusReader Statuses { get; }

    /// <summary>Whether words can be read and written now, as far as is known without a call.</summary>
    public bool IsStoreReachable => _store.IsReachable;

    /// <summary>Whether words of at least one page can be written now, as far as is known without a call.</summary>
    public bool IsStoreWritable => _store.IsWritable;

    /// <summary>Whether other nodes share the store, so that clients may go to them.</summary>
    public bool IsShared => _store.IsRemote;

    /// <summary>Whether there is a directory. Without one, IDs are integers below 2^31, and calls that need it answer 501.</summary>
    public bool HasDirectory => _directory is not null;

    /// <summary>Loads claims, visibility and accounts, sweeps once, and starts the loops.</summary>
    public async Task StartAsync()
    {
        await _accounts.LoadAsync();
        Changes?.Start(Claims, Accounts);
        await _accounts.EndDeletionsAsync();
        Clock.Stepped += (from, to) =>
        {
            if (to < from)
                Background.LetGo("clock of accounts and hidden users", Task.Run(() => _accounts.HoldBackAsync(to, from - to)));
        };
        await _sweep.StartAsync();
        _heartbeats.Renewals?.Start(_log);
        Watchers.Start();
    }

    /// <summary>Stops the loops. The owner of the store and the directory closes them.</summary>
    public async Task StopAsync() => await Closing.AllAsync(
        Watchers.DisposeAsync,
        // a sweep must not run on a store that closes
        async () => await _sweep.StopAsync(),
        _heartbeats.DisposeAsync);

    // ---- keys -------------------------------------------------------------------------------------------------------------

    /// <summary>The index of an ID that acted on this node. No waiting, no allocation.</summary>
    public bool TryFindKnown(ReadOnlySpan<byte> key, out uint number) => KnownKeys.TryGet(key, out number);

    /// <summary>
    /// The index of a user whose status is requested; <see cref="UserId.Nobody"/> for an ID that has none. Registers nobody.
    /// </summary>
    public ValueTask<uint> FindRequestedAsync(UserId user) => _requestedKeys.ResolveAsync(user, register: false);

    /// <summary>Finds the indexes of a batch that was read with <see cref="RequestedKeys"/>; registers nobody.</summary>
    public ValueTask FindRequestedAsync(UserBatch users) => _requestedKeys.ResolveAsync(users, register: false);

    /// <summary>The same, and gives the indexes that are missing: durable when this completes.</summary>
    public ValueTask RegisterRequestedAsync(UserBatch users) => _requestedKeys.ResolveAsync(users, register: true);

    /// <summary>The index of a user who acts; <see cref="UserId.Nobody"/> for an ID that has none. Registers nobody.</summary>
    public ValueTask<uint> FindAsync(UserId user) => _keys.ResolveAsync(user, register: false);

    /// <summary>The index of a user. An ID without one gets one, durable when this completes.</summary>
    public ValueTask<uint> RegisterAsync(UserId user) => _keys.ResolveAsync(user, register: true);

    /// <summary>Finds the indexes of a batch of users who act; IDs that have none stay <see cref="UserId.Nobody"/>.</summary>
    public ValueTask FindAsync(UserBatch users) => _keys.ResolveAsync(users, register: false);

    /// <summary>Finds the indexes of a batch. IDs without one get one, durable when this completes.</summary>
    public ValueTask RegisterAsync(UserBatch users) => _keys.ResolveAsync(users, register: true);

    // ---- heartbeats ---------------------------------------------------------------------------------------------------------

    /// <summary>
    /// One heartbeat without a device; see <see cref="HeartbeatWriter.WriteAsync(uint, bool, Device)"/>. That of a disabled user counts for
    /// nothing.
    /// </summary>
    public ValueTask<Admission> HeartbeatAsync(uint user, bool active = false) => HeartbeatAsync(user, default, active);

    /// <summary>One heartbeat of a device. That of a disabled user counts for nothing.</summary>
    public ValueTask<Admission> HeartbeatAsync(uint user, Device device, bool active = false) =>
        Accounts.IsDisabled(user) ? new(Admission.Accepted) : _heartbeats.WriteAsync(user, active && !IsHidden(user), device);

    /// <summary>
    /// Heartbeats of a batch, all or none: if one is refused, nothing is written and the reason is returned. Those of disabled users count
    /// for nothing. Completes when arrivals are durable.
    /// </summary>
    public async ValueTask<Admission> HeartbeatAsync(ReadOnlyMemory<uint> users, bool active = false)
    {
        foreach (var user in users.Span)
        {
            if (_heartbeats.Admit(user) is var admission && admission != Admission.Accepted)
                return admission;
        }

        users = WithoutDisabled(users);
        var isSomeoneHidden = !Claims.IsNobodyHidden;
        var written = await _heartbeats.WriteAsync(users, active && !isSomeoneHidden, durable: true);
        if (active && isSomeoneHidden)
            await _heartbeats.WriteAsync(users.ToArray().Where(user => !IsHidden(user)).ToArray(), active: true, durable: false);
        return written == users.Length ? Admission.Accepted : Admission.OverBudget;
    }

    /// <summary>
    /// Packed heartbeats. Each is accepted or refused by itself; returns how many were accepted. Those of disabled users are refused.
    /// Arrivals are durable within 50 ms.
    /// </summary>
    public ValueTask<int> HeartbeatPackedAsync(ReadOnlyMemory<uint> users) =>
        _heartbeats.WriteAsync(WithoutDisabled(users), active: false, durable: false);

    private ReadOnlyMemory<uint> WithoutDisabled(ReadOnlyMemory<uint> users) => Accounts.IsAnyDisabled(users.Span)
        ? Array.FindAll(users.ToArray(), user => !Accounts.IsDisabled(user))
        : users;

    /// <summary>A heartbeat at the earlier of <paramref name="unixSeconds"/> and now; never moves a user back in time.</summary>
    public ValueTask<Admission> HeartbeatAtAsync(uint user, long unixSeconds) =>
        Accounts.IsDisabled(user) ? new(Admission.Accepted) : _heartbeats.WriteLateAsync(user, Pulse.FromUnix(unixSeconds));

    /// <summary>These users leave at once, on all devices; durable when this completes. Returns how many were online.</summary>
    public ValueTask<int> LeaveAsync(ReadOnlyMemory<uint> users) => _heartbeats.LeaveAsync(users);

    /// <summary>
    /// One device of a user leaves; see <see cref="HeartbeatWriter.LeaveAsync(uint, Device, IReadOnlyList{Device}, bool)"/>.
    /// </summary>
    public ValueTask LeaveAsync(uint user, Device device, params IReadOnlyList<Device> others)
    {
        DeviceLeaves?.Invoke(user, device);
        return _heartbeats.LeaveAsync(user, device, others);
    }

    /// <summary>
    /// One device leaves that may be back soon. The user is offline after a heartbeat interval and 2 s, unless the device is back.
    /// </summary>
    public ValueTask LeaveForNowAsync(uint user, Device device, IReadOnlyList<Device> others) =>
        _heartbeats.LeaveAsync(user, device, others, mayReturn: true);

    // ---- status -----------------------------------------------------------------------------------------------------------

    /// <summary>One user's status.</summary>
    public ValueTask<Presence> StatusAsync(uint user, Definition? definition = null) =>
        _queries.StatusAsync(user, definition ?? Definitions.Default);

    /// <summary>
    /// Counts the users whom everyone sees online under a definition. Also returns the second since which every part of the count was
    /// checked: every belief, or every page if nodes share a store. Arrivals and leaves after it count too.
    /// </summary>
    public ValueTask<(long Online, long AsOf)> CountAsync(Definition definition) => _queries.CountAsync(definition);

    /// <summary>Lists users shown online under a definition, a page at a time. The store confirms each.</summary>
    /// <exception cref="FormatException">This server did not give the cursor.</exception>
    public ValueTask<OnlinePage> ListOnlineAsync(Definition definition, int limit, string? cursor) =>
        As(UserId.Nobody).ListOnlineAsync(definition, limit, cursor);

    /// <summary>Explains a user's status.</summary>
    public ValueTask<Explanation> ExplainAsync(uint user, Definition definition) => _queries.ExplainAsync(user, definition);

    // ---- users ------------------------------------------------------------------------------------------------------------

    /// <summary>The profile of a user, or null. <paramref name="ofOneself"/>: whether they ask themselves.</summary>
    public ValueTask<Profile?> FindProfileAsync(uint user, bool ofOneself = false) => Directory(ofOneself).FindProfileAsync(user);

    /// <summary>Writes profiles, all or none; see <see cref="IUserDirectory.WriteProfilesAsync"/>. Durable when this completes.</summary>
    public ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create) =>
        Directory().WriteProfilesAsync(writes, create);

    /// <summary>The IDs of indexes from 2^31 up, in the same order; null for all others: those are their own ID.</summary>
    public ValueTask FindIdsAsync(ReadOnlyMemory<uint> users, Memory<string?> ids, bool ofOneself = false)
    {
        if (_directory is not null)
            return Directory(ofOneself).FindIdsAsync(users, ids);
        ids.Span.Clear();
        return default;
    }

    /// <summary>Whether anything is known of a user: a heartbeat, a profile, or anything that they or the application set.</summary>
    public ValueTask<bool> IsKnownAsync(uint user, bool ofOneself = false) => _accounts.IsKnownAsync(user, ofOneself);

    /// <summary>
    /// Deletes a user: profile, own subscriptions, approvals and blocks, claims, visibility and words. Durable when this completes. The
    /// user's connections close, and tokens issued until now are refused. What others saved about the user stays. False if the user had no
    /// data.
    /// </summary>
    public ValueTask<bool> DeleteUserAsync(uint user) => _accounts.DeleteAsync(user);

    /// <summary>
    /// Signs a user out everywhere: tokens issued until now are refused, connections close on every node, and the user is offline. Durable
    /// when this completes.
    /// </summary>
    public ValueTask RevokeAsync(uint user) => _accounts.RevokeAsync(user);

    /// <summary>
    /// Reverts heartbeats that came after the user was signed out or deleted on another node, because a connection closed a moment late.
    /// </summary>
    public ValueTask EndAsync(uint user, bool isDeleted) => _accounts.EndAsync(user, isDeleted);

    /// <summary>
    /// Disables a user (refused everywhere, connections closed, offline to everyone) or enables the user again. Durable when this
    /// completes.
    /// </summary>
    public ValueTask SetDisabledAsync(uint user, bool disabled) => _accounts.SetDisabledAsync(user, disabled);

    /// <summary>Finds users by name; see <see cref="IUserDirectory.SearchAsync"/>.</summary>
    public ValueTask<DirectoryPage> SearchUsersAsync(string query, int limit, string? cursor) =>
        Directory().SearchAsync(query, limit, cursor);

    /// <summary>Whom a user follows.</summary>
    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => Directory().OfActs.SubscriptionsAsync(follower);

    /// <summary>Adds users to those whom a user follows, or removes them; null if the list would be too long.</summary>
    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow) =>
        Directory().FollowAsync(follower, followed, follow, _options.SubscriptionLimit);

    /// <summary>
    /// Sets the claim of a source; durable when this completes. Returns false and changes nothing if the user has
    /// <see cref="Claim.MaxSources"/> other claims and this one is not the person's own. This method sets the claim's time and, for a claim
    /// that hides, the last seen to show.
    /// </summary>
    public ValueTask<bool> SetClaimAsync(uint user, Claim claim) => _claims.SetAsync(user, claim);

    /// <summary>
    /// Sets a person's own choice without a text; auto removes it. Durable when this completes. Returns the new record as others see it.
    /// </summary>
    public async ValueTask<Presence> SetClaimAsync(uint user, ClaimStatus status)
    {
        if (status == ClaimStatus.Auto)
            await _claims.RemoveAsync(user, Claim.UserSource);
        else if (!await _claims.SetAsync(user, new Claim(Claim.UserSource, status)))
            throw new InvalidOperationException($"The user has {Claim.MaxSources} claims already.");
        return await StatusAsync(user);
    }

    /// <summary>Removes the claim of a source; durable when this completes.</summary>
    public ValueTask RemoveClaimAsync(uint user, string source) => _claims.RemoveAsync(user, source);

    /// <summary>Sets what a user shows; null values do not change. Durable when this completes. Returns the new visibility.</summary>
    public ValueTask<Visibility> SetVisibilityAsync(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen) =>
        _visibility.SetAsync(user, online, lastSeen);

    /// <summary>The users whom a user approved or blocked, ascending.</summary>
    public uint[] Related(uint user, Relation relation) => _visibility.Related(user, relation);

    /// <summary>
    /// Adds users to the list of approved or blocked users, or removes them from it. Durable when this completes. Null if there would be
    /// too many.
    /// </summary>
    public ValueTask<uint[]?> RelateAsync(uint user, Relation relation, IReadOnlyList<uint> others, bool add) =>
        _visibility.RelateAsync(user, relation, others, add);

    /// <summary>
    /// Lists followers who wait for a user's approval: those neither approved nor blocked, ascending from an index on. Also returns the
    /// start of the next part, or null. The list is empty unless only approved followers see the user online.
    /// </summary>
    public ValueTask<(uint[] Users, uint? Next)> WaitingAsync(uint user, uint from, int limit) =>
        _visibility.WaitingAsync(user, from, limit);

    // ---- by ID ----------------------------------------------------------------------------------------------------------

    /// <summary>Signs a user out everywhere; see <see cref="RevokeAsync(uint)"/>.</summary>
    public async ValueTask RevokeAsync(UserId user) => await RevokeAsync(await RegisterAsync(user));

    /// <summary>Disables a user; see <see cref="SetDisabledAsync(uint, bool)"/>.</summary>
    public async ValueTask DisableAsync(UserId user) => await SetDisabledAsync(await RegisterAsync(user), disabled: true);

    /// <summary>Enables a user who was disabled.</summary>
    public async ValueTask EnableAsync(UserId user) => await SetDisabledAsync(await RegisterAsync(user), disabled: false);

    /// <summary>
    /// Closes a user's connections on every node with code 4401, for use when the application ends its own session of the user. The clients
    /// then request another token or cookie. Other nodes receive it as a hint, which may be lost while the store is away;
    /// <see cref="RevokeAsync(UserId)"/> is durable.
    /// </summary>
    public async ValueTask DisconnectAsync(UserId user)
    {
        var index = await FindAsync(user);
        if (index != UserId.Nobody)
            Bus.Publish(TransitionKind.Disconnected, [index]);
    }

    /// <summary>Deletes a user; see <see cref="DeleteUserAsync(uint)"/>.</summary>
    public async ValueTask<bool> DeleteUserAsync(UserId user) =>
        await FindAsync(user) is var index && index != UserId.Nobody && await DeleteUserAsync(index);

    /// <summary>One user's status.</summary>
    public async ValueTask<Presence> StatusAsync(UserId user, Definition? definition = null) =>
        await StatusAsync(await FindRequestedAsync(user), definition);

    /// <summary>One heartbeat; gives the ID an index if it has none.</summary>
    public async ValueTask<Admission> HeartbeatAsync(UserId user, bool active = false) =>
        await HeartbeatAsync(await RegisterAsync(user), active);

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => Closing.AllAsync(
        Watchers.DisposeAsync,
        () => _counts?.DisposeAsync() ?? default,
        _sweep.DisposeAsync,
        _heartbeats.DisposeAsync,
        Closing.Of(Beliefs),
        Closing.Of(Visibilities),
        Closing.Of(_locks));

    // Activity of a hidden user is not written, so that other users cannot distinguish them from a user who left.
    private bool IsHidden(uint user) => Claims.IsHidden(user, Clock.Now);

    private IUserDirectory Directory(bool ofOneself = false) => ofOneself ? _directory.Required().OfActs : _directory.Required();
}
