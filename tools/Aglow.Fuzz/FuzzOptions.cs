using System.CommandLine;
using Aglow.Server;

namespace Aglow.Fuzz;

/// <summary>The options of a run.</summary>
/// <param name="Seconds">The longest time.</param>
/// <param name="Inputs">The most inputs.</param>
/// <param name="Seed">The same seed makes the same inputs, if the server behaves the same.</param>
/// <param name="Workers">The number of tasks that feed the targets.</param>
/// <param name="CorpusFolder">The folder of kept inputs; null: none.</param>
/// <param name="Keep">Whether inputs that caused new behaviour are added to the corpus at the end.</param>
/// <param name="Targets">The names of the targets; empty: all.</param>
internal sealed record FuzzOptions(
    double Seconds, long Inputs, int Seed, int Workers, string? CorpusFolder, bool Keep, IReadOnlyList<string> Targets)
{
    /// <summary>Whether findings are added to the corpus. False in tests, which only report them.</summary>
    public bool KeepsFindings { get; init; } = true;
}

/// <summary>The flags, and their possible values.</summary>
internal static class FuzzCommand
{
    /// <summary>The command, which calls <paramref name="run"/>.</summary>
    public static RootCommand Create(Func<FuzzOptions, Task<int>> run)
    {
        var seconds = Number("--seconds", "S", "the longest time [60]", 60.0);
        var inputs = Number("--inputs", "N", "the most inputs [no limit]", long.MaxValue);
        var seed = Number("--seed", "K", "the same seed makes the same inputs [1]", 1);
        var workers = Number("--workers", "N", "tasks that feed at the same time [one per core]", Environment.ProcessorCount);
        var corpus = new Option<string?>("--corpus")
        {
            Description = "the folder of kept inputs, which are sent first and to which findings are added [none]",
            HelpName = "DIR"
        };
        var keep = new Option<bool>("--keep") { Description = "adds inputs that caused new behaviour to the corpus" };
        var target =
            new Option<string[]>("--target") { Description = "only this target; may be given several times [all]", HelpName = "NAME" };
        var command = new RootCommand(
            "aglow fuzz: sends hostile input to every reader of the server, in this process. Exit code 1 if a reader failed: "
                + "it crashed, hung, leaked, answered 5xx, or revealed something internal.")
        {
            seconds, inputs, seed, workers, corpus, keep, target,
        };
        command.SetAction((parsed, _) => run(new FuzzOptions(
            Positive(parsed.GetValue(seconds), "--seconds"),
            (long)Positive(parsed.GetValue(inputs), "--inputs"),
            parsed.GetValue(seed),
            (int)Positive(parsed.GetValue(workers), "--workers"),
            parsed.GetValue(corpus),
            parsed.GetValue(keep),
            parsed.GetValue(target) ?? [])));
        return command;
    }

    /// <summary>A flag with a number.</summary>
    public static Option<T> Number<T>(string name, string value, string description, T otherwise) =>
        new(name) { Description = description, HelpName = value, DefaultValueFactory = _ => otherwise };

    private static double Positive(double value, string flag) =>
        value > 0 ? value : throw new UsageException($"{flag} is {value}: write a number above 0.");
}
