using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Benchmarks;

/// <summary>One run of a benchmark: it has the settings, and writes the figures to the terminal and to JSON.</summary>
internal sealed class Run
{
    private static readonly JsonSerializerOptions Indented = new()
    {
        WriteIndented = true,
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        // a lag is infinite if a message never came
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    private readonly Benchmark _benchmark;
    private readonly Machine _machine = Machine.This();
    private readonly DateTimeOffset _startedAt = DateTimeOffset.UtcNow;
    private readonly List<Figure> _figures = [];
    private readonly List<object> _legs = [];
    private readonly List<string> _notes = [];

    /// <summary>Begins a run: prints what is measured, and on which machine.</summary>
    public Run(Benchmark benchmark, Settings settings)
    {
        _benchmark = benchmark;
        Settings = settings;
        Console.WriteLine($"{benchmark.Name}: {benchmark.Measures}");
        Console.WriteLine(_machine);
#if DEBUG
        Note("built for debugging: no figure of this run counts; build with -c Release, as ./aglow bench does");
#endif
    }

    /// <summary>The options.</summary>
    public Settings Settings { get; }

    /// <summary>The number of pairs per ratio.</summary>
    public long PairCount => Settings.Number("pairs");

    /// <summary>Runs those of the parts that <c>--parts</c> names, in this order.</summary>
    public async Task RunPartsAsync(params (string Name, Func<Task> RunAsync)[] parts)
    {
        var chosen = Settings.Choices("parts", [.. parts.Select(static part => part.Name)]);
        foreach (var part in parts.Where(part => chosen.Contains(part.Name)))
            await part.RunAsync();
    }

    /// <summary>Prints progress on the terminal; not part of the result.</summary>
    public void Progress(string doing) => Console.WriteLine($"  {DateTimeOffset.UtcNow - _startedAt:mm\\:ss} {doing}");

    /// <summary>Adds a sentence that explains the figures.</summary>
    public void Note(string note)
    {
        _notes.Add(note);
        Progress(note);
    }

    /// <summary>Adds a figure of samples.</summary>
    public void Add(string name, string unit, IReadOnlyList<double> samples, Goal? goal = null)
    {
        var figure = Figure.Of(name, unit, samples, goal);
        _figures.Add(figure);
        Progress($"{name}: {Table.Number(figure.Value.Median)} {unit}");
    }

    /// <summary>
    /// Adds the results of pairs: the ratio of A's cost to B's, and each leg's CPU and rate. With <paramref name="inverse"/> it is the
    /// ratio of B's to A's: how many times A is faster.
    /// </summary>
    /// <param name="name">The name of the ratio.</param>
    /// <param name="pairs">The samples.</param>
    /// <param name="operation">The word for an operation.</param>
    /// <param name="goal">The goal of the ratio.</param>
    /// <param name="inverse">B over A instead of A over B.</param>
    /// <param name="cost">What is compared; by default <see cref="Sample.CpuNanoseconds"/>.</param>
    public void Add(
        string name, Pairs pairs, string operation, Goal? goal = null, bool inverse = false, Func<Sample, double>? cost = null)
    {
        var ratios = pairs.Ratios(cost ?? (static sample => sample.CpuNanoseconds));
        Add(name, "ratio", inverse ? [.. ratios.Select(r => 1 / r)] : ratios, goal);
        AddLeg(pairs.A.Name, pairs.SamplesA, operation);
        AddLeg(pairs.B.Name, pairs.SamplesB, operation);
    }

    /// <summary>Adds one leg's CPU and rate.</summary>
    public void AddLeg(string name, IReadOnlyList<Sample> samples, string operation)
    {
        _legs.Add(new { name, operation, samples });
        _figures.Add(Figure.Of($"  {name}", $"CPU ns/{operation}", [.. samples.Select(s => s.CpuNanoseconds)]));
        var many = operation.EndsWith('y') ? $"{operation[..^1]}ies" : $"{operation}s";
        _figures.Add(Figure.Of($"  {name}", $"{many}/s", [.. samples.Select(s => s.Rate)]));
        _figures.Add(Figure.Of($"  {name}", "cores busy", [.. samples.Select(s => s.CoresBusy)]));
    }

    /// <summary>Ends the run: prints the table and writes the JSON.</summary>
    public void Finish()
    {
        Console.WriteLine();
        Table.Write(Console.Out, _figures);
        foreach (var note in _notes)
            Console.WriteLine($"- {note}");

        var file = Settings.Text("json");
        if (file.Length == 0)
            file = Path.Combine(Machine.Root(), "out", "bench", _benchmark.Name + ".json");
        Directory.CreateDirectory(Path.GetDirectoryName(Path.GetFullPath(file))!);
        var record = new
        {
            benchmark = _benchmark.Name,
            measures = _benchmark.Measures,
            started_at = _startedAt,
            seconds = (DateTimeOffset.UtcNow - _startedAt).TotalSeconds,
            machine = _machine,
            settings = Settings.All,
            figures = _figures,
            legs = _legs,
            notes = _notes,
        };
        File.WriteAllText(file, JsonSerializer.Serialize(record, Indented) + "\n");
        Console.WriteLine($"samples: {Path.GetRelativePath(Environment.CurrentDirectory, file)}");
    }
}
