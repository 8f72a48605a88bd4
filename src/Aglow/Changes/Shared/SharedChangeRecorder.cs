using System.Numerics;
using System.Runtime.InteropServices;
using Aglow.Heartbeats;
using Aglow.Sweeping;
using Aglow.Users;

namespace Aglow.Changes.Shared;

/// <summary>
/// Records the changes of all users on the one node that owns the feed: compares words with what was reported, and writes the differences.
/// </summary>
/// <remarks>
/// <code>
///   hints of every node ─► users who may have changed ─┐
///   pages that the sweep reads ─► differ from reported  ├─► words, read again ─► differ from reported? ─► records and state, in one write
///   leases that end (LeaseEnds) ─► at their end ────────┤
///   claims, accounts ───────────────────────────────────┘
/// </code>
/// The reported state is in the <see cref="IChangeLog"/>, written together with the records. A new owner loads it and compares it with this
/// node's beliefs. It also reads the hints of the last minute that the previous owner had not recorded. So a takeover delays changes, but
/// none is missing.
///
/// If Redis lost its newest second in a failover, a write finds the feed shorter than this node expects, and the ownership ends. The lost
/// changes are then recorded again, with higher numbers. A hint "came online" is recorded even if the user has left by now, because the
/// user was online in between.
///
/// Rejected: recording on the node that wrote the word. Each arrival would need a second write. After a node's death, no other node would
/// find words that it had written but not recorded.
///
/// Threading: one loop while this node owns the feed; hints and pages come from any thread.
/// </remarks>
internal sealed class SharedChangeRecorder(
    IChangeLog log, IPlaneStore store, Clock clock, Belief believed, Sweep sweep, Claims claims, Accounts accounts, HintHistory hints,
    AglowOptions options, Action<ChangeLogHead> moved, Func<ValueTask> catchUpAccounts) : IDisposable
{
    // the number of hints that are checked together
    private const int AtOnce = 4096;
    // a hint may arrive after the last recorded one although it is up to this many seconds older
    private const uint Overlap = 3;
    private const int PagesAtOnce = 32;
    private static readonly TimeSpan LongestWait = TimeSpan.FromMilliseconds(100);

    private readonly ChangeLogWriter _writer = new(log, clock, options, moved);
    private readonly uint _awaySeconds = (uint)options.AwaySeconds;
    // the greatest age of the word of a user who still sends heartbeats
    private readonly uint _youngestToCheck = (uint)options.LongestIntervalSeconds + Overlap;
    private readonly SemaphoreSlim _wake = new(0);
    private readonly Lock _gate = new();
    private readonly HintHistory.Hint[] _batch = new HintHistory.Hint[AtOnce];
    // users found by pages, claims and earlier leases; guarded by the lock
    private readonly Queue<uint> _checks = new();
    private LeaseEnds _ends = new(follows: false);
    // null: this node does not own the feed
    private UserBits? _reported;
    private Dictionary<uint, ReportedFacts> _facts = [];
    private int _isSignaled;

    public bool IsOwner => Volatile.Read(ref _reported) is not null;

    /// <summary>Wakes the loop because a hint or a check arrived.</summary>
    public void Wake()
    {
        if (IsOwner && Interlocked.Exchange(ref _isSignaled, 1) == 0)
            _wake.Release();
    }

    /// <summary>Records until another node may own the feed, or until the feed is shorter than this node expects.</summary>
    public async Task OwnAsync(string token, CancellationToken lost)
    {
        if (await log.HeadAsync() is not { } head)
        {
            if (await BeginAsync(token) is not { } begun)
                return;
            head = begun;
        }

        var reported = await LoadReportedAsync();
        _facts = (await log.ReadFactsAsync()).ToDictionary(static fact => fact.Key, static fact => ReportedFacts.Of(fact.Value));
        try
        {
            lock (_gate)
            {
                _checks.Clear();
                _ends = new LeaseEnds(believed.Definition.PulseSeconds < ReadEvery(Sweep.RemoteInterval) + _youngestToCheck);
                Volatile.Write(ref _reported, reported);
            }

            sweep.RemotePageRead += Compare;

            _writer.Begin(head);
            await CompareAllAsync();
            CompareFacts();
            await RecordAsync(token, lost);
        }
        finally
        {
            sweep.RemotePageRead -= Compare;
            lock (_gate)
            {
                Volatile.Write(ref _reported, null);
                reported.Dispose();
                _ends.Dispose();
            }
        }
    }

    public void Dispose() => _wake.Dispose();

    // Users who are online now count as reported: consumers read them separately, and then follow changes.
    private async Task<ChangeLogHead?> BeginAsync(string token)
    {
        var now = clock.Now;
        var reported = (await store.PagesAsync(Plane.Pulse)).Select(page => (page, believed.Groups(page).ToArray())).ToArray();
        var facts = UsersOfFacts().Distinct()
            .Select(user => (User: user, Value: new ReportedFacts(claims.Of(user, now).Status, 0).Value))
            .Where(static fact => fact.Value != 0)
            .ToDictionary(static fact => fact.User, static fact => fact.Value);
        var generation = (uint)System.Security.Cryptography.RandomNumberGenerator.GetInt32(int.MaxValue);
        // hints of this second may still arrive
        var head = new ChangeLogHead(generation, 0, 0, 0, AsOf: now - 1, 0, 0, now);
        return await log.BeginAsync(token, head, reported, facts) ? head : null;
    }

    private async Task<UserBits> LoadReportedAsync()
    {
        var reported = new UserBits();
        foreach (var pages in (await store.PagesAsync(Plane.Pulse)).Chunk(PagesAtOnce))
        {
            await Task.WhenAll(pages.Select(async page =>
            {
                var groups = new ulong[PageLayout.Groups];
                await log.ReadReportedAsync(page, groups);
                reported.Add(page, groups);
            }));
        }

        return reported;
    }

    private async Task RecordAsync(string token, CancellationToken lost)
    {
        var recordedUntil = _writer.Head.AsOf;
        var place = hints.PlaceOf(recordedUntil > Overlap ? recordedUntil - Overlap : 0);
        // users may have come online and left, and no stored hint shows it
        var mayMiss = clock.Now > recordedUntil + HintHistory.KeepSeconds;
        uint? writtenAt = null;
        while (true)
        {
            var isEnd = lost.IsCancellationRequested;
            try
            {
                var began = clock.Now;
                var count = Take(ref place, began, out var asOf);
                if (count > 0)
                    await JudgeAsync(count, recordedUntil, lost);
                var hasNews = _writer.HasNews || mayMiss;
                if ((hasNews || writtenAt != began) && !await _writer.WriteAsync(token, Math.Max(_writer.Head.AsOf, asOf), mayMiss, lost))
                    return;
                (mayMiss, writtenAt) = (false, began);
                if (count > 0)
                    continue;
            }
            catch (StoreUnavailableException)
            {
                if (lost.IsCancellationRequested)
                    return;
                await Task.Delay(ChangeLogWriter.RetryAfter, clock.Time, CancellationToken.None);
                continue;
            }

            if (isEnd)
                return;
            await WaitAsync(lost);
        }
    }

    // Takes the next users to check: from hints, from pages and claims that differ from what was reported, and from leases that may have
    // ended.
    private int Take(ref long place, uint now, out uint asOf)
    {
        var count = hints.Read(ref place, _batch);
        asOf = (count == AtOnce ? Math.Min(now, _batch[^1].Second) : now) - 1;
        lock (_gate)
        {
            while (count < AtOnce && _checks.TryDequeue(out var user))
                _batch[count++] = new(user, now, TransitionKind.Changed);
            while (count < AtOnce && _ends.TryTake(now, out var user))
                _batch[count++] = new(user, now, TransitionKind.Changed);
        }

        return count;
    }

    private async ValueTask WaitAsync(CancellationToken lost)
    {
        // when the ownership ends, one more round records the hints that arrived until now
        await ((Task)_wake.WaitAsync(LongestWait, lost)).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        Interlocked.Exchange(ref _isSignaled, 0);
    }

    // ---- who may have changed ---------------------------------------------------------------------------------------------------

    // Called by the sweep, which has just read the page.
    private void Compare(int page, ReadOnlySpan<uint> words, Moment at)
    {
        if (!IsOwner)
            return;
        var lease = believed.Definition;
        var online = new Threshold(lease, at);
        // Finds users whose lease may end before the page is read again. Users who still send heartbeats have younger words, so the bound
        // leaves them out.
        var interval = ReadEvery(sweep.Interval);
        var youngest = Math.Max(lease.PulseSeconds > interval ? lease.PulseSeconds - interval : 0, _youngestToCheck);
        var young = new Threshold(lease with { PulseSeconds = Math.Min(youngest, lease.PulseSeconds), DeviceLeftSeconds = 0 }, at);
        ref var first = ref MemoryMarshal.GetReference(words);
        lock (_gate)
        {
            if (_reported is not { } bits)
                return;
            var reported = bits.Groups(page);
            var followed = _ends.FollowedOf(page);
            for (var group = 0; group < Math.Max(words.Length / 64, reported.Length); group++)
            {
                var (now, ends) = (0UL, 0UL);
                if (group < words.Length / 64)
                {
                    ref var words64 = ref System.Runtime.CompilerServices.Unsafe.Add(ref first, group * 64);
                    now = online.PulseBits(ref words64);
                    ends = now & ~(!_ends.Follows ? young.PulseBits(ref words64) : followed.IsEmpty ? 0 : followed[group]);
                }

                for (var differ = now ^ (reported.IsEmpty ? 0 : reported[group]); differ != 0; differ &= differ - 1)
                    Check(PageLayout.User(page, (group * 64) + BitOperations.TrailingZeroCount(differ)));
                for (; ends != 0; ends &= ends - 1)
                {
                    var slot = (group * 64) + BitOperations.TrailingZeroCount(ends);
                    CheckAtEnd(PageLayout.User(page, slot), words[slot]);
                }
            }
        }

        Wake();
    }

    // Runs once for a new owner, so that it knows every lease that ends before the sweep reads its page.
    private async ValueTask CompareAllAsync()
    {
        var scratch = GC.AllocateUninitializedArray<uint>(PageLayout.Slots);
        foreach (var page in await store.PagesAsync(Plane.Pulse))
        {
            // pages of a shard that is away are read when it is back
            if (!store.IsPageAway(page))
                Compare(page, (await store.ReadPageAsync(Plane.Pulse, page, scratch)).Span, clock.MomentOf(page));
        }
    }

    private void CompareFacts()
    {
        var now = clock.Now;
        lock (_gate)
        {
            foreach (var user in UsersOfFacts().Union(_facts.Keys))
            {
                var reported = _facts.GetValueOrDefault(user);
                var account = accounts.Of(user);
                if (claims.Of(user, now).Status != reported.Claim || IsNews(account, reported))
                    Check(user);
            }
        }
    }

    private IEnumerable<uint> UsersOfFacts() => claims.Users.Union(accounts.Users);

    private bool IsNews(uint user) => IsNews(accounts.Of(user), FactsOf(user));

    // A deletion earlier in the second in which the feed began is reported, too: the clock cannot tell it from a later one.
    private bool IsNews(Account account, ReportedFacts reported) =>
        account.DeletedAt >= Pulse.ToUnix(_writer.Head.BeganAt) && account.DeletedAt > reported.DeletedAt;

    // Call under the lock. If the queue is full, the page's next read finds the user.
    private void Check(uint user)
    {
        if (_checks.Count < HintHistory.Most)
            _checks.Enqueue(user);
    }

    // Call under the lock. A lease that the stall guard holds beyond its end is checked every second.
    private void CheckAtEnd(uint user, uint word)
    {
        var lease = believed.Definition;
        var isShortened = Pulse.DeviceLeft(word);
        var end = Pulse.Second(word) + (isShortened ? lease.DeviceLeftSeconds : lease.PulseSeconds) + 1;
        end = Math.Max(end, clock.Now + 1);
        if (_ends.Follows && !isShortened)
            _ends.Follow(user, end);
        else
            _ends.CheckAt(user, end);
    }

    private static uint ReadEvery(TimeSpan interval) => (uint)Math.Ceiling(interval.TotalSeconds) + 1;

    // ---- what changed -----------------------------------------------------------------------------------------------------------

    // Users whose words cannot be read are checked again.
    private async ValueTask JudgeAsync(int count, uint recordedUntil, CancellationToken lost)
    {
        var batch = _batch.AsMemory(0, count);
        var users = new HashSet<uint>(count);
        foreach (var hint in batch.Span)
        {
            if (!store.IsPageAway(PageLayout.Page(hint.User)))
                users.Add(hint.User);
            else
                CheckLater(hint.User);
        }

        uint[] read = [.. users];
        // Deletions that have ended before the words are read. So the words below are those of somebody new.
        var deleted = users.Where(user => !accounts.Of(user).IsDeleting && IsNews(user)).ToHashSet();
        Dictionary<uint, (uint Pulse, uint Activity)> words;
        while (true)
        {
            try
            {
                words = await ReadWordsAsync(read);
                break;
            }
            catch (StoreUnavailableException) when (!lost.IsCancellationRequested)
            {
                if (!Array.Exists(read, user => store.IsPageAway(PageLayout.Page(user))))
                {
                    await Task.Delay(ChangeLogWriter.RetryAfter, clock.Time, CancellationToken.None);
                    continue;
                }

                // the shard went away during the read: check its users again later, and the others now
                foreach (var user in read.Where(user => store.IsPageAway(PageLayout.Page(user))))
                    CheckLater(user);
                read = Array.FindAll(read, user => !store.IsPageAway(PageLayout.Page(user)));
            }
        }

        if (words.Any(word => word.Value.Pulse == Pulse.Never && _reported!.Contains(word.Key) && !IsNews(word.Key)))
            await CatchUpDeletionsAsync();
        foreach (var hint in batch.Span)
        {
            if (!words.TryGetValue(hint.User, out var of))
                continue;
            if (IsNews(hint.User) && (of.Pulse == Pulse.Never || deleted.Contains(hint.User)))
                RecordDeletion(hint.User);
            Judge(hint, of.Pulse, of.Activity, hint.Second > recordedUntil);
        }
    }

    // The words of a user who was online are erased, and the directory may report the deletion later than the store.
    private async ValueTask CatchUpDeletionsAsync()
    {
        try
        {
            await catchUpAccounts();
        }
        catch (StoreUnavailableException)
        {
            // the deletion is recorded when the directory is back
        }
    }

    // Only the record of a user who is online needs the activity: it tells whether they are away.
    private async ValueTask<Dictionary<uint, (uint Pulse, uint Activity)>> ReadWordsAsync(uint[] users)
    {
        var words = new Dictionary<uint, (uint Pulse, uint Activity)>(users.Length);
        var read = new uint[users.Length];
        await store.ReadAsync(Plane.Pulse, users, read);
        for (var i = 0; i < users.Length; i++)
            words[users[i]] = (read[i], Pulse.Never);
        users = Array.FindAll(users, user => IsNewsOfOnline(user, words[user].Pulse));
        if (users.Length == 0)
            return words;
        await store.ReadAsync(Plane.Activity, users, read.AsMemory(0, users.Length));
        for (var i = 0; i < users.Length; i++)
            words[users[i]] = words[users[i]] with { Activity = read[i] };
        return words;
    }

    private bool IsNewsOfOnline(uint user, uint word) =>
        believed.Definition.IsMet(word, Pulse.Never, clock.MomentOf(PageLayout.Page(user)))
        && (!_reported!.Contains(user) || claims.Of(user, clock.Now).Status != _facts.GetValueOrDefault(user).Claim);

    private void CheckLater(uint user)
    {
        lock (_gate)
            _ends.CheckAt(user, clock.Now + 1);
    }

    // A hint that may already have been recorded only causes a check of the words.
    private void Judge(HintHistory.Hint hint, uint word, uint activity, bool isNew)
    {
        var user = hint.User;
        var at = clock.MomentOf(PageLayout.Page(user));
        var isOnline = believed.Definition.IsMet(word, Pulse.Never, at);
        var wasOnline = _reported!.Contains(user);
        if (isNew && hint.Kind == TransitionKind.Arrived && !wasOnline && !isOnline)
            Record(user, isOnline: true, Math.Max(Pulse.Second(word), at.Oldest(believed.Definition.PulseSeconds)), activity, at);
        else if (isNew && hint.Kind == TransitionKind.Left && wasOnline && isOnline)
            Record(user, isOnline: false, at.Now | Pulse.LeftBit, activity, at);
        Record(user, isOnline, word, activity, at);
        if (isOnline && (_ends.Follows || Pulse.DeviceLeft(word)))
        {
            lock (_gate)
                CheckAtEnd(user, word);
        }
    }

    private void Record(uint user, bool isOnline, uint word, uint activity, Moment at)
    {
        var wasOnline = _reported!.Contains(user);
        var was = FactsOf(user);
        var claim = claims.Of(user, at.Now);
        var facts = new ReportedFacts(claim.Status, Math.Min(was.DeletedAt, accounts.Of(user).DeletedAt));
        if (isOnline == wasOnline && facts == was)
            return;
        Note(user, isOnline, facts);
        var shown = Presence.Of(word, activity, claim, believed.Definition, at, _awaySeconds);
        if (ChangeRule.Between(user, wasOnline, was.Claim, isOnline, claim.Status, shown, word, isDeleted: false) is { } record)
            _writer.Record(record);
    }

    // Records the deletion first, because later words of this ID belong to a new user.
    private void RecordDeletion(uint user)
    {
        var (wasOnline, was) = (_reported!.Contains(user), FactsOf(user));
        Note(user, isOnline: false, new ReportedFacts(ClaimStatus.Auto, accounts.Of(user).DeletedAt));
        var shown = new Presence(PresenceStatus.Offline, LastSeen: 0);
        if (ChangeRule.Between(user, wasOnline, was.Claim, false, ClaimStatus.Auto, shown, Pulse.Never, isDeleted: true) is { } record)
            _writer.Record(record);
    }

    private void Note(uint user, bool isOnline, ReportedFacts facts)
    {
        if (_reported!.Set(user, isOnline))
            _writer.Flip(user, isOnline);
        if (facts == FactsOf(user))
            return;
        if (facts == default)
            _facts.Remove(user);
        else
            _facts[user] = facts;
        _writer.Fact(user, facts);
    }

    private ReportedFacts FactsOf(uint user) => _facts.Count == 0 ? default : _facts.GetValueOrDefault(user);
}
