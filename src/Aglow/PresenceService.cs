using System.Buffers;
using System.Text;
using Aglow.Changes;
using Aglow.Diagnostics;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Queries;
using Aglow.Storage;
using Aglow.Sweeping;
using Aglow.Users;
using Aglow.Watching;

namespace Aglow;

/// <summary>
/// Aglow in one class: heartbeats in, status out. Read this first; every call of the API is one call here.
/// </summary>
/// <remarks>
/// <code>
///   heartbeat ─► HeartbeatWriter ─► IPlaneStore.Exchange ─► old words ─► came online? ─► ITransitionBus ─► Beliefs ─► watchers
///   query     ─► StatusReader    ─► IPlaneStore.Read     ─► words     ─► status under a definition
///   sweep     ─► IPlaneStore.ReadPage ─► bits now, XOR bits believed ─► changed users ─► watchers (and, embedded, the journal)
/// </code>
/// Inside, users are indexes; IDs are resolved first (<see cref="TryFindKnown"/>, <see cref="FindAsync(UserBatch)"/>, <see cref="RegisterAsync(UserBatch)"/>).
/// Threading: every method from any thread. The loops run between <see cref="StartAsync"/> and <see cref="StopAsync"/>.
/// </remarks>
public sealed class PresenceService : IAsyncDisposable
{
    private const int DeletedAtOnce = 10_000;

    private readonly IPlaneStore _store;
    private readonly IUserDirectory? _directory;
    private readonly ITransitionBus _bus;
    private readonly AglowOptions _options;
    private readonly HeartbeatWriter _heartbeats;
    private readonly SweepLoop _sweep;
    // null where this node has all the words
    private readonly OnlineCounts? _counts;
    // null where this node alone changes the directory
    private readonly DirectoryNews? _news;
    private readonly KeyResolver _keys;
    private readonly UserLocks _locks = new();
    private readonly AglowLog _log;
    private readonly ClaimWriter _claims;

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
        _bus = bus;
        _options = options;
        _log = log;
        Clock = clock;
        Metrics = metrics;
        Definitions = new Definitions(options);
        Beliefs = new Beliefs(Definitions, bus, tellsEveryArrival: true);
        KnownKeys = new KeyCache(options.KnownKeys);
        _keys = new KeyResolver(directory, KnownKeys);
        _heartbeats = new HeartbeatWriter(store, bus, clock, Definitions, options, metrics);
        Statuses = new StatusReader(store, Claims, clock, options, metrics);
        _sweep = new SweepLoop(new Sweep(store, clock, Beliefs), clock, log, store.IsRemote);
        // without a directory, an index is an ID, and there is nothing to hide
        Cursors = new CursorSeal(directory?.CursorSecret ?? new byte[16]);
        Visibilities = new Visibilities(options.IsVisibilityReciprocal);
        _claims = new ClaimWriter(directory, Claims, _locks, _heartbeats, bus, clock, ShownLastSeenAsync, RecordAsync);
        Watchers = new WatchHub(this, bus, log);
        if (store.PageCounts is { } counts)
            _counts = new OnlineCounts(store, counts, clock, Claims, Visibilities, Sweep, metrics);
        directory?.Observe(metrics);
        if (directory is { IsShared: true })
            _news = new DirectoryNews(directory, Claims, Accounts, Visibilities, Watchers, clock, log);
        Accounts.Changed += HearAccount;
        bus.Subscribe((kind, users) =>
        {
            if (kind == TransitionKind.DeviceCame)
                store.Expect(users);
        });
    }

    /// <summary>Raised with an ID and its index when this node gave it one. Handlers return at once.</summary>
    public event Action<string, uint>? KeyRegistered
    {
        add => _keys.Registered += value;
        remove => _keys.Registered -= value;
    }

    /// <summary>Where hints of transitions come from and go to.</summary>
    public ITransitionBus Bus => _bus;

    /// <summary>The feed of changes, for backends; null where it is off.</summary>
    public IChangeFeed? Changes { get; }

    /// <summary>Who watches whom on this node.</summary>
    public WatchHub Watchers { get; }

    /// <summary>Store time.</summary>
    public Clock Clock { get; }

    /// <summary>The counters.</summary>
    public AglowMetrics Metrics { get; }

    /// <summary>What "online" may mean here.</summary>
    public Definitions Definitions { get; }

    /// <summary>What this node believes.</summary>
    public Beliefs Beliefs { get; }

    /// <summary>The sweep: the bound on staleness, and its cost.</summary>
    public Sweep Sweep => _sweep.Sweep;

    /// <summary>The keys that this node knows without asking the directory.</summary>
    public KeyCache KnownKeys { get; }

    /// <summary>All claims.</summary>
    public Claims Claims { get; } = new();

    /// <summary>Encrypts the places of lists.</summary>
    public CursorSeal Cursors { get; }

    /// <summary>Which users are disabled, and whose tokens were revoked.</summary>
    public Accounts Accounts { get; } = new();

    /// <summary>What users show of themselves, and to whom.</summary>
    public Visibilities Visibilities { get; }

    /// <summary>Presence as a viewer sees it; <see cref="UserId.Nobody"/>: a stranger. What the other members here answer is the truth, for the application itself.</summary>
    public PresenceView As(uint viewer) => new(this, viewer);

    /// <summary>Reads of statuses, in batches: what is true. For somebody, see <see cref="As"/>.</summary>
    public StatusReader Statuses { get; }

    /// <summary>Whether words can be read and written at present, as far as is known without trying.</summary>
    public bool IsStoreReachable => _store.IsReachable;

    /// <summary>Whether words of some page at least can be written at present, as far as is known without trying.</summary>
    public bool IsStoreWritable => _store.IsWritable;

    /// <summary>Whether users of some pages go to another node, since their words cannot be written here.</summary>
    internal bool IsHandingOver => _heartbeats.IsHandingOver;

    /// <summary>Whether this user goes to another node, since their words cannot be written here.</summary>
    internal bool IsHandedOver(uint user) => _heartbeats.IsHandedOver(user);

    /// <summary>Whether other nodes share the store, so that clients may go to them.</summary>
    public bool IsShared => _store.IsRemote;

    /// <summary>Another number whenever a part of the words was lost, or is back.</summary>
    internal long StoreOutages => _store.Outages;

    /// <summary>Whether there is a directory: without one, users are numbers and calls that need it answer 501.</summary>
    public bool HasDirectory => _directory is not null;

    /// <summary>Loads claims, visibility and deletions, sweeps once, and starts the sweep's loop.</summary>
    public async Task StartAsync()
    {
        if (_directory is not null)
        {
            if (_news is null)
            {
                foreach (var (user, claims) in await _directory.ClaimsAsync())
                    Claims.Set(user, claims, Clock.Now);
                foreach (var (user, visibility) in await _directory.VisibilitiesAsync())
                    Visibilities.Set(user, visibility);
                foreach (var (user, account) in await _directory.AccountsAsync())
                    Accounts.Set(user, account);
            }

            // a shared directory tells all there is the first time; nobody is served before that is known
            await _directory.CatchUpAsync();
            await HoldHiddenAsync(Clock.Now, movedBy: 0);
            Changes?.Start(Claims, Accounts);
            await EraseWordsOfDeletedAsync();
        }

        Clock.Stepped += (from, to) =>
        {
            if (to < from)
                _ = Task.Run(() => HoldHiddenAsync(to, from - to));
        };
        await _sweep.StartAsync();
        _heartbeats.Start(_log);
        Watchers.Start();
    }

    /// <summary>Stops the loops. The store and the directory are their owner's to close.</summary>
    public async Task StopAsync()
    {
        await Watchers.DisposeAsync();
        await _sweep.StopAsync();
        await _heartbeats.DisposeAsync();
    }

    /// <summary>Whether a user's words cannot be read at present, as far as is known without trying.</summary>
    internal bool IsAway(uint user) => _store.IsPageAway(PageLayout.Page(user));

    // ---- keys -------------------------------------------------------------------------------------------------------------

    /// <summary>The index of an ID that this node knows. No waiting, no allocation.</summary>
    public bool TryFindKnown(ReadOnlySpan<byte> key, out uint number) => KnownKeys.TryGet(key, out number);

    /// <summary>The index of a user; <see cref="UserId.Nobody"/> for an ID that has none. Registers nobody.</summary>
    public ValueTask<uint> FindAsync(UserId user) => _keys.ResolveAsync(user, register: false);

    /// <summary>The index of a user, given where there is none: durable when this completes.</summary>
    public ValueTask<uint> RegisterAsync(UserId user) => _keys.ResolveAsync(user, register: true);

    /// <summary>Finds the indexes of a batch; IDs that have none stay <see cref="UserId.Nobody"/>.</summary>
    public ValueTask FindAsync(UserBatch users) => _keys.ResolveAsync(users, register: false);

    /// <summary>Finds the indexes of a batch, and gives those that are missing: durable when this completes.</summary>
    public ValueTask RegisterAsync(UserBatch users) => _keys.ResolveAsync(users, register: true);

    // ---- heartbeats ---------------------------------------------------------------------------------------------------------

    /// <summary>One heartbeat, of no device that is named; see <see cref="HeartbeatWriter.WriteAsync(uint, bool, Device)"/>.</summary>
    public ValueTask<Admission> HeartbeatAsync(uint user, bool active = false) =>
        _heartbeats.WriteAsync(user, active && !IsHidden(user));

    /// <summary>One heartbeat of a device.</summary>
    public ValueTask<Admission> HeartbeatAsync(uint user, Device device, bool active = false) =>
        _heartbeats.WriteAsync(user, active && !IsHidden(user), device);

    /// <summary>
    /// Heartbeats of a batch, all or none: where one of them is refused, nothing is written and the reason is returned.
    /// Completes when arrivals are durable.
    /// </summary>
    public async ValueTask<Admission> HeartbeatAsync(ReadOnlyMemory<uint> users, bool active = false)
    {
        foreach (var user in users.Span)
        {
            if (_heartbeats.Admit(user) is var admission && admission != Admission.Accepted)
                return admission;
        }

        var written = await _heartbeats.WriteAsync(users, active && Claims.IsNobodyHidden, durable: true);
        if (active && !Claims.IsNobodyHidden)
            await _heartbeats.WriteAsync(users.ToArray().Where(user => !IsHidden(user)).ToArray(), active: true, durable: false);
        return written == users.Length ? Admission.Accepted : Admission.OverBudget;
    }

    /// <summary>Packed heartbeats: each is taken or not; returns how many were. Arrivals are durable within 50 ms.</summary>
    public ValueTask<int> HeartbeatPackedAsync(ReadOnlyMemory<uint> users) =>
        _heartbeats.WriteAsync(users, active: false, durable: false);

    /// <summary>A heartbeat at the earlier of <paramref name="unixSeconds"/> and now; never moves a user back in time.</summary>
    public ValueTask<Admission> HeartbeatAtAsync(uint user, long unixSeconds) => _heartbeats.WriteLateAsync(user, Pulse.FromUnix(unixSeconds));

    /// <summary>These users leave at once, on all devices; durable when this completes. Returns how many were online.</summary>
    public ValueTask<int> LeaveAsync(ReadOnlyMemory<uint> users) => _heartbeats.LeaveAsync(users);

    /// <summary>One device of a user leaves; see <see cref="HeartbeatWriter.LeaveAsync(uint, Device, IReadOnlyList{Device})"/>.</summary>
    public ValueTask LeaveAsync(uint user, Device device, params IReadOnlyList<Device> others) => _heartbeats.LeaveAsync(user, device, others);

    // ---- status -----------------------------------------------------------------------------------------------------------

    /// <summary>One user's status.</summary>
    public async ValueTask<Presence> StatusAsync(uint user, Definition? definition = null)
    {
        var users = ArrayPool<uint>.Shared.Rent(1);
        var statuses = ArrayPool<Presence>.Shared.Rent(1);
        users[0] = user;
        await Statuses.ReadAsync(users.AsMemory(0, 1), definition ?? Definitions.Default, statuses.AsMemory(0, 1));
        var status = statuses[0];
        ArrayPool<uint>.Shared.Return(users);
        ArrayPool<Presence>.Shared.Return(statuses);
        return status;
    }

    /// <summary>
    /// How many users are shown online to everyone under a definition, and the second as of which every belief behind the number had been checked (arrivals
    /// and goodbyes since then are counted, too), or every page counted where nodes share them.
    /// </summary>
    public async ValueTask<(long Online, long AsOf)> CountAsync(Definition definition)
    {
        if (_counts is not null)
        {
            var (online, asOf) = await _counts.ReadAsync(definition);
            return (online, Pulse.EpochUnixSeconds + (long)asOf);
        }

        var belief = await UseAsync(definition);
        var count = belief.Online - Visibilities.CountNotToEveryone(belief);
        var at = Clock.Moment;
        foreach (var user in Claims.Hidden(at.Now))
        {
            if (!Visibilities.IsShownToEveryone(user))
                continue;
            var shown = Presence.Of(Pulse.Never, Pulse.Never, Claims.Of(user, at.Now), definition, at, 0);
            count += (shown.IsOnline ? 1 : 0) - (belief.Contains(user) ? 1 : 0);
        }

        return (Math.Max(0, count), Pulse.EpochUnixSeconds + (long)Sweep.AsOf);
    }

    /// <summary>Users shown online under a definition, a page at a time, each confirmed by the store.</summary>
    /// <exception cref="FormatException">The cursor is not one of ours.</exception>
    public ValueTask<OnlinePage> ListOnlineAsync(Definition definition, int limit, string? cursor) => ListOnlineAsync(definition, limit, cursor, As(UserId.Nobody));

    internal async ValueTask<OnlinePage> ListOnlineAsync(Definition definition, int limit, string? cursor, PresenceView view)
    {
        var belief = await UseAsync(definition);
        return await OnlineList.ReadAsync(belief, await _store.PagesAsync(Plane.Pulse), view, limit, cursor, Cursors);
    }

    /// <summary>Why a user is shown as they are.</summary>
    public async ValueTask<Explanation> ExplainAsync(uint user, Definition definition)
    {
        uint[] one = [user];
        var words = new uint[3];
        await _store.ReadAsync(Plane.Pulse, one, words.AsMemory(0, 1));
        await _store.ReadAsync(Plane.Activity, one, words.AsMemory(1, 1));
        await _store.ReadAsync(definition.Plane, one, words.AsMemory(2, 1));
        bool? believed = null;
        foreach (var belief in Beliefs.InUse)
        {
            if (belief.Definition == definition)
                believed = belief.Contains(user);
        }

        var at = Clock.MomentOf(PageLayout.Page(user));
        return Explanation.Of(words[0], words[2], words[1], Claims.Of(user, at.Now), definition, at, believed, _options, _store.IsRemote);
    }

    // ---- users ------------------------------------------------------------------------------------------------------------

    /// <summary>The profile of a user, or null.</summary>
    public ValueTask<Profile?> FindProfileAsync(uint user) => Directory().FindProfileAsync(user);

    /// <summary>Writes profiles, all or none; see <see cref="IUserDirectory.WriteProfilesAsync"/>. Durable when this completes.</summary>
    public ValueTask<ProfileResult> WriteProfilesAsync(IReadOnlyList<ProfileWrite> writes, bool create) => Directory().WriteProfilesAsync(writes, create);

    /// <summary>The IDs of indexes from 2^31 up, in the same order; null for all others: those are their own ID.</summary>
    public ValueTask FindIdsAsync(ReadOnlyMemory<uint> users, Memory<string?> ids)
    {
        if (_directory is not null)
            return _directory.FindIdsAsync(users, ids);
        ids.Span.Clear();
        return default;
    }

    /// <summary>Whether anything is known of a user: a heartbeat, a profile, or anything that they or the application set.</summary>
    public async ValueTask<bool> IsKnownAsync(uint user)
    {
        if (user == UserId.Nobody)
            return false;
        return Pulse.Second(await ReadPulseAsync(user)) != 0
            || Claims.All(user).Length > 0
            || !Visibilities.Of(user).IsDefault
            || Accounts.Of(user).IsDisabled
            || (_directory is not null && (await _directory.FindProfileAsync(user) is not null || (await _directory.SubscriptionsAsync(user)).Length > 0));
    }

    /// <summary>
    /// Erases a user: profile, own subscriptions, approvals and blocks, claims, visibility and words; durable when this completes. Their
    /// connections close, and tokens issued until now are refused. What others said of them stays. False where nothing was known.
    /// </summary>
    public async ValueTask<bool> DeleteUserAsync(uint user)
    {
        using var _ = await _locks.EnterAsync(user);
        if (!await IsKnownAsync(user))
            return false;
        // on other nodes, what a user showed is forgotten before the words are: a user who hides leaves first, and is not seen on the way out
        if (_news is not null)
            await LeaveAsync(new[] { user });
        var at = UnixNow();
        await Directory().DeleteAsync(user, at);
        if (_news is null)
        {
            Claims.Set(user, [], Clock.Now);
            Show(user, Visibility.Default);
            Accounts.Set(user, new Account(RevokedAt: at, IsDeleted: true));
        }

        await EraseWordsAsync(user);
        await _store.KeptAsync();
        _bus.Publish(TransitionKind.LeftEverywhere, [user]);
        _bus.Publish(TransitionKind.Left, [user]);
        return true;
    }

    /// <summary>
    /// Signs a user out everywhere: tokens issued until now are refused, their connections close on every node, and they are offline.
    /// Durable when this completes.
    /// </summary>
    public async ValueTask RevokeAsync(uint user)
    {
        using var _ = await _locks.EnterAsync(user);
        var at = UnixNow();
        await Directory().RevokeAsync(user, at);
        if (_news is null)
            Accounts.Set(user, Accounts.Of(user) with { RevokedAt = at, IsDeleted = false });
        await LeaveAsync(new[] { user });
    }

    /// <summary>Undoes what this node heard of a user after they were signed out everywhere or deleted elsewhere: a connection may have been a moment late.</summary>
    public async ValueTask EndAsync(uint user, bool isDeleted)
    {
        await LeaveAsync(new[] { user });
        if (isDeleted)
            await EraseWordsAsync(user);
    }

    /// <summary>Disables a user (refused everywhere, connections closed, offline to everyone) or enables them again. Durable when this completes.</summary>
    public async ValueTask SetDisabledAsync(uint user, bool disabled)
    {
        using var _ = await _locks.EnterAsync(user);
        var was = Accounts.Of(user);
        if (was.IsDisabled == disabled)
            return;
        var claim = Claims.Of(user, Clock.Now);
        var shown = !disabled ? 0 : claim.Status == ClaimStatus.Hidden ? claim.ShownLastSeen : await ShownLastSeenAsync(user);
        await Directory().SetDisabledAsync(user, disabled, shown);
        if (_news is null)
            Accounts.Set(user, was with { IsDisabled = disabled, ShownLastSeen = shown });
        await RecordAsync(user);
        _bus.Publish(TransitionKind.Changed, [user]);
    }

    /// <summary>Signs a user out everywhere; see <see cref="RevokeAsync(uint)"/>.</summary>
    public async ValueTask RevokeAsync(UserId user) => await RevokeAsync(await RegisterAsync(user));

    /// <summary>Disables a user; see <see cref="SetDisabledAsync(uint, bool)"/>.</summary>
    public async ValueTask DisableAsync(UserId user) => await SetDisabledAsync(await RegisterAsync(user), disabled: true);

    /// <summary>Enables a user who was disabled.</summary>
    public async ValueTask EnableAsync(UserId user) => await SetDisabledAsync(await RegisterAsync(user), disabled: false);

    /// <summary>
    /// Closes a user's connections on every node, with 4401, for an application whose own sign-in has ended: their clients ask for another token or cookie.
    /// Other nodes hear it by a hint, which may be lost while the store is away; <see cref="RevokeAsync(UserId)"/> is durable.
    /// </summary>
    public async ValueTask DisconnectAsync(UserId user)
    {
        var index = await FindAsync(user);
        if (index != UserId.Nobody)
            _bus.Publish(TransitionKind.Disconnected, [index]);
    }

    /// <summary>Erases a user; see <see cref="DeleteUserAsync(uint)"/>.</summary>
    public async ValueTask<bool> DeleteUserAsync(UserId user) => await FindAsync(user) is var index && index != UserId.Nobody && await DeleteUserAsync(index);

    /// <summary>One user's status.</summary>
    public async ValueTask<Presence> StatusAsync(UserId user, Definition? definition = null) => await StatusAsync(await FindAsync(user), definition);

    /// <summary>One heartbeat; gives the ID an index where it has none.</summary>
    public async ValueTask<Admission> HeartbeatAsync(UserId user, bool active = false) => await HeartbeatAsync(await RegisterAsync(user), active);

    /// <summary>Finds users by name; see <see cref="IUserDirectory.SearchAsync"/>.</summary>
    public ValueTask<DirectoryPage> SearchUsersAsync(string query, int limit, string? cursor) => Directory().SearchAsync(query, limit, cursor);

    /// <summary>Whom a user follows.</summary>
    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => Directory().SubscriptionsAsync(follower);

    /// <summary>Adds to or removes from whom a user follows; null where the list would be too long.</summary>
    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow) =>
        Directory().FollowAsync(follower, followed, follow, _options.SubscriptionLimit);

    /// <summary>
    /// Sets what a source claims of a user; durable when this completes. False, and nothing is changed, where the user has <see cref="Claim.MaxSources"/> others. The time at which it is
    /// set, and for one that hides what is shown meanwhile, are set here.
    /// </summary>
    public ValueTask<bool> SetClaimAsync(uint user, Claim claim) => _claims.SetAsync(user, claim);

    /// <summary>Sets what a person chose, without a text; auto removes it. Durable when this completes. Returns the record as others see it then.</summary>
    public async ValueTask<Presence> SetClaimAsync(uint user, ClaimStatus status)
    {
        if (status == ClaimStatus.Auto)
            await _claims.RemoveAsync(user, Claim.UserSource);
        else if (!await _claims.SetAsync(user, new Claim(Claim.UserSource, status)))
            throw new InvalidOperationException($"The user has {Claim.MaxSources} claims already.");
        return await StatusAsync(user);
    }

    /// <summary>Removes what a source claims of a user; durable when this completes.</summary>
    public ValueTask RemoveClaimAsync(uint user, string source) => _claims.RemoveAsync(user, source);

    /// <summary>Sets what a user shows of themself; durable when this completes. What is null stays. Returns what is shown then.</summary>
    public async ValueTask<Visibility> SetVisibilityAsync(uint user, OnlineVisibility? online, LastSeenVisibility? lastSeen)
    {
        using var _ = await _locks.EnterAsync(user);
        await Directory().SetVisibilityAsync(user, online, lastSeen);
        if (_news is null)
        {
            var was = Visibilities.Of(user);
            Show(user, was.With(online ?? was.Online, lastSeen ?? was.LastSeen));
        }

        return Visibilities.Of(user);
    }

    /// <summary>Those whom a user approved or blocked, ascending.</summary>
    public uint[] Related(uint user, Relation relation)
    {
        Directory();
        return Visibilities.Of(user).Of(relation);
    }

    /// <summary>Adds to (or takes away from) those whom a user approved or blocked; durable when this completes. Null where they would be too many.</summary>
    public async ValueTask<uint[]?> RelateAsync(uint user, Relation relation, IReadOnlyList<uint> others, bool add)
    {
        using var _ = await _locks.EnterAsync(user);
        if (await Directory().RelateAsync(user, relation, others, add, _options.RelationLimit) is not { } related)
            return null;
        if (_news is null)
            Show(user, Visibilities.Of(user).With(relation, related));
        return related;
    }

    /// <summary>
    /// Who waits for a user's approval: who follows them and was neither approved nor blocked, ascending from a number on, and where the next part begins, null where there is none. Nobody waits for
    /// somebody who shows that they are online to everyone, or to nobody.
    /// </summary>
    public async ValueTask<(uint[] Users, uint? Next)> WaitingAsync(uint user, uint from, int limit)
    {
        var directory = Directory();
        if (Visibilities.Of(user).Online != OnlineVisibility.FollowersApproved)
            return ([], null);
        // one more, to know whether there is a next part
        var waiting = await directory.WaitingAsync(user, from, limit + 1);
        return waiting.Length > limit ? (waiting[..limit], waiting[limit]) : (waiting, null);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await Watchers.DisposeAsync();
        if (_counts is not null)
            await _counts.DisposeAsync();
        await _sweep.DisposeAsync();
        await _heartbeats.DisposeAsync();
        Beliefs.Dispose();
        Visibilities.Dispose();
        _locks.Dispose();
    }

    // what a hidden user does is not written: neither who watches nor who asks later can tell them from somebody who left
    private bool IsHidden(uint user) => Claims.IsHidden(user, Clock.Now);

    private long UnixNow() => Pulse.EpochUnixSeconds + (long)Clock.Moment.Now;

    private void HearAccount(uint user, Account was, Account account)
    {
        if (account.IsDisabled)
            Claims.Disable(user, account.ShownLastSeen);
        else
            Claims.Enable(user);
        // what waits was sent before
        if (account.RevokedAt != was.RevokedAt || account.IsDisabled)
            _heartbeats.Forget(user);
        if (account.IsDisabled != was.IsDisabled)
            Watchers.Recheck([user]);
    }

    // a status that is acknowledged is a change of its own, as an arrival is
    private async ValueTask RecordAsync(uint user)
    {
        if (Changes is null)
            return;
        Changes.Note(user);
        try
        {
            await _store.KeptAsync();
        }
        catch (StoreUnavailableException)
        {
            // the directory has it: it is recorded when something can be written again
        }
    }

    private void Show(uint user, Visibility visibility)
    {
        if (Visibilities.Set(user, visibility))
            Watchers.Resight(user);
    }

    // Of those who hid before the clock was set back, the second that is shown is moved back as their words are.
    private async Task HoldHiddenAsync(uint now, uint movedBy)
    {
        try
        {
            foreach (var user in Claims.Hidden(now).ToArray())
            {
                using var _ = await _locks.EnterAsync(user);
                var account = Accounts.Of(user);
                if (account.IsDisabled && account.ShownLastSeen > now)
                {
                    account = account with { ShownLastSeen = Pulse.TakenBack(account.ShownLastSeen, movedBy, now) };
                    await Directory().SetDisabledAsync(user, disabled: true, account.ShownLastSeen);
                    if (_news is null)
                        Accounts.Set(user, account);
                }

                foreach (var hidden in Claims.All(user).ToArray().Where(claim => claim.ShownLastSeen > now))
                {
                    var held = hidden with { ShownLastSeen = Pulse.TakenBack(hidden.ShownLastSeen, movedBy, now) };
                    await Directory().SetClaimAsync(user, held, now);
                    if (_news is null)
                        Claims.Set(user, [.. Claims.All(user).ToArray().Select(claim => claim.Source == held.Source ? held : claim)], now);
                }
            }
        }
        catch (Exception failure) when (failure is StoreUnavailableException or ObjectDisposedException)
        {
            // shown as now until that second comes, or the next start
        }
    }

    private async ValueTask<uint> ShownLastSeenAsync(uint user)
    {
        var pulse = await ReadPulseAsync(user);
        var at = Clock.Moment;
        return Definitions.Default.IsMet(pulse, Pulse.Never, at) ? at.Now : Pulse.Second(pulse);
    }

    private async ValueTask<uint> ReadPulseAsync(uint user)
    {
        uint[] one = [user, 0];
        await _store.ReadAsync(Plane.Pulse, one.AsMemory(0, 1), one.AsMemory(1, 1));
        return one[1];
    }

    private async ValueTask EraseWordsAsync(uint user)
    {
        _heartbeats.Forget(user);
        for (var plane = Plane.Pulse; plane <= Plane.Other; plane++)
        {
            if (!_store.IsInUse(plane))
                continue;
            await _store.EraseAsync(plane, user, Pulse.Never);
            _store.Keep(plane, [user]);
        }
    }

    // A crash may have come between a deletion and the erasure of its words. Words that are newer are of somebody who came back.
    private async ValueTask EraseWordsOfDeletedAsync()
    {
        foreach (var deleted in Accounts.Deleted.Chunk(DeletedAtOnce))
        {
            var users = deleted.Select(static d => d.Key).ToArray();
            var words = new uint[users.Length];
            await _store.ReadAsync(Plane.Pulse, users, words);
            for (var i = 0; i < users.Length; i++)
            {
                if (Pulse.ToUnix(Pulse.Second(words[i])) <= deleted[i].Value)
                    await EraseWordsAsync(users[i]);
            }
        }
    }

    private async ValueTask<Belief> UseAsync(Definition definition)
    {
        var belief = Beliefs.Use(definition, out var made);
        if (made)
            await _sweep.PassAsync();
        return belief;
    }

    private IUserDirectory Directory() =>
        _directory ?? throw new NotSupportedException("This deployment has no user directory: user IDs are integers from 0 to 2147483647.");
}
