using System.Globalization;

namespace Aglow.Benchmarks;

/// <summary>The options of one run, given or default.</summary>
internal sealed class Settings
{
    private readonly Dictionary<string, string> _values;

    private Settings(Dictionary<string, string> values) => _values = values;

    /// <summary>All options, for the record.</summary>
    public IReadOnlyDictionary<string, string> All => _values;

    /// <summary>Reads <c>--name value</c> or <c>--name=value</c>.</summary>
    public static Settings Parse(IReadOnlyList<Option> options, ReadOnlySpan<string> args)
    {
        var values = options.ToDictionary(o => o.Name, o => o.Default, StringComparer.Ordinal);
        for (var i = 0; i < args.Length; i++)
        {
            var name = args[i];
            string? value = null;
            if (name.IndexOf('=') is > 0 and var equals)
                (name, value) = (name[..equals], name[(equals + 1)..]);
            if (!name.StartsWith("--", StringComparison.Ordinal) || !values.ContainsKey(name[2..]))
                throw new UsageException($"unknown option {name}: use {string.Join(", ", options.Select(o => "--" + o.Name))}.");
            // a switch, off by default, needs no value
            if (value is null
                && values[name[2..]] == "no"
                && (i + 1 == args.Length || args[i + 1].StartsWith("--", StringComparison.Ordinal)))
                value = "yes";
            else if (value is null && ++i < args.Length)
                value = args[i];
            values[name[2..]] = value ?? throw new UsageException($"{name} needs a value.");
        }

        // an option with a number as default must be a number: checked here, before the run starts
        foreach (var option in options.Where(static o => o.Default.Split(',').All(static part => TryParseNumber(part, 0) is not null)))
        {
            foreach (var part in values[option.Name].Split(','))
                ParseNumber(option.Name, part, least: 0);
        }

        return new Settings(values);
    }

    /// <summary>An option's text.</summary>
    public string Text(string name) => _values[name];

    /// <summary>
    /// An option's whole number, at least <paramref name="least"/>; 10k, 10m and 1b are thousands, millions and billions.
    /// </summary>
    public long Number(string name, long least = 1) => ParseNumber(name, _values[name], least);

    /// <summary>An option's whole numbers, separated by commas.</summary>
    public long[] Numbers(string name, long least = 1) => [.. _values[name].Split(',').Select(part => ParseNumber(name, part, least))];

    /// <summary>An option's values out of <paramref name="choices"/>, separated by commas; <c>all</c> means all of them.</summary>
    public string[] Choices(string name, params string[] choices)
    {
        if (_values[name] == "all")
            return choices;
        var chosen = _values[name].Split(',');
        foreach (var one in chosen)
        {
            if (!choices.Contains(one, StringComparer.Ordinal))
                throw new UsageException($"--{name} {one}: choose from {string.Join(", ", choices)}, or all.");
        }

        return chosen;
    }

    private static long ParseNumber(string name, string text, long least) =>
        TryParseNumber(text, least)
            ?? throw new UsageException($"--{name} {text}: write a whole number from {least} up, such as 500, 10k, 10m or 1b.");

    private static long? TryParseNumber(string text, long least)
    {
        var scale = text.Length == 0
            ? 1
            : char.ToLowerInvariant(text[^1]) switch { 'k' => 1_000L, 'm' => 1_000_000L, 'b' => 1_000_000_000L, _ => 1L };
        if (!double.TryParse(scale == 1 ? text : text[..^1], NumberStyles.Float, CultureInfo.InvariantCulture, out var number))
            return null;
        var value = number * scale;
        return value >= least && value <= 1e15 && value == Math.Floor(value) ? (long)value : null;
    }
}
