namespace Aglow.Swarm;

/// <summary>A run of people. Each follows the plan on their own devices.</summary>
internal sealed class PeopleRun : SwarmRun
{
    private const int ReadAtOnce = 200;
    private const int AskedBeforeAtOnce = 5_000;

    private readonly Random _random;
    private readonly uint _first;
    private readonly Person[] _people;
    private readonly Standing[] _standings;

    public PeopleRun(SwarmOptions options, SwarmClock clock, Promises promises, double unixAtZero)
        : base(options, clock, promises, unixAtZero)
    {
        _first = options.First;
        _random = new Random(options.Seed);
        _people = [.. Plan.Draw(options.People, options.Seconds, Nodes.Count, options.Seed).People.Select(
            p => new Person(this, p, UserOf(p.Person)))];
        _standings = new Standing[_people.Length];
        Array.Fill(_standings, new Standing(null, double.NegativeInfinity, IsPossible: true));
    }

    public override string Who => $"{View.Number(_people.Length)} people";

    public override string LookedAt => View.Number(_people.Length);

    public override string Preparing => "asking what was before";

    public override string HeartbeatWhat => "heartbeat over HTTP";

    protected override double ReadEvery => 0.25;

    /// <summary>The user ID of a person.</summary>
    public uint UserOf(int person) => _first + (uint)person;

    public override Truth? TruthOf(uint user) => user - _first < _people.Length ? _people[user - _first].Truth : null;

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
        for (var from = 0; from < _people.Length; from += AskedBeforeAtOnce)
        {
            uint[] users = [.. Enumerable.Range(from, Math.Min(AskedBeforeAtOnce, _people.Length - from)).Select(UserOf)];
            var told = await Nodes[0].ReadAsync(users, stop);
            for (var i = 0; i < users.Length; i++)
            {
                if (told[i].LastSeen is { } second)
                    _people[from + i].Truth.Add(new Act(ActKind.Before, 0, MomentOf(second), MomentOf(second) + 1, IsSure: false));
            }
        }
    }

    protected override IEnumerable<Func<CancellationToken, Task>> Lives() => _people.Select(p => (Func<CancellationToken, Task>)p.RunAsync);

    protected override uint[] DrawUsers(Random random)
    {
        var users = new HashSet<uint>();
        while (users.Count < Math.Min(ReadAtOnce, _people.Length))
            users.Add(UserOf(random.Next(_people.Length)));
        return [.. users];
    }

    protected override Task<Told[]> ReadAsync(Node node, uint[] users, CancellationToken stop) => node.ReadAsync(users, stop);

    protected override int Look(double now, double held)
    {
        var online = 0;
        for (var i = 0; i < _people.Length; i++)
        {
            var standing = _people[i].Truth.At(now, held);
            if (standing.SurelySince is null != _standings[i].SurelySince is null)
                Measures.CountTransition();
            _standings[i] = standing;
            online += standing.SurelySince is null ? 0 : 1;
        }

        return online;
    }
}
