using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text.Json;
using Aglow.Swarm.Changes;
using Aglow.Swarm.Claims;

namespace Aglow.Swarm;

/// <summary>
/// The common part of all runs (<see cref="PeopleRun"/>, <see cref="BulkRun"/>). It reads and judges statuses all the time. An auditor
/// looks for overdue changes once a second. The servers' CPU and memory are read every 5 s.
/// </summary>
internal abstract class SwarmRun : IDisposable
{
    private const double ServersEvery = 5;
    // A stall guard that ended shortly before may still affect answers on their way. If nodes share a store, their sweeps find the leases
    // that it held within the bound.
    private double HeldLingers => Promises.IsDisturbed ? Promises.Bound + 5 : 5;

    private readonly ConcurrentDictionary<Watches, byte> _listening = new();
    private readonly ConcurrentQueue<Sample> _samples = new();
    private readonly ConcurrentQueue<(double At, double Seconds)> _holds = new();
    private double _lag;

    protected SwarmRun(SwarmOptions options, SwarmClock clock, Promises promises)
    {
        Options = options;
        Clock = clock;
        Promises = promises;
        Nodes = [.. options.Urls.Select(static u => new Node(u))];
        Servers = new ServerUse(this);
    }

    public SwarmOptions Options { get; }

    public SwarmClock Clock { get; }

    public Promises Promises { get; }

    public IReadOnlyList<Node> Nodes { get; }

    public ServerUse Servers { get; }

    public Findings Findings { get; } = new();

    public Measures Measures { get; } = new();

    /// <summary>One line per second.</summary>
    public IReadOnlyCollection<Sample> Samples => _samples;

    /// <summary>How many users of <see cref="LookedAt"/> were surely online at the last check.</summary>
    public int Online { get; private set; }

    /// <summary>When all preparations were done.</summary>
    public double BeganAt { get; private set; }

    /// <summary>How long the run took.</summary>
    public double Seconds { get; private set; }

    /// <summary>From here on the figures are steady, because users from before the run have expired.</summary>
    public double SteadyFrom => BeganAt + Promises.Lease + Promises.Bound;

    /// <summary>The backends that follow changes.</summary>
    public virtual IReadOnlyList<Ledger> Ledgers => [];

    /// <summary>The participants of this run, in words.</summary>
    public abstract string Who { get; }

    /// <summary>The users whose online state the auditor knows, in words.</summary>
    public abstract string LookedAt { get; }

    /// <summary>The preparations, in words.</summary>
    public abstract string Preparing { get; }

    /// <summary>What <see cref="Measures.HeartbeatLatency"/> measures.</summary>
    public abstract string HeartbeatWhat { get; }

    /// <summary>By how many seconds this process runs late, as on a busy machine.</summary>
    public double Lag => Volatile.Read(ref _lag);

    /// <summary>The truth of a user; null for a user who is not part of the run.</summary>
    public abstract Truth? TruthOf(uint user);

    /// <summary>Whether the swarm sees when the user's devices act. Of a real client it sees only the state of the connection.</summary>
    public virtual bool SeesActs(uint user) => true;

    /// <summary>What is known of a user besides their acts.</summary>
    public virtual Personal PersonalOf(uint user) => Personal.Nothing;

    /// <summary>The claims of a user; null: the run sets none.</summary>
    public ClaimBook? ClaimsOf(uint user) => PersonalOf(user).Claims;

    /// <summary>The state of a watched user at the auditor's last check.</summary>
    public abstract Standing StandingOf(uint user);

    /// <summary>
    /// When a record came, with all uncertainty: this process's own lag, and expired leases that the server holds back.
    /// </summary>
    public RecordWindow WindowAt(double from, double to) => new(from - Lag, to, HeldAt(to));

    /// <summary>A wall-clock second as a moment of the run.</summary>
    public double MomentOf(long unix) => unix - Promises.UnixAtZero;

    /// <summary>Whether the network or the server caused a failure, as in real use.</summary>
    public static bool IsLoss(Exception failure, CancellationToken stop) =>
        !stop.IsCancellationRequested
        && failure is IOException or SocketException or HttpRequestException or OperationCanceledException or TimeoutException
            or ObjectDisposedException or JsonException;

    /// <summary>Does this, and counts a failure that the network or the server caused. False: it failed.</summary>
    public async Task<bool> TryAsync(Func<Task> act, CancellationToken stop)
    {
        try
        {
            await act();
            return true;
        }
        catch (Exception lost) when (IsLoss(lost, stop))
        {
            Measures.CountError(lost);
            return false;
        }
    }

    /// <summary>Formats a record as a line of a history.</summary>
    public static string Line(double at, ServerRecord record) =>
        $"{at,9:0.000} s  {record.Status}, last seen {(record.LastSeen is { } s ? s : "never")}";

    /// <summary>The watches of a new connection, which are audited until they are disposed.</summary>
    public Watches Listen(string watcher)
    {
        var watches = new Watches(this, watcher);
        _listening[watches] = 0;
        return watches;
    }

    /// <summary>Ends the audits of these watches.</summary>
    public void Forget(Watches watches) => _listening.TryRemove(watches, out _);

    /// <summary>Adds a violation, with both histories.</summary>
    public void Report(Verdict verdict, uint user, double at, string where, string[] received)
    {
        string[] did =
        [
            .. TruthOf(user)?.History().Select(static a => a.ToString()) ?? [], .. ClaimsOf(user)?.History() ?? [],
        ];
        Findings.Add(
            new Violation(
                verdict.Kind!.Value,
                user,
                at,
                where,
                verdict.Why,
                did,
                [.. received, $"(second 0 of the run is {Promises.UnixAtZero:0.000} by the server's clock)"]));
    }

    /// <summary>Runs for the requested time, or until <paramref name="stop"/>.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(stop);
        Task[] loops = [];
        try
        {
            await PrepareAsync(stop);
            BeganAt = Clock.Now;
            Func<CancellationToken, Task>[] bodies =
            [
                ReadLoopAsync,
                AuditLoopAsync,
                ServersLoopAsync,
                .. Nodes.Select(n => (Func<CancellationToken, Task>)(ending => HoldLoopAsync(n, ending))),
                .. Lives()
            ];
            loops = [.. bodies.Select(body => UntilOverAsync(body, ends.Token))];
            await Clock.UntilAsync(BeganAt + Options.Seconds + Options.QuietSeconds, stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // the report is written anyway
        }

        Audit(Clock.Now - Lag, isEnd: !stop.IsCancellationRequested);
        JudgeEnd(Clock.Now - Lag);
        await ends.CancelAsync();
        await EndAsync();
        await Task.WhenAll(loops);
        Seconds = Math.Round(Clock.Now - BeganAt, 1);
    }

    public void Dispose()
    {
        foreach (var node in Nodes)
            node.Dispose();
    }

    /// <summary>The preparations.</summary>
    protected abstract Task PrepareAsync(CancellationToken stop);

    /// <summary>The work until the end of the run.</summary>
    protected abstract IEnumerable<Func<CancellationToken, Task>> Lives();

    /// <summary>The time between two readings of statuses.</summary>
    protected abstract double ReadEvery { get; }

    /// <summary>Chooses the users whose statuses are read next.</summary>
    protected abstract uint[] DrawUsers(Random random);

    /// <summary>Reads the statuses of these users.</summary>
    protected abstract Task<ServerRecord[]> ReadAsync(Node node, uint[] users, CancellationToken stop);

    /// <summary>The checks at the end, before the loops are canceled.</summary>
    protected virtual void JudgeEnd(double now)
    {
    }

    /// <summary>The last work, after the loops are canceled.</summary>
    protected virtual Task EndAsync() => Task.CompletedTask;

    /// <summary>Updates the results of <see cref="StandingOf"/>; returns how many users are surely online.</summary>
    protected abstract int Look(double now, double held);

    private static async Task UntilOverAsync(Func<CancellationToken, Task> body, CancellationToken stop)
    {
        try
        {
            await body(stop);
        }
        catch (OperationCanceledException) when (stop.IsCancellationRequested)
        {
            // the run is over
        }
    }

    private async Task ReadLoopAsync(CancellationToken stop)
    {
        var random = new Random(Options.Seed + 1);
        for (var next = Clock.Now; ; next = Math.Max(next + ReadEvery, Clock.Now - 1))
        {
            await Clock.UntilAsync(next, stop);
            if (!await TryAsync(() => CheckAsync(Nodes[random.Next(Nodes.Count)], DrawUsers(random), stop), stop))
                await Clock.DelayAsync(1, stop);
        }
    }

    private async Task CheckAsync(Node node, uint[] users, CancellationToken stop)
    {
        var asked = Clock.Now;
        var records = await ReadAsync(node, users, stop);
        var answered = Clock.Now;
        Measures.ReadLatency.Add(answered - asked);
        var when = new RecordWindow(asked, answered, HeldAt(answered));
        for (var i = 0; i < users.Length; i++)
        {
            var verdict = Judge.OfRecord(TruthOf(users[i])!, Promises, records[i], when, PersonalOf(users[i]));
            Findings.CountRead(verdict.WasDecisive);
            if (verdict.Kind is not null)
                Report(verdict, users[i], answered, $"read at {node.Address.Authority}", [Line(answered, records[i])]);
        }
    }

    private async Task AuditLoopAsync(CancellationToken stop)
    {
        long deliveries = 0, transitions = 0, heartbeats = 0;
        var last = Clock.Now;
        while (true)
        {
            await Clock.UntilAsync(last + 1, stop);
            var now = Clock.Now;
            // if this process wakes late, it reads late, so its judgement is less exact for some seconds
            Volatile.Write(ref _lag, Math.Max(now - last - 1, Lag - 0.2));
            Audit(now - Lag, isEnd: false);
            var seconds = now - last;
            _samples.Enqueue(new Sample(
                At: Math.Round(now - BeganAt, 3),
                Online,
                Heartbeats: Math.Round((Measures.Heartbeats - heartbeats) / seconds, 1),
                Transitions: Math.Round((Measures.Transitions - transitions) / seconds, 1),
                Deliveries: Math.Round((Measures.Deliveries - deliveries) / seconds, 1),
                NoticeP50Ms: Milliseconds(Measures.NoticeLatency, 0.5),
                NoticeP99Ms: Milliseconds(Measures.NoticeLatency, 0.99),
                HeartbeatP99Ms: Milliseconds(Measures.HeartbeatLatency, 0.99),
                Servers.CpuPercent,
                Servers.Megabytes,
                Measures.Errors,
                Findings.Count));
            (deliveries, transitions, heartbeats, last) = (Measures.Deliveries, Measures.Transitions, Measures.Heartbeats, now);
        }
    }

    private void Audit(double now, bool isEnd)
    {
        Online = Look(now, HeldAt(now));
        foreach (var (watches, _) in _listening)
            watches.Audit(now, isEnd);
    }

    // Reads the server's report of its stalls: while it holds expired leases back, a user who is still online is no violation. If a shard
    // of its store was away, it holds back the leases of some pages. A metric tells that, but not since when.
    private async Task HoldLoopAsync(Node node, CancellationToken stop)
    {
        double? since = null;
        while (true)
        {
            await TryAsync(ReadAsync, stop);
            await Clock.DelayAsync(1, stop);
        }

        async Task ReadAsync()
        {
            if (await node.ClockAsync(Options.First, stop) is { } clock && clock.Now > clock.CountedAgainst)
                _holds.Enqueue((Clock.Now, clock.Now - clock.CountedAgainst));
            if (Promises.IsDisturbed)
            {
                var isHolding = (await node.MetricsAsync(stop)).GetValueOrDefault("aglow_stall_guard_in_force") > 0;
                since = isHolding ? since ?? Clock.Now : null;
                if (since is { } began)
                    _holds.Enqueue((Clock.Now, Clock.Now - began));
            }

            while (_holds.TryPeek(out var oldest) && oldest.At < Clock.Now - HeldLingers - 10)
                _holds.TryDequeue(out _);
        }
    }

    private async Task ServersLoopAsync(CancellationToken stop)
    {
        while (true)
        {
            await TryAsync(() => Servers.ReadAsync(stop), stop);
            await Clock.DelayAsync(ServersEvery, stop);
        }
    }

    /// <summary>For how many seconds the server held expired leases back at this time.</summary>
    public double HeldAt(double now)
    {
        var held = 0.0;
        foreach (var (at, seconds) in _holds)
        {
            if (at >= now - HeldLingers)
                held = Math.Max(held, seconds + HeldLingers);
        }

        return held;
    }

    private static double Milliseconds(Latencies latencies, double share) =>
        latencies.Count == 0 ? 0 : Math.Round(latencies.Quantile(share) * 1000, 2);
}
