using System.Collections.Concurrent;
using System.Net.Sockets;
using System.Text.Json;

namespace Aglow.Swarm;

/// <summary>
/// A run: everybody lives through the plan, some read statuses all the while, and an auditor looks once a second for what should have been told.
/// </summary>
internal sealed class SwarmRun : IDisposable
{
    private const int ReadAtOnce = 200;
    private const double ReadEvery = 0.25;
    // a stall guard that ended a moment ago may still be in what is on its way
    private const double HeldLingers = 5;

    private readonly Random _random;
    private readonly Plan _plan;
    private readonly uint _first;
    private readonly Person[] _people;
    private readonly Standing[] _standings;
    private readonly ConcurrentDictionary<Watches, byte> _listening = new();
    private readonly ConcurrentQueue<Sample> _samples = new();
    private readonly ConcurrentQueue<(double At, double Seconds)> _holds = new();
    private double _lag;
    private readonly double _unixAtZero;

    public SwarmRun(SwarmOptions options, SwarmClock clock, Promises promises, double unixAtZero)
    {
        Clock = clock;
        Promises = promises;
        Options = options;
        _unixAtZero = unixAtZero;
        _first = options.First;
        _random = new Random(options.Seed);
        Nodes = [.. options.Urls.Select(static u => new Node(u))];
        _plan = Plan.Draw(options.People, options.Seconds, Nodes.Count, options.Seed);
        _people = [.. _plan.People.Select(p => new Person(this, p, UserOf(p.Person)))];
        _standings = new Standing[_people.Length];
        Array.Fill(_standings, new Standing(null, double.NegativeInfinity, IsPossible: true));
    }

    public SwarmOptions Options { get; }

    public SwarmClock Clock { get; }

    public Promises Promises { get; }

    public IReadOnlyList<Node> Nodes { get; }

    public Findings Findings { get; } = new();

    public Measures Measures { get; } = new();

    /// <summary>A line a second.</summary>
    public IReadOnlyCollection<Sample> Samples => _samples;

    /// <summary>People surely online, as of the last look.</summary>
    public int Online { get; private set; }

    /// <summary>The number of a person.</summary>
    public uint UserOf(int person) => _first + (uint)person;

    /// <summary>The truth of a user; null: none of ours.</summary>
    public Truth? TruthOf(uint user) => user - _first < _people.Length ? _people[user - _first].Truth : null;

    /// <summary>How a user stood at the auditor's last look.</summary>
    public Standing StandingOf(uint user) => _standings[user - _first];

    /// <summary>A factor that keeps heartbeats from marching in step: 0.8 to 1.</summary>
    public double Jitter()
    {
        lock (_random)
            return 0.8 + (0.2 * _random.NextDouble());
    }

    /// <summary>When something was told, with all that blurs it: our own lag, and the server's holding back.</summary>
    public Telling TellingAt(double from, double to) => new(from - Volatile.Read(ref _lag), to, HeldAt(to), _unixAtZero);

    /// <summary>Whether a failure is the network's or the server's: what happens to people.</summary>
    public static bool IsLoss(Exception failure, CancellationToken stop) =>
        !stop.IsCancellationRequested
        && failure is IOException or SocketException or HttpRequestException or OperationCanceledException or TimeoutException or ObjectDisposedException or JsonException;

    /// <summary>A line of what was told.</summary>
    public static string Line(double at, Told told) => $"{at,9:0.000} s  {told.Status}, last seen {(told.LastSeen is { } s ? s : "never")}";

    /// <summary>These watches are audited until the return value is disposed of.</summary>
    public IDisposable Listen(Watches watches)
    {
        _listening[watches] = 0;
        return new Listening(this, watches);
    }

    /// <summary>Keeps a violation, with both histories.</summary>
    public void Report(Verdict verdict, uint user, double at, string where, string[] told)
    {
        string[] did = [.. TruthOf(user)!.History().Select(static a => a.ToString())];
        Findings.Add(new Violation(verdict.Kind!.Value, user, at, where, verdict.Why, did, [.. told, $"(second 0 of the run is {_unixAtZero:0.000} by the server's clock)"]));
    }

    /// <summary>Runs for the time asked for, or until <paramref name="stop"/>.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        await ReadWhatWasBeforeAsync(stop);
        using var ends = CancellationTokenSource.CreateLinkedTokenSource(stop);
        Task[] loops = [ReadLoopAsync(ends.Token), AuditLoopAsync(ends.Token), .. Nodes.Select(n => HoldLoopAsync(n, ends.Token)), .. _people.Select(p => p.RunAsync(ends.Token))];
        try
        {
            await Clock.UntilAsync(Options.Seconds, stop);
        }
        catch (OperationCanceledException)
        {
            // a report is made all the same
        }

        Audit(Clock.Now - Volatile.Read(ref _lag), isEnd: !stop.IsCancellationRequested);
        await ends.CancelAsync();
        await Task.WhenAll(loops);
    }

    public void Dispose()
    {
        foreach (var node in Nodes)
            node.Dispose();
    }

    // An earlier run may have had the same numbers.
    private async Task ReadWhatWasBeforeAsync(CancellationToken stop)
    {
        for (var from = 0; from < _people.Length; from += 5000)
        {
            uint[] users = [.. Enumerable.Range(from, Math.Min(5000, _people.Length - from)).Select(UserOf)];
            var told = await Nodes[0].ReadAsync(users, stop);
            for (var i = 0; i < users.Length; i++)
            {
                if (told[i].LastSeen is { } second)
                    _people[from + i].Truth.Add(new Act(ActKind.Before, 0, second - _unixAtZero, second - _unixAtZero + 1, IsSure: false));
            }
        }
    }

    private async Task ReadLoopAsync(CancellationToken stop)
    {
        var random = new Random(Options.Seed + 1);
        try
        {
            for (var next = Clock.Now; ; next += ReadEvery)
            {
                await Clock.UntilAsync(next, stop);
                var users = new HashSet<uint>();
                while (users.Count < Math.Min(ReadAtOnce, _people.Length))
                    users.Add(UserOf(random.Next(_people.Length)));
                try
                {
                    await ReadAsync(Nodes[random.Next(Nodes.Count)], [.. users], stop);
                }
                catch (Exception lost) when (IsLoss(lost, stop))
                {
                    Measures.CountError(lost);
                    await Clock.DelayAsync(1, stop);
                }

                next = Math.Max(next, Clock.Now - 1);
            }
        }
        catch (OperationCanceledException)
        {
            // the run is over
        }
    }

    private async Task ReadAsync(Node node, uint[] users, CancellationToken stop)
    {
        var asked = Clock.Now;
        var told = await node.ReadAsync(users, stop);
        var answered = Clock.Now;
        Measures.ReadLatency.Add(answered - asked);
        var when = new Telling(asked, answered, HeldAt(answered), _unixAtZero);
        for (var i = 0; i < users.Length; i++)
        {
            var verdict = Judge.OfTelling(TruthOf(users[i])!, Promises, told[i], when);
            Findings.CountRead(verdict.WasDecisive);
            if (verdict.Kind is not null)
                Report(verdict, users[i], answered, $"read at {node.Address.Authority}", [Line(answered, told[i])]);
        }
    }

    private async Task AuditLoopAsync(CancellationToken stop)
    {
        long deliveries = 0, transitions = 0;
        var last = Clock.Now;
        try
        {
            while (true)
            {
                await Clock.UntilAsync(last + 1, stop);
                var now = Clock.Now;
                // a process that wakes late reads late: what it holds against others is that much less exact, for some seconds
                Volatile.Write(ref _lag, Math.Max(now - last - 1, Volatile.Read(ref _lag) - 0.2));
                Audit(now - Volatile.Read(ref _lag), isEnd: false);
                var seconds = now - last;
                _samples.Enqueue(new Sample(
                    Math.Round(now, 3), Online, (Measures.Transitions - transitions) / seconds, (Measures.Deliveries - deliveries) / seconds,
                    Milliseconds(Measures.NoticeLatency, 0.5), Milliseconds(Measures.NoticeLatency, 0.99), Milliseconds(Measures.HeartbeatLatency, 0.99), Measures.Errors, Findings.Count));
                (deliveries, transitions, last) = (Measures.Deliveries, Measures.Transitions, now);
            }
        }
        catch (OperationCanceledException)
        {
            // the run is over
        }
    }

    private void Audit(double now, bool isEnd)
    {
        var held = HeldAt(now);
        var online = 0;
        for (var i = 0; i < _people.Length; i++)
        {
            var standing = _people[i].Truth.At(now, held);
            if (standing.SurelySince is null != _standings[i].SurelySince is null)
                Measures.CountTransition();
            _standings[i] = standing;
            online += standing.SurelySince is null ? 0 : 1;
        }

        Online = online;
        foreach (var (watches, _) in _listening)
            watches.Audit(now, isEnd);
    }

    // What the server says of its own stalls: while it holds lapses back, nobody is a ghost for it.
    private async Task HoldLoopAsync(Node node, CancellationToken stop)
    {
        try
        {
            while (true)
            {
                try
                {
                    if (await node.ClockAsync(UserOf(0), stop) is { } clock && clock.Now > clock.CountedAgainst)
                        _holds.Enqueue((Clock.Now, clock.Now - clock.CountedAgainst));
                    while (_holds.TryPeek(out var oldest) && oldest.At < Clock.Now - HeldLingers - 10)
                        _holds.TryDequeue(out _);
                }
                catch (Exception lost) when (IsLoss(lost, stop))
                {
                    Measures.CountError(lost);
                }

                await Clock.DelayAsync(1, stop);
            }
        }
        catch (OperationCanceledException)
        {
            // the run is over
        }
    }

    private double HeldAt(double now)
    {
        var held = 0.0;
        foreach (var (at, seconds) in _holds)
        {
            if (at >= now - HeldLingers)
                held = Math.Max(held, seconds + HeldLingers);
        }

        return held;
    }

    private static double Milliseconds(Latencies latencies, double share) => latencies.Count == 0 ? 0 : latencies.Quantile(share) * 1000;

    private sealed class Listening(SwarmRun swarm, Watches watches) : IDisposable
    {
        public void Dispose()
        {
            watches.End();
            swarm._listening.TryRemove(watches, out _);
        }
    }
}
