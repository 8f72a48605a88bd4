using System.Runtime.InteropServices;

namespace Aglow.Swarm;

/// <summary>
/// A run of millions (<c>--bulk 5m</c>): every active user sends a packed heartbeat once per interval. Registered users come and go, and
/// sockets watch some of them.
/// </summary>
/// <remarks>
/// Open loop: steps are due at fixed times, and the latency of a step counts from its due time, even if it is sent late. A separate thread
/// sends the steps, so they do not wait for this process's thread pool, which serves thousands of sockets and judges their messages. What a
/// user did follows from the step numbers (<see cref="Ring"/>) and the time of each step. So the rules for people apply, and a
/// <see cref="Truth"/> is computed on demand.
/// </remarks>
internal sealed class BulkRun : SwarmRun
{
    private const int StepUsers = 10_000;
    private const int RegisterUsers = 500_000;
    private const int ReadAtOnce = 1_000;
    // few, because the auditor computes the truth of all of them once a second
    private const int WatchedUsers = 20_000;
    // enough for the lease and the bound, and some more
    private const int StepsThatCount = 8;
    // an unanswered request may be received this much later
    private const double Trailing = 2;
    // before the end of any earlier run
    private const double LongAgo = -1e10;

    private readonly uint _registered;
    private readonly Ring _ring;
    private readonly double _stepSeconds;
    // One thread writes each entry as a whole and never waits for readers. With a lock, heartbeats were late while the auditor went through
    // all users.
    private readonly Step[] _registrations;
    private readonly Step[] _steps;
    private int _registrationCount;
    private int _stepCount;
    private readonly uint[] _watched;
    private readonly Watcher[] _watchers;
    private readonly Dictionary<uint, Standing> _looked;

    // When packed heartbeats were sent, and until when the server may have received them; infinite while this is unknown.
    private sealed record Step(double Sent, double ReceivedAt, bool IsSure)
    {
        public static Step On(double sent) => new(sent, double.PositiveInfinity, IsSure: false);

        public Act ToAct() => new(ActKind.Heartbeat, 0, Sent, ReceivedAt, IsSure);
    }

    public BulkRun(SwarmOptions options, SwarmClock clock, Promises promises)
        : base(options, clock, promises)
    {
        _registered = options.Registered;
        var stepsAnInterval = (int)((options.Bulk + StepUsers - 1) / StepUsers);
        _stepSeconds = promises.Heartbeat / stepsAnInterval;
        _registrations = new Step[((_registered - 1) / RegisterUsers) + 1];
        // one more, because the last step may be due just when the run ends
        _steps = new Step[(int)(options.Seconds / _stepSeconds) + 2];
        _ring = new Ring(_registered, options.Bulk, stepsAnInterval, options.SessionSeconds / _stepSeconds);
        var random = new Random(options.Seed);
        _watched = options.Watchers == 0 ? [] : [.. Enumerable.Range(0, WatchedUsers).Select(_ => DrawUser(random)).Distinct()];
        _looked = _watched.ToDictionary(static u => u, static _ => new Standing(null, double.NegativeInfinity, IsPossible: true));
        _watchers = [.. Enumerable.Range(0, options.Watchers).Select(i => new Watcher(
            this, Nodes[i % Nodes.Count], _registered + (uint)i, random.GetItems(_watched, options.Watch).Distinct().ToArray(),
            DelayOf(i)))];
    }

    public override string Who =>
        $"{View.Number(Options.Bulk)} active of {View.Number(_registered)} registered users"
            + $"{(_watchers.Length > 0 ? $", {View.Number(_watchers.Length)} sockets watching {View.Number(Options.Watch)} each" : "")}";

    public override string LookedAt => $"{View.Number(_watched.Length)} who are watched";

    public override string HeartbeatWhat => $"packed heartbeats of up to {View.Number(StepUsers)}, from when they were due";

    public override string Preparing =>
        $"registering, {View.Number(Math.Min(_registered, (long)_registrationCount * RegisterUsers))} of {View.Number(_registered)}";

    protected override double ReadEvery => 0.1;

    public override Truth? TruthOf(uint user)
    {
        var truth = new Truth(Promises);
        truth.Add(new Act(ActKind.Before, 0, LongAgo, 0, IsSure: false));
        if (user >= _registered)
            return truth;
        Span<long> steps = stackalloc long[StepsThatCount];
        var registration = (int)(user / RegisterUsers);
        if (registration < Volatile.Read(ref _registrationCount))
            truth.Add(Volatile.Read(ref _registrations[registration]).ToAct());
        for (var i = _ring.StepsOf(user, Volatile.Read(ref _stepCount) - 1, steps) - 1; i >= 0; i--)
            truth.Add(Volatile.Read(ref _steps[(int)steps[i]]).ToAct());
        return truth;
    }

    public override Standing StandingOf(uint user) => _looked[user];

    // Sends one heartbeat of every user, as fast as the server answers. Sends none if the deployment already knows as many users.
    protected override async Task PrepareAsync(CancellationToken stop)
    {
        if ((await Nodes[0].MetricsAsync(stop)).GetValueOrDefault("aglow_users_registered") >= _registered)
            return;
        var numbers = new uint[Math.Min(RegisterUsers, _registered)];
        for (uint first = 0; first < _registered; first += RegisterUsers)
        {
            var count = (int)Math.Min(RegisterUsers, _registered - first);
            for (var i = 0; i < count; i++)
                numbers[i] = first + (uint)i;
            var sent = Clock.Now;
            var registration = (int)(first / RegisterUsers);
            _registrations[registration] = Step.On(sent);
            Volatile.Write(ref _registrationCount, registration + 1);
            while (!TrySend(Nodes[0], numbers.AsMemory(0, count), stop))
                await Clock.DelayAsync(1, stop);
            Volatile.Write(ref _registrations[registration], new Step(sent, Clock.Now, IsSure: true));
        }
    }

    protected override IEnumerable<Func<CancellationToken, Task>> Lives() =>
        [SendLoopAsync, .. _watchers.Select(w => (Func<CancellationToken, Task>)(stop => WatchAsync(w, stop)))];

    protected override uint[] DrawUsers(Random random)
    {
        var users = new uint[ReadAtOnce];
        // users who come and go in this run, any registered user, and IDs of no user
        for (var i = 0; i < users.Length; i++)
        {
            users[i] = (i % 10) switch
            {
                < 6 => DrawUser(random),
                < 9 => (uint)random.NextInt64(_registered),
                _ => _registered + (uint)_watchers.Length + (uint)random.Next(SwarmOptions.NumbersOfNobody),
            };
        }

        return users;
    }

    protected override Task<ServerRecord[]> ReadAsync(Node node, uint[] users, CancellationToken stop) => node.ReadPackedAsync(users, stop);

    protected override int Look(double now, double held)
    {
        var online = 0;
        foreach (var user in _watched)
        {
            var standing = TruthOf(user)!.At(now, held);
            ref var looked = ref CollectionsMarshal.GetValueRefOrNullRef(_looked, user);
            if (standing.SurelySince is null != looked.SurelySince is null)
                Measures.Transitions.Add();
            looked = standing;
            online += standing.SurelySince is null ? 0 : 1;
        }

        return online;
    }

    // Returns a user whom the window reaches within this run; of a billion users, the window never reaches most.
    private uint DrawUser(Random random) =>
        _ring.UserAt(random.NextInt64(Math.Min(_registered, _ring.End((long)(Options.Seconds / _stepSeconds)))));

    // Starts a watcher when every active user has sent a heartbeat: when registering, or in the first interval.
    private async Task WatchAsync(Watcher watcher, CancellationToken stop)
    {
        await Clock.DelayAsync(_registrationCount > 0 ? 0 : Promises.Heartbeat, stop);
        await watcher.RunAsync(stop);
    }

    // All watchers start within one interval, as after a restart.
    private double DelayOf(int watcher) => watcher * Promises.Heartbeat / Options.Watchers;

    private Task SendLoopAsync(CancellationToken stop) =>
        Task.Factory.StartNew(() => SendLoop(stop), stop, TaskCreationOptions.LongRunning, TaskScheduler.Default);

    private void SendLoop(CancellationToken stop)
    {
        var numbers = new uint[StepUsers + 1];
        var began = Clock.Now;
        // a slow step delays the steps after it, and their latency includes the delay
        for (var step = 0; step < _steps.Length; step++)
        {
            var due = began + (step * _stepSeconds);
            var count = _ring.Fill(step, numbers);
            // rounded up to whole milliseconds, so that no step is early
            if (Math.Ceiling((due - Clock.Now) * 1000) is > 0 and var wait && stop.WaitHandle.WaitOne((int)wait))
                return;
            var sent = Clock.Now;
            _steps[step] = Step.On(sent);
            Volatile.Write(ref _stepCount, step + 1);
            var isAcknowledged = TrySend(Nodes[step % Nodes.Count], numbers.AsMemory(0, count), stop);
            var receivedAt = Clock.Now;
            Volatile.Write(ref _steps[step], new Step(sent, isAcknowledged ? receivedAt : receivedAt + Trailing, isAcknowledged));
            if (!isAcknowledged)
                continue;
            Measures.Heartbeats.Add(count);
            Measures.HeartbeatLatency.Add(receivedAt - due);
            if (due >= SteadyFrom)
                Measures.SteadyHeartbeatLatency.Add(receivedAt - due);
        }
    }

    private bool TrySend(Node node, ReadOnlyMemory<uint> users, CancellationToken stop)
    {
        try
        {
            node.Heartbeats(users, stop);
            return true;
        }
        catch (Exception lost) when (IsLoss(lost, stop))
        {
            Measures.CountError(lost);
            return false;
        }
    }
}
