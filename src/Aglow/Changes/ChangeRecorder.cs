using System.Numerics;
using System.Runtime.InteropServices;
using Aglow.Durable;
using Aglow.Users;
using Microsoft.Data.Sqlite;

namespace Aglow.Changes;

/// <summary>
/// Derives changes from the words that the journal writes, and writes these changes in the journal's own transactions.
/// </summary>
/// <remarks>
/// <code>
///   journal's writer ─► word, oldest second that is online ─► online now? ─┐
///                               reported: a bit for each user ─► online then? ─┴► differ ─► a record ─► the same commit
/// </code>
/// A bit for each user says whether the user was reported online. After a restart these bits come from the journal's own words. Words and
/// records are committed together, so after a crash neither is ahead of the other. Page images count as words, since a restart reads them
/// as well. So each change is recorded once. The words decide: if a user leaves and comes back within one commit (50 ms), nothing is
/// recorded.
///
/// Statuses that users choose are in another file. So the feed stores which of them it has reported (<c>changes_told</c>), and compares at
/// start. Rejected: listening to hints and writing a separate file. After a crash that file would know less than the journal, or more.
///
/// Threading: only the journal's writer calls it, except <see cref="Start(Claims, Accounts)"/> and <see cref="Note"/>.
/// </remarks>
/// <param name="journal">Writes the words.</param>
/// <param name="store">The words.</param>
/// <param name="clock">Store time.</param>
/// <param name="options">The lease, and how much the feed keeps.</param>
/// <param name="committed">Receives the feed's generation and extent after each commit that moved the feed.</param>
internal sealed class ChangeRecorder(
    Journal journal, MemoryPlaneStore store, Clock clock, AglowOptions options, Action<uint, ChangeFile.Place> committed) : JournalReader
{
    private const uint TrimEverySeconds = 10;
    // the number of words that one transaction processes at start
    private const int PerTransaction = 1 << 18;

    private readonly Definition _online = new Definitions(options).Default;
    private readonly uint _awaySeconds = (uint)options.AwaySeconds;
    private readonly uint _keepSeconds = (uint)options.ChangesHours * 3600;
    private readonly long _maxBytes = (long)options.ChangesMegabytes << 20;
    // the demo's people are in no file
    private readonly uint _firstUnsaved = options.DemoPeople > 0 ? UserId.FirstDemoNumber : UserId.Nobody;
    private readonly UserBits _reported = new();
    private readonly List<StoredChange> _records = [];
    private readonly List<uint> _flipped = [];
    private readonly List<(uint User, ReportedKind Was)> _changedKinds = [];
    private Dictionary<uint, ReportedKind> _reportedKinds = [];
    private ChangeFile? _file;
    private volatile Facts? _facts;
    private bool _reconciles;
    private bool _reconciled;
    private bool _seeds;
    private uint _trimAt;

    /// <summary>Sets the loaded claims and accounts, which count from now on.</summary>
    public void Start(Claims claims, Accounts accounts) => _facts = new Facts(
        claims,
        accounts,
        _seeds ? UsersOf(claims, accounts).ToDictionary(static user => user, user => claims.Of(user, clock.Now).Status) : []);

    /// <summary>Checks a user whose status changed without their words. Any thread.</summary>
    public void Note(uint user)
    {
        if (user < _firstUnsaved)
            journal.Add(Plane.Pulse, [user]);
    }

    public override void Start(PresenceFile file, Recovery recovery)
    {
        file.Write(() => _file = ChangeFile.Open(file.Connection));
        _reportedKinds = ChangeFile.ReadReportedKinds(file.Connection);
        _seeds = _file!.IsNew;
        file.Reader = this;
        committed(_file.Generation, _file.Now);
        foreach (var (page, groups) in recovery.LastOnline)
            _reported.Add(page, groups);
        // A user who was reported online while one device had left counts as offline after a restart. The first transaction checks such
        // users, under the stall guard.
        foreach (var (user, reported) in _reportedKinds)
        {
            if (reported.DeviceLeft)
                _reported.Set(user, present: true);
        }

        if (!recovery.IsWithinLease)
            RecordLapses(file, recovery);
    }

    public override void ReadWords(ReadOnlySpan<uint> users, ReadOnlySpan<uint> words, Moment at)
    {
        Reconcile();
        for (var i = 0; i < users.Length; i++)
            Judge(users[i], words[i], at);
    }

    public override void ReadImage(int page, ReadOnlySpan<uint> words, Moment at)
    {
        Reconcile();
        var rule = new Threshold(_online, at);
        // a user who was reported online, but would count as offline after a restart, is checked too
        var heartbeats = Threshold.Heartbeats(at.Oldest(_online.PulseSeconds));
        var reported = _reported.Groups(page);
        ref var first = ref MemoryMarshal.GetReference(words);
        for (var group = 0; group < words.Length / 64; group++)
        {
            ref var words64 = ref System.Runtime.CompilerServices.Unsafe.Add(ref first, group * 64);
            var reportedOnline = reported.IsEmpty ? 0 : reported[group];
            var differ = (rule.PulseBits(ref words64) ^ reportedOnline) | (reportedOnline & ~heartbeats.PulseBits(ref words64));
            for (; differ != 0; differ &= differ - 1)
            {
                var slot = (group * 64) + BitOperations.TrailingZeroCount(differ);
                Judge(PageLayout.User(page, slot), words[slot], at);
            }
        }
    }

    public override void Write(SqliteConnection connection)
    {
        Reconcile();
        var now = clock.Now;
        _file!.Append(now, CollectionsMarshal.AsSpan(_records));
        foreach (var (user, _) in _changedKinds)
            _file.SaveKind(user, _reportedKinds.GetValueOrDefault(user));
        if (now >= _trimAt && !_file.Trim(now > _keepSeconds ? now - _keepSeconds : 0, _maxBytes))
            _trimAt = now + TrimEverySeconds;
    }

    public override void Committed()
    {
        var isMoved = _file!.Commit();
        _reconciled |= _reconciles;
        Clear();
        if (isMoved)
            committed(_file.Generation, _file.Now);
    }

    public override void RolledBack()
    {
        _file?.RollBack();
        for (var i = _flipped.Count - 1; i >= 0; i--)
            _reported.Set(_flipped[i], !_reported.Contains(_flipped[i]));
        for (var i = _changedKinds.Count - 1; i >= 0; i--)
            SetKind(_changedKinds[i].User, _changedKinds[i].Was);
        _trimAt = 0;
        Clear();
    }

    public override void Dispose()
    {
        _file?.Dispose();
        _reported.Dispose();
    }

    private void Clear()
    {
        _records.Clear();
        _flipped.Clear();
        _changedKinds.Clear();
        _reconciles = false;
    }

    // The server was down for longer than the lease. So every user who was online is offline now, and no sweep would find that.
    private void RecordLapses(PresenceFile file, Recovery recovery)
    {
        var at = clock.Moment;
        foreach (var pages in recovery.LastOnline.Chunk(Math.Max(1, PerTransaction / PageLayout.Slots)))
        {
            file.Write(() =>
            {
                foreach (var (page, _) in pages)
                    ReadImage(page, store.View(Plane.Pulse, page), at);
            });
        }
    }

    // Runs once after a start, because users may have chosen statuses while nothing was recorded. In a new feed, the statuses at its
    // beginning count as reported. Each user is checked when the journal next writes their word: a change may not be durable before the
    // word that it comes from.
    private void Reconcile()
    {
        if (_reconciled || _reconciles || _facts is not { } facts)
            return;
        _reconciles = true;
        foreach (var (user, kind) in facts.Seed)
            ChangeKind(user, _reportedKinds.GetValueOrDefault(user) with { Claim = kind });
        var now = clock.Now;
        foreach (var user in UsersOf(facts.Claims, facts.Accounts).Union(_reportedKinds.Keys))
        {
            if (_reportedKinds.GetValueOrDefault(user) is var reported
                && (reported.DeviceLeft || facts.Claims.Of(user, now).Status != reported.Claim))
                Note(user);
        }
    }

    private void Judge(uint user, uint word, Moment at)
    {
        var isOnline = _online.IsMet(word, Pulse.Never, at);
        var wasOnline = _reported.Contains(user);
        var was = _reportedKinds.Count == 0 ? default : _reportedKinds.GetValueOrDefault(user);
        var facts = _reconciled || _reconciles ? _facts : null;
        var claim = facts is null ? new EffectiveClaim(was.Claim) : facts.Claims.Of(user, at.Now);
        var isDeleted = word == Pulse.Never && facts is not null && facts.Accounts.Of(user).IsDeleting;
        var now = new ReportedKind(claim.Status, isOnline && Pulse.DeviceLeft(word));
        if (isOnline == wasOnline && now == was && !isDeleted)
            return;
        var shown = Presence.Of(word, store.Read(Plane.Activity, user), claim, _online, at, _awaySeconds);
        if (isOnline != wasOnline)
        {
            _reported.Set(user, isOnline);
            _flipped.Add(user);
        }

        if (now != was)
            ChangeKind(user, now);
        if (ChangeRule.Between(user, wasOnline, was.Claim, isOnline, now.Claim, shown, word, isDeleted) is { } record)
            _records.Add(record);
    }

    private void ChangeKind(uint user, ReportedKind reported)
    {
        _changedKinds.Add((user, _reportedKinds.GetValueOrDefault(user)));
        SetKind(user, reported);
    }

    private void SetKind(uint user, ReportedKind reported)
    {
        if (reported == default)
            _reportedKinds.Remove(user);
        else
            _reportedKinds[user] = reported;
    }

    private static IEnumerable<uint> UsersOf(Claims claims, Accounts accounts) => claims.Users.Union(accounts.Users);

    private sealed record Facts(Claims Claims, Accounts Accounts, Dictionary<uint, ClaimStatus> Seed);
}
