using System.Diagnostics;

namespace Aglow.Fuzz;

/// <summary>
/// Feeds the targets in turn: with inputs by their grammar, and with variations of inputs that caused new behaviour. One task owns it,
/// except for the data that the watchdog reads.
/// </summary>
internal sealed class Worker
{
    // kept inputs per target: enough for several inputs of each behaviour
    private const int MostKept = 2048;

    // longer inputs are varied less often, because copying dominates
    private const int LongestKept = 4096;

    private readonly Dice _dice;
    private readonly Findings _findings;
    private readonly Func<string?> _serverError;
    private readonly InputWriter _input = new();
    private byte[] _ruleInput = [];
    private Target? _ruleTarget;
    private long _ruleBeganAt;

    public Worker(
        int seed, IReadOnlyList<(Target Target, IReadOnlyList<byte[]> Corpus)> targets, Findings findings, Func<string?> takeServerError)
    {
        _dice = new Dice(seed);
        _findings = findings;
        _serverError = takeServerError;
        Pools = [.. targets.Select(static t => new Pool(t.Target, t.Corpus))];
    }

    /// <summary>What it has fed so far. Other threads may read the counts at any time, the rest only between turns.</summary>
    public IReadOnlyList<Pool> Pools { get; }

    /// <summary>Feeds each target its number of inputs.</summary>
    public async Task TurnAsync()
    {
        foreach (var pool in Pools)
        {
            var beganAt = Stopwatch.GetTimestamp();
            if (pool.Target is RuleTarget rule)
                FeedRule(rule, pool);
            else
                await FeedConnectionsAsync((ConnectionTarget)pool.Target, pool);
            pool.Took += Stopwatch.GetElapsedTime(beganAt);
        }
    }

    /// <summary>For the watchdog: a rule that has not returned within <paramref name="limit"/>, and its input.</summary>
    public (Target Target, byte[] Input)? Stuck(TimeSpan limit)
    {
        var beganAt = Volatile.Read(ref _ruleBeganAt);
        return beganAt != 0 && Stopwatch.GetElapsedTime(beganAt) > limit ? (_ruleTarget!, _ruleInput) : null;
    }

    private void FeedRule(RuleTarget target, Pool pool)
    {
        _ruleTarget = target;
        for (var i = 0; i < target.PerTurn; i++)
        {
            _ruleInput = Make(pool);
            Volatile.Write(ref _ruleBeganAt, Stopwatch.GetTimestamp());
            try
            {
                pool.Learn(target.Run(_ruleInput), _ruleInput);
            }
            catch (Exception failure)
            {
                _findings.Add(target, _ruleInput, failure);
            }

            Volatile.Write(ref _ruleBeganAt, 0);
        }
    }

    private async Task FeedConnectionsAsync(ConnectionTarget target, Pool pool)
    {
        byte[][] inputs = [.. Enumerable.Range(0, target.PerTurn).Select(_ => Make(pool))];
        // the order of the inputs determines the order of learning, so the seed alone decides
        var fed = inputs.Select(input => FeedAsync(target, input)).ToArray();
        for (var i = 0; i < fed.Length; i++)
        {
            if (await fed[i] is { } behaviour)
                pool.Learn(behaviour, inputs[i]);
        }

        if (_serverError() is { } error)
            await BlameAsync(target, inputs, error);
    }

    private async Task<int?> FeedAsync(ConnectionTarget target, byte[] input)
    {
        try
        {
            return await target.RunAsync(input);
        }
        catch (Exception failure)
        {
            _findings.Add(target, input, failure);
            return null;
        }
    }

    // The server logged an error because of one of these inputs: sends them one at a time to find it.
    private async Task BlameAsync(ConnectionTarget target, byte[][] inputs, string error)
    {
        foreach (var input in inputs)
        {
            await FeedAsync(target, input);
            if (_serverError() is not { } again)
                continue;
            _findings.Add(target, input, new FindingException($"the server logs an error: {again}"));
            return;
        }

        _findings.Add(target, [], new FindingException($"the server logged an error once, for one of {inputs.Length} inputs: {error}"));
    }

    private byte[] Make(Pool pool)
    {
        // the inputs of the corpus come first, unchanged
        var number = pool.Count++;
        if (number < pool.Corpus.Count)
            return pool.Corpus[(int)number];
        _input.Clear();
        if (pool.Known.Count == 0 || _dice.OneIn(2))
            pool.Target.Make(_dice, _input);
        else
            Mutation.Vary(pool.Known[_dice.Below(pool.Known.Count)], pool.Known[_dice.Below(pool.Known.Count)], _dice, _input);
        return _input.Written.ToArray();
    }

    /// <summary>The known inputs of a target.</summary>
    internal sealed class Pool(Target target, IReadOnlyList<byte[]> corpus)
    {
        private readonly HashSet<int> _behaviours = [];

        /// <summary>The number of inputs so far.</summary>
        public long Count { get; set; }

        public Target Target => target;

        public IReadOnlyList<byte[]> Corpus => corpus;

        public TimeSpan Took { get; set; }

        /// <summary>The inputs to vary.</summary>
        public List<byte[]> Known { get; } = [.. corpus];

        /// <summary>The inputs that caused new behaviour, and are not in the corpus.</summary>
        public List<byte[]> Found { get; } = [];

        public void Learn(int behaviour, byte[] input)
        {
            if (_behaviours.Count >= MostKept || input.Length > LongestKept || !_behaviours.Add(behaviour) || corpus.Contains(input))
                return;
            Known.Add(input);
            Found.Add(input);
        }
    }
}

/// <summary>The findings, only a few of each kind. Any thread.</summary>
internal sealed class Findings(string? corpusFolder)
{
    private const int Most = 20;

    private readonly Lock _lock = new();
    private readonly Dictionary<string, (Target Target, byte[] Input, string Message)> _found = new(StringComparer.Ordinal);

    public IReadOnlyList<(Target Target, byte[] Input, string Message)> All
    {
        get
        {
            lock (_lock)
                return [.. _found.Values];
        }
    }

    /// <summary>Keeps a finding if it is the first of its kind, and adds its input to the corpus.</summary>
    public void Add(Target target, byte[] input, Exception failure)
    {
        var message = failure is FindingException ? failure.Message : failure.ToString();
        // the same fault has other bytes in its message each time
        var kind = $"{target.Name} {new string([.. message.Where(char.IsLetter).Take(60)])}";
        lock (_lock)
        {
            if (_found.Count >= Most || !_found.TryAdd(kind, (target, input, message)) || corpusFolder is null || input.Length == 0)
                return;
            Corpus.Add(corpusFolder, target, $"found: {message.Split('\n')[0]}", input);
        }
    }
}
