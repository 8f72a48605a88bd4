using System.Buffers;
using System.Text;
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
/// Users come as numbers; keys are made numbers first (<see cref="TryFindKnown"/>, <see cref="FindAsync(UserBatch)"/>, <see cref="RegisterAsync(UserBatch)"/>).
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

    /// <summary>Presence over a store, a directory (null: users are numbers only) and a bus.</summary>
    public PresenceService(
        IPlaneStore store, IUserDirectory? directory, ITransitionBus bus, Clock clock, AglowOptions options, AglowMetrics metrics, AglowLog log)
    {
        _store = store;
        _directory = directory;
        _bus = bus;
        _options = options;
        Clock = clock;
        Metrics = metrics;
        Definitions = new Definitions(options);
        Beliefs = new Beliefs(Definitions, bus, tellsEveryArrival: true);
        KnownKeys = new KeyCache(options.KnownKeys);
        _keys = new KeyResolver(directory, KnownKeys);
        _heartbeats = new HeartbeatWriter(store, directory, bus, clock, Definitions, options, metrics);
        Statuses = new StatusReader(store, Manual, clock, options, metrics);
        _sweep = new SweepLoop(new Sweep(store, clock, Beliefs), clock, log, store.IsRemote);
        Visibilities = new Visibilities(options.IsVisibilityReciprocal);
        Watchers = new WatchHub(this, bus, log);
        if (store.PageCounts is { } counts)
            _counts = new OnlineCounts(store, counts, clock, Manual, Visibilities, Sweep, metrics);
        directory?.Observe(metrics);
        if (directory is { IsShared: true })
            _news = new DirectoryNews(directory, KnownKeys, Manual, Visibilities, Watchers, clock.Time);
    }

    /// <summary>Raised with a key and its number when a key became known to this node by being registered. Handlers return at once.</summary>
    public event Action<string, uint>? KeyRegistered
    {
        add => _keys.Registered += value;
        remove => _keys.Registered -= value;
    }

    /// <summary>Where hints of transitions come from and go to.</summary>
    public ITransitionBus Bus => _bus;

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

    /// <summary>All manual statuses.</summary>
    public ManualStatuses Manual { get; } = new();

    /// <summary>What users show of themselves, and to whom.</summary>
    public Visibilities Visibilities { get; }

    /// <summary>Presence as a viewer sees it; <see cref="UserId.Nobody"/>: a stranger. What the other members here answer is the truth, for the application itself.</summary>
    public PresenceView As(uint viewer) => new(this, viewer);

    /// <summary>Reads of statuses, in batches: what is true. For somebody, see <see cref="As"/>.</summary>
    public StatusReader Statuses { get; }

    /// <summary>Whether words can be read and written at present, as far as is known without trying.</summary>
    public bool IsStoreReachable => _store.IsReachable;

    /// <summary>Whether other nodes share the store, so that clients may go to them.</summary>
    public bool IsShared => _store.IsRemote;

    /// <summary>Another number whenever a part of the words was lost, or is back.</summary>
    internal long StoreOutages => _store.Outages;

    /// <summary>Whether there is a directory: without one, users are numbers and calls that need it answer 501.</summary>
    public bool HasDirectory => _directory is not null;

    /// <summary>Loads manual statuses, visibility and deletions, sweeps once, and starts the sweep's loop.</summary>
    public async Task StartAsync()
    {
        if (_directory is not null)
        {
            if (_news is null)
            {
                foreach (var (user, status) in await _directory.ManualStatusesAsync())
                    Manual.Set(user, status);
                foreach (var (user, visibility) in await _directory.VisibilitiesAsync())
                    Visibilities.Set(user, visibility);
            }

            // a shared directory tells all there is the first time; nobody is served before that is known
            await _directory.CatchUpAsync();
            await HoldHiddenAsync(Clock.Now, movedBy: 0);
            await EraseWordsAsync(await _directory.DeletedNumbersAsync());
        }

        Clock.Stepped += (from, to) =>
        {
            if (to < from)
                _ = Task.Run(() => HoldHiddenAsync(to, from - to));
        };
        await _sweep.StartAsync();
        _heartbeats.Start();
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

    /// <summary>The number of a key that this node knows. No waiting, no allocation.</summary>
    public bool TryFindKnown(ReadOnlySpan<byte> key, out uint number) => KnownKeys.TryGet(key, out number);

    /// <summary>The number of a user; <see cref="UserId.Nobody"/> for a key nobody registered. Registers nobody.</summary>
    public ValueTask<uint> FindAsync(UserId user) => _keys.ResolveAsync(user, register: false);

    /// <summary>The number of a user, registering a key that has none: durable when this completes.</summary>
    public ValueTask<uint> RegisterAsync(UserId user) => _keys.ResolveAsync(user, register: true);

    /// <summary>Gives the keys of a batch their numbers; those nobody registered stay <see cref="UserId.Nobody"/>.</summary>
    public ValueTask FindAsync(UserBatch users) => _keys.ResolveAsync(users, register: false);

    /// <summary>Gives the keys of a batch their numbers, registering those that have none: durable when this completes.</summary>
    public ValueTask RegisterAsync(UserBatch users) => _keys.ResolveAsync(users, register: true);

    // ---- heartbeats ---------------------------------------------------------------------------------------------------------

    /// <summary>One heartbeat; see <see cref="HeartbeatWriter.WriteAsync(uint, bool)"/>.</summary>
    public ValueTask<Admission> HeartbeatAsync(uint user, bool active = false) =>
        IsAhead([user]) ? CatchUpAndWriteAsync(user, active) : _heartbeats.WriteAsync(user, active && !IsHidden(user));

    /// <summary>
    /// Heartbeats of a batch, all or none: where one of them is refused, nothing is written and the reason is returned.
    /// Completes when arrivals are durable.
    /// </summary>
    public async ValueTask<Admission> HeartbeatAsync(ReadOnlyMemory<uint> users, bool active = false)
    {
        if (IsAhead(users.Span))
            await _directory!.CatchUpAsync();
        foreach (var user in users.Span)
        {
            if (_heartbeats.Admit(user) is var admission && admission != Admission.Accepted)
                return admission;
        }

        var written = await _heartbeats.WriteAsync(users, active && Manual.HiddenCount == 0, durable: true);
        if (active && Manual.HiddenCount > 0)
            await _heartbeats.WriteAsync(users.ToArray().Where(user => !IsHidden(user)).ToArray(), active: true, durable: false);
        if (written == users.Length)
            return Admission.Accepted;
        // somebody among them was deleted, or there is no room for them
        var words = new uint[users.Length];
        await _store.ReadAsync(Plane.Pulse, users, words);
        return words.Contains(Pulse.Gone) ? Admission.Unknown : Admission.OverBudget;
    }

    /// <summary>Packed heartbeats: each is taken or not; returns how many were. Arrivals are durable within 50 ms.</summary>
    public ValueTask<int> HeartbeatPackedAsync(ReadOnlyMemory<uint> users) =>
        IsAhead(users.Span) ? CatchUpAndWriteAsync(users) : _heartbeats.WriteAsync(users, active: false, durable: false);

    /// <summary>A heartbeat at the earlier of <paramref name="unixSeconds"/> and now; never moves a user back in time.</summary>
    public async ValueTask<Admission> HeartbeatAtAsync(uint user, long unixSeconds)
    {
        if (IsAhead([user]))
            await _directory!.CatchUpAsync();
        return await _heartbeats.WriteLateAsync(user, Pulse.FromUnix(unixSeconds));
    }

    /// <summary>These users leave at once, on all devices or (of a socket) on this node's; durable when this completes. Returns how many were online.</summary>
    public ValueTask<int> LeaveAsync(ReadOnlyMemory<uint> users, bool everywhere = true) => _heartbeats.LeaveAsync(users, everywhere);

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
        foreach (var user in Manual.Hidden)
        {
            if (!Visibilities.IsShownToEveryone(user))
                continue;
            var shown = Presence.Of(Pulse.Never, Pulse.Never, Manual.Of(user), definition, Clock.Moment, 0);
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
        return await OnlineList.ReadAsync(belief, await _store.PagesAsync(Plane.Pulse), view, limit, cursor);
    }

    /// <summary>Why a user is shown as they are.</summary>
    public async ValueTask<Explanation> ExplainAsync(uint user, Definition definition)
    {
        uint[] one = [user];
        var words = new uint[2];
        await _store.ReadAsync(Plane.Pulse, one, words.AsMemory(0, 1));
        await _store.ReadAsync(Plane.Activity, one, words.AsMemory(1, 1));
        bool? believed = null;
        foreach (var belief in Beliefs.InUse)
        {
            if (belief.Definition == definition)
                believed = belief.Contains(user);
        }

        return Explanation.Of(user, words[0], words[1], Manual.Of(user), definition, Clock.MomentOf(PageLayout.Page(user)), believed, _options, _store.IsRemote);
    }

    // ---- users ------------------------------------------------------------------------------------------------------------

    /// <summary>Registers a user; null where the name is taken.</summary>
    public async ValueTask<DirectoryUser?> CreateUserAsync(string name, string? displayName)
    {
        var removals = KnownKeys.Removals;
        var user = await Directory().CreateAsync(name, displayName);
        if (user is not null)
            _keys.Know(user.Name, user.Number, removals, registered: true);
        return user;
    }

    /// <summary>The directory's user, or null.</summary>
    public ValueTask<DirectoryUser?> FindUserAsync(uint user) => Directory().FindAsync(user);

    /// <summary>Names of numbers, in the same order; null where the directory has none.</summary>
    public ValueTask FindNamesAsync(ReadOnlyMemory<uint> users, Memory<string?> names)
    {
        if (_directory is not null)
            return _directory.FindNamesAsync(users, names);
        names.Span.Clear();
        return default;
    }

    /// <summary>
    /// Removes a user: row, subscriptions both ways, manual status, visibility, what others said of them, and words; durable when this completes. False where there was nothing.
    /// </summary>
    public async ValueTask<bool> DeleteUserAsync(uint user)
    {
        using var _ = await _locks.EnterAsync(user);
        var named = await Directory().FindAsync(user);
        // what a deleted user showed is forgotten with them, on other nodes before the words are: whoever hides leaves first, and is not seen on the way out
        if (_news is not null)
            await LeaveAsync(new[] { user });
        var had = await Directory().DeleteAsync(user);
        had |= Pulse.Second(await ReadPulseAsync(user)) != 0;
        if (!had)
            return false;
        if (named is not null)
            KnownKeys.Remove(Encoding.UTF8.GetBytes(named.Name));
        await EraseWordsAsync(user);
        if (_news is null)
        {
            Manual.Set(user, ManualStatus.Auto);
            Visibilities.Forget(user);
        }

        await _store.KeptAsync();
        _bus.Publish(TransitionKind.LeftEverywhere, [user]);
        _bus.Publish(TransitionKind.Left, [user]);
        return true;
    }

    /// <summary>Finds users by name; see <see cref="IUserDirectory.SearchAsync"/>.</summary>
    public ValueTask<DirectoryPage> SearchUsersAsync(string query, int limit, string? cursor) => Directory().SearchAsync(query, limit, cursor);

    /// <summary>Whom a user follows.</summary>
    public ValueTask<uint[]> SubscriptionsAsync(uint follower) => Directory().SubscriptionsAsync(follower);

    /// <summary>Adds to or removes from whom a user follows; null where the list would be too long.</summary>
    public ValueTask<uint[]?> FollowAsync(uint follower, IReadOnlyList<uint> followed, bool follow) =>
        Directory().FollowAsync(follower, followed, follow, _options.SubscriptionLimit);

    /// <summary>Sets what a user is seen as; durable when this completes. Returns the record as others see it then.</summary>
    public async ValueTask<Presence> SetManualStatusAsync(uint user, ManualStatusKind kind)
    {
        using var _ = await _locks.EnterAsync(user);
        var was = Manual.Of(user);
        var status = new ManualStatus(kind);
        if (kind == ManualStatusKind.Hidden)
        {
            // hiding twice does not move the time at which the user seems to have gone
            status = was.Kind == kind ? was : new ManualStatus(kind, await ShownLastSeenAsync(user));
        }

        if (status != was)
        {
            await Directory().SetManualStatusAsync(user, status);
            if (_news is null)
                Manual.Set(user, status);
            // for others they come online, and nobody is away who has just come
            if (was.Kind == ManualStatusKind.Hidden)
                await _heartbeats.EndActivityAsync(user);
            _bus.Publish(TransitionKind.Changed, [user]);
        }

        return await StatusAsync(user);
    }

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
    private bool IsHidden(uint user) => Manual.Of(user).Kind == ManualStatusKind.Hidden;

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
            foreach (var user in Manual.Hidden.ToArray())
            {
                using var _ = await _locks.EnterAsync(user);
                if (Manual.Of(user) is not { Kind: ManualStatusKind.Hidden } hidden || hidden.ShownLastSeen <= now)
                    continue;
                hidden = hidden with { ShownLastSeen = Pulse.TakenBack(hidden.ShownLastSeen, movedBy, now) };
                await Directory().SetManualStatusAsync(user, hidden);
                if (_news is null)
                    Manual.Set(user, hidden);
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
        await _store.EraseAsync(Plane.Pulse, user, user < UserId.FirstDirectoryNumber ? Pulse.Never : Pulse.Gone);
        await _store.EraseAsync(Plane.Activity, user, Pulse.Never);
        _store.Keep(Plane.Pulse, [user]);
        _store.Keep(Plane.Activity, [user]);
    }

    // Of those who were deleted nearly all words say so already: only the others are written.
    private async ValueTask EraseWordsAsync(IReadOnlyList<uint> deleted)
    {
        foreach (var users in deleted.Chunk(DeletedAtOnce))
        {
            var words = new uint[users.Length];
            await _store.ReadAsync(Plane.Pulse, users, words);
            for (var i = 0; i < users.Length; i++)
            {
                if (words[i] != Pulse.Gone)
                    await EraseWordsAsync(users[i]);
            }
        }
    }

    private async ValueTask<Admission> CatchUpAndWriteAsync(uint user, bool active)
    {
        await _directory!.CatchUpAsync();
        return await _heartbeats.WriteAsync(user, active && !IsHidden(user));
    }

    private async ValueTask<int> CatchUpAndWriteAsync(ReadOnlyMemory<uint> packed)
    {
        try
        {
            await _directory!.CatchUpAsync();
        }
        catch (StoreUnavailableException)
        {
            // who is known is taken all the same
        }

        return await _heartbeats.WriteAsync(packed, active: false, durable: false);
    }

    // Whether a number may have been handed out by another node a moment ago.
    private bool IsAhead(ReadOnlySpan<uint> users) => _news is not null && users.ContainsAnyInRange(_directory!.NextNumber, UserId.Nobody - 1);

    private async ValueTask<Belief> UseAsync(Definition definition)
    {
        var belief = Beliefs.Use(definition, out var made);
        if (made)
            await _sweep.PassAsync();
        return belief;
    }

    private IUserDirectory Directory() =>
        _directory ?? throw new NotSupportedException("This deployment has no user directory: users are numbers only.");
}
