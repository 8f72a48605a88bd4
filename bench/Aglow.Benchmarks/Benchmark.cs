namespace Aglow.Benchmarks;

/// <summary>One command's worth of figures. Add yours to the list in Program.cs.</summary>
internal abstract class Benchmark
{
    /// <summary>What is written after <c>./aglow bench</c>.</summary>
    public abstract string Name { get; }

    /// <summary>One line: what is measured.</summary>
    public abstract string Measures { get; }

    /// <summary>The options of this benchmark.</summary>
    public abstract IReadOnlyList<Option> Options { get; }

    /// <summary>How many pairs each ratio is taken from, unless told otherwise: 15 for a figure in a document.</summary>
    public virtual int DefaultPairs => 15;

    /// <summary>Its own options, and those that all have.</summary>
    public IReadOnlyList<Option> AllOptions =>
    [
        .. Options,
        new Option("pairs", DefaultPairs.ToString(), "pairs a ratio is taken from: 5 for a quick look, 15 for a document"),
        new Option("json", "", $"where the samples go; default out/bench/{Name}.json"),
    ];

    /// <summary>Measures, and gives its figures to <paramref name="run"/> as they come.</summary>
    public abstract Task RunAsync(Run run);
}

/// <summary>An option, written <c>--name value</c>.</summary>
internal sealed record Option(string Name, string Default, string Meaning);

/// <summary>A command line that cannot be right; the message is one line that says what to write instead. Exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>A benchmark that cannot go on, or whose work went missing; the message is one line. Exit code 1.</summary>
internal sealed class BenchmarkException(string message) : Exception(message);
