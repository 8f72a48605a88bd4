namespace Aglow.Benchmarks;

/// <summary>One benchmark: the figures of one command. Program.cs lists all benchmarks.</summary>
internal abstract class Benchmark
{
    /// <summary>The name after <c>./aglow bench</c>.</summary>
    public abstract string Name { get; }

    /// <summary>What is measured, in one line.</summary>
    public abstract string Measures { get; }

    /// <summary>The options of this benchmark.</summary>
    public abstract IReadOnlyList<Option> Options { get; }

    /// <summary>The default number of pairs for each ratio: 15 for a figure in a document.</summary>
    public virtual int DefaultPairs => 15;

    /// <summary>The options of this benchmark, and those of all benchmarks.</summary>
    public IReadOnlyList<Option> AllOptions =>
    [
        .. Options,
        new Option("pairs", DefaultPairs.ToString(), "pairs per ratio: 5 for a quick look, 15 for a document"),
        new Option("json", "", $"the file for the samples; default out/bench/{Name}.json"),
    ];

    /// <summary>Measures, and adds each figure to <paramref name="run"/> when it is known.</summary>
    public abstract Task RunAsync(Run run);
}

/// <summary>An option, written <c>--name value</c>.</summary>
internal sealed record Option(string Name, string Default, string Meaning);

/// <summary>A wrong command line. The message is one line that says what to write instead. Exit code 2.</summary>
internal sealed class UsageException(string message) : Exception(message);

/// <summary>A benchmark that cannot continue, or whose work was lost. The message is one line. Exit code 1.</summary>
internal sealed class BenchmarkException(string message) : Exception(message);
