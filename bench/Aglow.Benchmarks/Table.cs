
namespace Aglow.Benchmarks;

/// <summary>Writes figures as plain text, in columns.</summary>
internal static class Table
{
    /// <summary>Writes one line per figure.</summary>
    public static void Write(TextWriter to, IReadOnlyList<Figure> figures)
    {
        var rows = new List<string[]> { new[] { "figure", "median", "95 % from", "to", "unit", "goal", "" } };
        foreach (var figure in figures)
        {
            rows.Add(
            [
                figure.Name,
                Number(figure.Value.Median),
                figure.Samples.Count > 1 ? Number(figure.Value.Low) : "",
                figure.Samples.Count > 1 ? Number(figure.Value.High) : "",
                figure.Unit,
                figure.Goal is { } goal ? $"{(goal.AtLeast ? ">=" : "<=")} {Number(goal.Bound)}" : "",
                figure.Reached switch { true => "reached", false => "MISSED", null => "" },
            ]);
        }

        var widths = Enumerable.Range(0, rows[0].Length).Select(c => rows.Max(r => r[c].Length)).ToArray();
        foreach (var row in rows)
            to.WriteLine(
                string.Join("  ", row.Select((cell, c) => c is 1 or 2 or 3 ? cell.PadLeft(widths[c]) : cell.PadRight(widths[c])))
                    .TrimEnd());
    }

    /// <summary>Four significant digits, with thousands separators.</summary>
    public static string Number(double value) => Math.Abs(value) switch
    {
        0 => "0",
        < 0.001 => value.ToString("0.0e+0"),
        < 10 => value.ToString("0.###"),
        < 100 => value.ToString("0.##"),
        < 1000 => value.ToString("0.#"),
        _ => value.ToString("#,0"),
    };
}
