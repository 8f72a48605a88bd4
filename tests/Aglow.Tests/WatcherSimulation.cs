using System.Globalization;
using System.Text;
using System.Text.Json;
using Aglow.AspNetCore.Http;

namespace Aglow.Tests;

/// <summary>
/// Simulates some minutes of a node, its watchers and all possible faults between them, at random from a seed. A <see cref="NaiveModel"/>
/// receives the same events and judges what the watchers received.
/// </summary>
/// <remarks>
/// Users send heartbeats, late heartbeats and activity, leave, and set statuses. Watchers connect, watch, unwatch, stop reading, continue,
/// and close. Hints are dropped, doubled and delayed. The process pauses, the wall clock is set, and the store is away.
/// The rules:
/// <list type="number">
/// <item>never true: each record was the user's true one at some moment of the last second, or of the bound for a watcher who has just
/// begun to read again;</item>
/// <item>agreement: a watcher who reads has received every state that has been true for as long as the bound;</item>
/// <item>a watch is answered with a snapshot of exactly the requested users;</item>
/// <item>together: if a watcher receives that a user is gone, it receives that at the same time under every definition for which it is
/// true.</item>
/// </list>
/// </remarks>
internal sealed class WatcherSimulation
{
    private const int Users = 12;

    // a coalescing window, and a round that waits for it
    private static readonly TimeSpan Fresh = TimeSpan.FromSeconds(1);

    // the sweep's second, the second to which a word is rounded, and the window
    private static readonly TimeSpan OnlineBound = TimeSpan.FromSeconds(2.6);

    // for changes without a hint (a user becomes away, or a hint is lost): the recheck, and a second to confirm
    private static readonly TimeSpan Bound = WatchHub.RecheckInterval + TimeSpan.FromSeconds(2);

    private readonly Random _random;
    private readonly ManualTimeProvider _time = new();
    private readonly ITransitionBus _bus;
    private readonly RiggedStore _store = new(isRemote: false);
    private readonly PresenceService _presence;
    private readonly NaiveModel _model = new(Users);
    private readonly List<Watcher> _watchers = [];
    private readonly Dictionary<(int User, string Definition), List<(long From, Presence Is)>> _history = [];
    private readonly long[] _manualChangedAt = new long[Users];
    private readonly List<(int User, string What)> _did = [];
    // the last time span in which nothing could be read; several spans close together count as one
    private long _disturbedFrom = long.MinValue / 2;
    private long _disturbedUntil = long.MinValue / 2;
    private uint _lastBeatSecond;
    private uint? _pausedFrom;
    private bool _isStoreAway;

    /// <summary>A simulation with this seed. Hints always arrive, or are lost and delayed at random.</summary>
    public WatcherSimulation(int seed, bool hintsAreLost)
    {
        _random = new Random(seed);
        _bus = hintsAreLost ? new UnreliableBus(_random, _time) : new LocalTransitionBus();
        var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
        _store.IsAway = _ => _isStoreAway;
        var clock = new Clock(_time, new StallGuard(NaiveModel.Hold));
        _presence = new PresenceService(
            _store, new FakeDirectory(), _bus, clock, options, new AglowMetrics(), new AglowLog(NullLogger.Instance));
        _lastBeatSecond = clock.Now;
        Note();
    }

    /// <summary>Records that watchers received and that were compared with the model.</summary>
    public int Received { get; private set; }

    /// <summary>How often a watcher's knowledge of a user was compared with the model.</summary>
    public int Compared { get; private set; }

    /// <summary>The number of dropped hints.</summary>
    public int Dropped => (_bus as UnreliableBus)?.Dropped ?? 0;

    private uint Now => _presence.Clock.Now;

    /// <summary>Simulates this much time, with events at random.</summary>
    public async Task RunAsync(TimeSpan time)
    {
        for (var end = _time.GetTimestamp() + time.Ticks; _time.GetTimestamp() < end;)
        {
            if (_random.Next(4) == 0)
                await ActAsync();
            await BeatAsync();
        }

        // then nothing more happens, and all must agree within the bound
        await WakeAsync();
        for (var end = _time.GetTimestamp() + (2 * Bound.Ticks); _time.GetTimestamp() < end;)
            await BeatAsync();
        foreach (var watcher in _watchers)
            Compare(watcher);
    }

    private async Task BeatAsync()
    {
        _time.Advance(WatchHub.BeatInterval);
        if (_isStoreAway)
            Disturbed(_time.GetTimestamp());
        (_bus as UnreliableBus)?.Deliver();
        Note();
        // either loop may wake first
        var hubFirst = _random.Next(2) == 0;
        if (hubFirst)
            await _presence.Watchers.BeatAsync();
        if (_time.GetTimestamp() / WatchHub.BeatInterval.Ticks % 5 == 0)
        {
            // a pause ends when the clock notices it
            if (_pausedFrom is { } from)
                _model.Stalled(from, Now);
            _pausedFrom = null;
            _presence.Clock.Beat();
            _lastBeatSecond = Now;
            try
            {
                await _presence.Sweep.BeatAsync();
            }
            catch (StoreUnavailableException)
            {
                // ignores the failure, as the sweep's loop does: the next beat continues
            }
        }

        if (!hubFirst)
            await _presence.Watchers.BeatAsync();
        Note();
        foreach (var watcher in _watchers)
        {
            Receive(watcher);
            if (_time.GetTimestamp() / WatchHub.BeatInterval.Ticks % 25 == 0)
                Compare(watcher);
        }
    }

    // Notes the present states that differ from the last noted ones.
    private void Note()
    {
        for (var user = 0; user < Users; user++)
        {
            foreach (var definition in _presence.Definitions.All)
            {
                var now = _model.Status(user, definition.Name, Now);
                if (!_history.TryGetValue((user, definition.Name), out var history))
                    _history[(user, definition.Name)] = history = [];
                if (history.Count == 0 || history[^1].Is != now)
                    history.Add((_time.GetTimestamp(), now));
            }
        }
    }

    // ---- what happens -----------------------------------------------------------------------------------------------------------

    private async Task ActAsync()
    {
        try
        {
            await (_random.Next(100) switch
            {
                < 34 => HeartbeatAsync(),
                < 38 => HeartbeatLateAsync(),
                < 44 => LeaveAsync(),
                < 49 => SetManualAsync(),
                < 61 => Do(Connect),
                < 75 => Do(WatchMore),
                < 82 => Do(WatchLess),
                < 88 => Do(StopOrGoOn),
                < 91 => Do(Close),
                < 92 => SetWallClockAsync(),
                < 93 => Do(Pause),
                < 94 => Do(TakeStoreAwayOrBringItBack),
                _ => Do(static () => { }),
            });
        }
        catch (StoreUnavailableException)
        {
            _isStoreAway.ShouldBeTrue();
        }

        Note();
    }

    private static Task Do(Action act)
    {
        act();
        return Task.CompletedTask;
    }

    private async Task HeartbeatAsync()
    {
        var user = _random.Next(Users);
        var active = _random.Next(3) == 0;
        await _presence.HeartbeatAsync((uint)user, active);
        Did(user, active ? "heartbeat, active" : "heartbeat");
        _model.Heartbeat(user, Now, Now);
        if (active)
            _model.Active(user, Now);
    }

    private async Task HeartbeatLateAsync()
    {
        var user = _random.Next(Users);
        var second = Now - (uint)_random.Next(1, 60);
        await _presence.HeartbeatAtAsync((uint)user, Pulse.EpochUnixSeconds + (long)second);
        Did(user, $"heartbeat at {second}");
        if (second > _model[user].SeenAt)
            _model.Heartbeat(user, second, Now);
    }

    private async Task LeaveAsync()
    {
        var user = _random.Next(Users);
        await _presence.LeaveAsync(new[] { (uint)user });
        Did(user, "leave");
        if (_model.IsOnline(user, Now))
            (_model[user].SeenAt, _model[user].HasLeft) = (Now, true);
    }

    private async Task SetManualAsync()
    {
        // the directory stores the claim, but the answer to the call needs the store
        if (_isStoreAway)
            return;
        var user = _random.Next(Users);
        var kind = (ClaimStatus)_random.Next(5);
        await _presence.SetClaimAsync((uint)user, kind);
        Did(user, $"{kind}");
        _model.Chose(user, kind, Now);
        _manualChangedAt[user] = _time.GetTimestamp();
    }

    private void Did(int user, string what) => _did.Add((user, $"{_time.GetTimestamp() / 1e7:0.00} ({Now}) {what}"));

    private string Tale(int user) => string.Join("; ", _did.Where(d => d.User == user || d.User < 0).TakeLast(12).Select(d => d.What));

    private void Pause()
    {
        var before = _time.GetTimestamp();
        _time.Advance(TimeSpan.FromSeconds(3 + _random.Next(38)));
        _model.Stalled(_lastBeatSecond, Now);
        _pausedFrom = _lastBeatSecond;
        Disturbed(before);
        Did(-1, $"paused since {before / 1e7:0.00}");
    }

    // If nothing could be read for a while, the next records may be as old as that.
    private void Disturbed(long from)
    {
        if (from - _disturbedUntil > Bound.Ticks)
            _disturbedFrom = from;
        _disturbedUntil = _time.GetTimestamp();
    }

    private async Task SetWallClockAsync()
    {
        // after a step, a sweep changes the words, and it needs the store
        if (_isStoreAway || _pausedFrom is not null)
            return;
        var from = Now;
        _time.StepWallClock(TimeSpan.FromSeconds(_random.Next(-3600, 3600)));
        _presence.Clock.Beat();
        Did(-1, $"the clock jumped from {from}");
        if (Now != from)
            _model.Stepped(from, Now);
        _lastBeatSecond = Now;
        await _presence.Sweep.BeatAsync();
        await _presence.Sweep.PassAsync();
    }

    private void TakeStoreAwayOrBringItBack()
    {
        _isStoreAway = !_isStoreAway;
        Disturbed(_time.GetTimestamp());
        Did(-1, _isStoreAway ? "the store went away" : "the store came back");
    }

    private async Task WakeAsync()
    {
        if (_isStoreAway)
            TakeStoreAwayOrBringItBack();
        foreach (var watcher in _watchers.Where(w => w.Connection.IsFull))
            GoOn(watcher);
        await BeatAsync();
    }

    // ---- watchers ---------------------------------------------------------------------------------------------------------------

    private void Connect()
    {
        if (_watchers.Count == 8)
            return;
        var watcher = new Watcher();
        _watchers.Add(watcher);
        _presence.Watchers.Open(watcher.Connection, "{\"type\":\"welcome\"}"u8.ToArray());
    }

    private void WatchMore()
    {
        if (Anyone() is not { } watcher)
            return;
        var (batch, definition, asked) = SomeUsers();
        foreach (var key in asked)
            watcher.Watched.TryAdd((key, definition.Name), null);
        _presence.Watchers.Watch(watcher.Connection, batch, definition);
        watcher.LastRequestedAt = _time.GetTimestamp();
    }

    private void WatchLess()
    {
        if (Anyone() is not { } watcher)
            return;
        var (batch, definition, asked) = SomeUsers();
        foreach (var key in asked)
        {
            // a user who is not watched in this form is perhaps watched in the other
            var other = key.StartsWith('"') ? key.Trim('"') : $"\"{key}\"";
            if (!watcher.Watched.Remove((key, definition.Name)))
                watcher.Watched.Remove((other, definition.Name));
        }

        _presence.Watchers.Unwatch(watcher.Connection, batch, definition);
    }

    private void StopOrGoOn()
    {
        if (Anyone() is not { } watcher)
            return;
        if (watcher.Connection.IsFull)
            GoOn(watcher);
        else
            watcher.Connection.IsFull = true;
    }

    private void GoOn(Watcher watcher)
    {
        watcher.Connection.IsFull = false;
        watcher.ReadsSince = _time.GetTimestamp();
        _presence.Watchers.Writable(watcher.Connection);
    }

    private void Close()
    {
        if (Anyone() is not { } watcher)
            return;
        _watchers.Remove(watcher);
        _presence.Watchers.Close(watcher.Connection);
    }

    private Watcher? Anyone() => _watchers.Count == 0 ? null : _watchers[_random.Next(_watchers.Count)];

    // Draws users by number, or by their digits in a string. These are two forms of one user, and messages repeat each form.
    private (UserBatch Batch, Definition Definition, List<string> Requested) SomeUsers()
    {
        var batch = new UserBatch();
        var asked = new List<string>();
        for (var i = _random.Next(1, 6); i > 0; i--)
        {
            var user = (uint)_random.Next(Users);
            if (_random.Next(4) == 0)
            {
                batch.TryAdd(Encoding.UTF8.GetBytes($"{user}"), _presence.KnownKeys).ShouldBeTrue();
                asked.Add($"\"{user}\"");
            }
            else
            {
                batch.Add(user);
                asked.Add($"{user}");
            }
        }

        return (batch, _presence.Definitions.All[_random.Next(_presence.Definitions.All.Count)], asked);
    }

    // ---- the rules --------------------------------------------------------------------------------------------------------------

    private void Receive(Watcher watcher)
    {
        var gone = new HashSet<int>();
        foreach (var (definition, id, record) in watcher.Connection.Take())
        {
            var key = (id, definition);
            // a watch that has just ended may receive one more record
            if (watcher.Watched.TryGetValue(key, out var before))
                watcher.Watched[key] = record;
            if (before is { IsOnline: true } && !record.IsOnline)
                gone.Add(UserOf(id));
            Received++;
            var history = _history[(UserOf(id), definition)];
            var since = _time.GetTimestamp() - OldestDue(watcher);
            history.Where((h, i) => i == history.Count - 1 || history[i + 1].From >= since).Select(h => h.Is)
                .ShouldContain(
                    record,
                    $"never true of {id} under {definition}, at {_time.GetTimestamp() / 1e7:0.00} ({Now}), who reads since "
                        + $"{watcher.ReadsSince / 1e7:0.00}: {Tale(UserOf(id))}");
        }

        CompareGone(watcher, gone);
    }

    // One act must be sent under all definitions in one beat.
    private void CompareGone(Watcher watcher, HashSet<int> gone)
    {
        if (watcher.Connection.IsFull || IsDisturbed)
            return;
        foreach (var ((id, definition), known) in watcher.Watched)
        {
            if (known is { IsOnline: true } && gone.Contains(UserOf(id)))
                _history[(UserOf(id), definition)][^1].Is.IsOnline.ShouldBeTrue(
                    $"{id} is gone under another definition and not under {definition}, at {_time.GetTimestamp() / 1e7:0.00}: "
                        + Tale(UserOf(id)));
        }
    }

    private long OldestDue(Watcher watcher)
    {
        if (IsDisturbed)
            return _time.GetTimestamp() - _disturbedFrom + Bound.Ticks;
        return _time.GetTimestamp() - watcher.ReadsSince < Fresh.Ticks ? Bound.Ticks : Fresh.Ticks;
    }

    // A watcher who reads must know every state that has been true for long enough.
    private void Compare(Watcher watcher)
    {
        var now = _time.GetTimestamp();
        if (watcher.Connection.IsFull || IsDisturbed || now - Math.Max(watcher.ReadsSince, watcher.LastRequestedAt) < Bound.Ticks)
            return;
        foreach (var ((id, definition), known) in watcher.Watched)
        {
            var user = UserOf(id);
            var history = _history[(user, definition)];
            Compared++;
            known.ShouldNotBeNull($"{id} under {definition}: watched, and never told of");
            if (now - history[^1].From > Bound.Ticks)
                Agree(known.Value, history[^1].Is).ShouldBeTrue(
                    $"{id} under {definition} at {Now}: {known} where {history[^1].Is} for {(now - history[^1].From) / 1e7} s");
            var online = history.FindLastIndex(h => h.Is.IsOnline != history[^1].Is.IsOnline) + 1;
            if (now - history[online].From > OnlineBound.Ticks && now - _manualChangedAt[user] > Bound.Ticks)
                known.Value.IsOnline.ShouldBe(
                    history[^1].Is.IsOnline, $"{id} under {definition} at {Now}: for {(now - history[online].From) / 1e7} s");
        }
    }

    // the last seen of an online user changes every second, and such a change is not sent
    private static bool Agree(Presence known, Presence now) =>
        known.Status == now.Status && (now.IsOnline || known.LastSeen == now.LastSeen);

    private bool IsDisturbed => _time.GetTimestamp() - _disturbedUntil < Bound.Ticks;

    private static int UserOf(string id) => int.Parse(id.Trim('"'), CultureInfo.InvariantCulture);

    private sealed class Watcher
    {
        public SimulatedConnection Connection { get; } = new();

        /// <summary>What it watches, and the last record that it received.</summary>
        public Dictionary<(string Id, string Definition), Presence?> Watched { get; } = [];

        public long ReadsSince { get; set; }

        public long LastRequestedAt { get; set; }
    }

    private sealed class SimulatedConnection() : FakeConnection(99)
    {
        private readonly List<(string Definition, string Id, Presence Record)> _received = [];

        public (string Definition, string Id, Presence Record)[] Take()
        {
            var received = _received.ToArray();
            _received.Clear();
            return received;
        }

        protected internal override bool Send(ReadOnlySpan<byte> json)
        {
            var message = JsonDocument.Parse(Encoding.UTF8.GetString(json)).RootElement;
            if (message.GetProperty("type").GetString() == "presence")
            {
                var definition = message.TryGetProperty("definition", out var name) ? name.GetString()! : Definition.DefaultName;
                foreach (var user in message.GetProperty("users").EnumerateArray())
                    _received.Add((definition, user.GetProperty("user_id").GetRawText(), Read(user)));
            }

            return !IsFull;
        }

        protected internal override void End(int code) => throw new InvalidOperationException($"ended with {code}");

        private static Presence Read(JsonElement user)
        {
            var seen = user.GetProperty("last_seen");
            var activeAt = user.TryGetProperty("active_at", out var active) ? Pulse.FromUnix(active.GetInt64()) : 0;
            return new Presence(
                Enum.Parse<PresenceStatus>(user.GetProperty("status").GetString()!, ignoreCase: true),
                seen.ValueKind == JsonValueKind.Null ? 0 : Pulse.FromUnix(seen.GetInt64()),
                ActiveAt: activeAt);
        }
    }
}
