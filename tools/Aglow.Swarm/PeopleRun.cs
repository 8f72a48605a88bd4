using Aglow.Swarm.Changes;
using Aglow.Swarm.Clients;

namespace Aglow.Swarm;

/// <summary>A run of people. Each follows the plan on their own devices.</summary>
internal sealed class PeopleRun : SwarmRun
{
    private const int ReadAtOnce = 200;
    private const int ReadBeforeAtOnce = 5_000;
    private const int FollowsOfClients = 10;

    private readonly Random _random;
    private readonly uint _first;
    private readonly Person[] _people;
    private readonly Standing[] _standings;
    private readonly Backends _backends;
    private readonly ClientPerson[] _clients;
    private readonly NodeClients? _node;

    public PeopleRun(SwarmOptions options, SwarmClock clock, Promises promises)
        : base(options, clock, promises)
    {
        _first = options.First;
        _random = new Random(options.Seed);
        _people = [.. Plan.Draw(options.People, options.Seconds, Nodes.Count, options.Seed, options.QuietSeconds > 0).Select(
            p => new Person(this, p, UserOf(p.Person)))];
        _backends = new Backends(this);
        _node = options.Clients > 0 ? new NodeClients() : null;
        _clients = [.. Enumerable.Range(0, 2 * options.Clients).Select(NewClient)];
        _standings = new Standing[_people.Length + (2 * options.Clients)];
        Array.Fill(_standings, new Standing(null, double.NegativeInfinity, IsPossible: true));
    }

    public override string Who => $"{View.Number(_people.Length)} people{(_clients.Length == 0 ? ""
        : $" and {View.Number(_clients.Length)} with real clients")}";

    public override IReadOnlyList<Ledger> Ledgers => _backends.Ledgers;

    public override string LookedAt => View.Number(_people.Length);

    public override string Preparing => "asking what was before";

    public override string HeartbeatWhat => "heartbeat over HTTP";

    protected override double ReadEvery => 0.25;

    /// <summary>The user ID of a person.</summary>
    public uint UserOf(int person) => _first + (uint)person;

    public override Truth? TruthOf(uint user) => user < _first ? null
        : user - _first < _people.Length ? _people[user - _first].Truth
        : user - _first < _standings.Length ? _clients[user - _first - _people.Length].Deeds.Truth
        : null;

    public override bool SeesActs(uint user) => user - _first < _people.Length;

    public override Personal PersonalOf(uint user) => user - _first < _people.Length ? _people[user - _first].Personal : Personal.Nothing;

    public override Standing StandingOf(uint user) => _standings[user - _first];

    /// <summary>A factor from 0.8 to 1 that keeps heartbeats from synchronizing.</summary>
    public double Jitter()
    {
        lock (_random)
            return 0.8 + (0.2 * _random.NextDouble());
    }

    // Reads last seen before the run, because an earlier run may have used the same user IDs.
    protected override async Task PrepareAsync(CancellationToken stop)
    {
        for (var from = 0; from < _people.Length; from += ReadBeforeAtOnce)
        {
            uint[] users = [.. Enumerable.Range(from, Math.Min(ReadBeforeAtOnce, _people.Length - from)).Select(UserOf)];
            var records = await Nodes[0].ReadAsync(users, stop);
            for (var i = 0; i < users.Length; i++)
            {
                if (records[i].LastSeen is { } second)
                    _people[from + i].Deeds.Add(new Act(ActKind.Before, 0, MomentOf(second), MomentOf(second) + 1, IsSure: false));
            }
        }

        await _backends.BeginAsync(stop);
    }

    protected override IEnumerable<Func<CancellationToken, Task>> Lives() =>
    [
        .. _backends.Lives(),
        .. _clients.Select(c => (Func<CancellationToken, Task>)c.RunAsync),
        .. _people.Select(p => (Func<CancellationToken, Task>)p.RunAsync),
    ];

    protected override void JudgeEnd(double now) => _backends.JudgeEnd(now);

    protected override async Task EndAsync()
    {
        await _backends.EndAsync();
        _node?.Dispose();
        _backends.Dispose();
    }

    protected override uint[] DrawUsers(Random random)
    {
        var users = new HashSet<uint>();
        while (users.Count < Math.Min(ReadAtOnce, _standings.Length))
            users.Add(UserOf(random.Next(_standings.Length)));
        return [.. users];
    }

    protected override Task<ServerRecord[]> ReadAsync(Node node, uint[] users, CancellationToken stop) => node.ReadAsync(users, stop);

    // These clients watch the people and each other. Every other one is the .NET client, the rest are JavaScript clients.
    private ClientPerson NewClient(int number)
    {
        var random = new Random(Options.Seed + number);
        uint[] follows =
        [
            .. Enumerable.Range(0, FollowsOfClients).Select(i =>
                UserOf(i % 2 == 0 ? random.Next(_people.Length) : _people.Length + random.Next(2 * Options.Clients))).Distinct(),
        ];
        var node = random.Next(Nodes.Count);
        Func<IRealClient> create = number % 2 == 0 ? static () => new DotnetClient() : _node!.Create;
        return new ClientPerson(this, create, UserOf(_people.Length + number), node, follows, number);
    }

    protected override int Look(double now, double held)
    {
        var online = 0;
        for (var i = 0; i < _standings.Length; i++)
        {
            var standing = i < _people.Length ? _people[i].StandingAt(now, held) : _clients[i - _people.Length].Deeds.Truth.At(now, held);
            if (standing.SurelySince is null != _standings[i].SurelySince is null)
                Measures.Transitions.Add();
            _standings[i] = standing;
            _backends.Note(i, standing, now);
            online += standing.SurelySince is null ? 0 : 1;
        }

        return online;
    }
}
