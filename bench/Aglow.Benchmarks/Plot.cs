using System.Text;

namespace Aglow.Benchmarks;

/// <summary>One bar: a median and its interval.</summary>
internal readonly record struct Bar(string Series, Spread Value)
{
    /// <summary>The bar of these samples.</summary>
    public Bar(string series, IReadOnlyList<double> samples)
        : this(series, Spread.Of(samples))
    {
    }
}

/// <summary>
/// Draws horizontal bars as SVG: a row per measured thing, a bar per series, with the interval as a whisker and the median beside it.
/// </summary>
/// <remarks>
/// Readable on a light and on a dark page: text and lines follow <c>prefers-color-scheme</c>, and the bars' colours suit both. The page
/// supplies the background. The axis is logarithmic, because stores differ by powers of ten. It begins a power of ten below the smallest
/// bar, and says so. No library: a plot is two hundred lines of text that a diff can show.
/// </remarks>
/// <param name="Title">What is shown.</param>
/// <param name="Unit">The unit of the axis.</param>
/// <param name="Command">The command that makes the plot again.</param>
internal sealed record Plot(string Title, string Unit, string Command)
{
    private const int Left = 330, Right = 110, Top = 78, BarHeight = 13, RowGap = 12, Width = 960;

    private static readonly string[] Colours = ["#d9822b", "#2b8cbe", "#6a51a3"];

    private readonly List<(string Label, Bar[] Bars)> _rows = [];

    /// <summary>Adds a row. A bar that is not a number (nothing was measured, or nothing came) is written as text.</summary>
    public void Add(string label, params Bar[] bars) => _rows.Add((label, bars));

    /// <summary>Writes the file.</summary>
    public void Save(string folder, string name)
    {
        if (folder.Length == 0 || _rows.Count == 0)
            return;
        Directory.CreateDirectory(folder);
        File.WriteAllText(Path.Combine(folder, $"{name}.svg"), Draw());
    }

    /// <summary>The text of the file.</summary>
    public string Draw()
    {
        var values = _rows.SelectMany(r => r.Bars).Where(b => double.IsFinite(b.Value.Median) && b.Value.Median > 0).ToArray();
        var lowest = values.Length == 0 ? 0 : (int)Math.Floor(Math.Log10(values.Min(b => b.Value.Median)) - 0.3);
        var highest = values.Length == 0
            ? 1
            : (int)Math.Ceiling(Math.Log10(values.Max(b => b.Value.High is var high && double.IsFinite(high) ? high : b.Value.Median)));
        var series = _rows.SelectMany(r => r.Bars).Select(b => b.Series).Distinct().ToArray();
        var height = Top + _rows.Sum(r => (r.Bars.Length * BarHeight) + RowGap) + 62;
        var svg = new StringBuilder();
        Line($"""<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {Width} {height}" width="{Width}" height="{height}" """
            + $"""role="img" aria-label="{Escape(Title)}">""");
        Line("<style>text{font:12px system-ui,sans-serif;fill:#24292f}.title{font-size:16px;font-weight:600}"
            + ".quiet{fill:#57606a;font-size:11px}"
            + ".grid{stroke:#8c959f;stroke-opacity:.35}.whisker{stroke:#24292f;stroke-width:1.5}"
            + "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.quiet{fill:#9ea7b3}.whisker{stroke:#e6edf3}}</style>");
        Line($"""<text class="title" x="16" y="26">{Escape(Title)}</text>""");
        for (var i = 0; i < series.Length; i++)
        {
            Line($"""<rect x="{16 + (i * 220)}" y="40" width="12" height="12" rx="2" fill="{Colours[i % Colours.Length]}"/>""");
            Line($"""<text x="{34 + (i * 220)}" y="50">{Escape(series[i])}</text>""");
        }

        var bottom = height - 56;
        for (var power = lowest; power <= highest; power++)
        {
            var x = X(Math.Pow(10, power));
            Line($"""<line class="grid" x1="{x}" y1="{Top - 8}" x2="{x}" y2="{bottom}"/>""");
            Line($"""<text class="quiet" x="{x}" y="{bottom + 16}" text-anchor="middle">{Tick(power)}</text>""");
        }

        var y = Top;
        foreach (var (label, bars) in _rows)
        {
            Line($"""<text x="{Left - 10}" y="{y + (bars.Length * BarHeight / 2) + 4}" text-anchor="end">{Escape(label)}</text>""");
            foreach (var bar in bars)
            {
                Draw(bar, y);
                y += BarHeight;
            }

            y += RowGap;
        }

        Line($"""<text x="{(Left + Width - Right) / 2}" y="{height - 24}" text-anchor="middle">"""
            + $"""{Escape(Unit)}, logarithmic; median, whisker: 95 % interval</text>""");
        Line($"""<text class="quiet" x="16" y="{height - 8}">{Escape(Command)}</text>""");
        Line("</svg>");
        return svg.ToString();

        void Draw(Bar bar, int at)
        {
            if (!double.IsFinite(bar.Value.Median) || bar.Value.Median <= 0)
            {
                Line($"""<text class="quiet" x="{Left + 4}" y="{at + 10}">{(bar.Value.Median > 0 ? "never" : "none")}</text>""");
                return;
            }

            var end = X(bar.Value.Median);
            Line($"""<rect x="{Left}" y="{at}" width="{Number(Math.Max(1, end - Left))}" height="{BarHeight - 2}" """
                + $"""rx="2" fill="{Colours[Array.IndexOf(series, bar.Series) % Colours.Length]}"/>""");
            var after = end;
            if (bar.Value.High > bar.Value.Low && double.IsFinite(bar.Value.High))
            {
                after = X(bar.Value.High);
                Line($"""<line class="whisker" x1="{Number(X(bar.Value.Low))}" y1="{at + (BarHeight / 2) - 1}" """
                    + $"""x2="{Number(after)}" y2="{at + (BarHeight / 2) - 1}"/>""");
            }

            Line($"""<text class="quiet" x="{Number(after + 6)}" y="{at + 10}">{Table.Number(bar.Value.Median)}</text>""");
        }

        double X(double value) => Math.Round(
            Left + ((Width - Left - Right) * (Math.Log10(Math.Max(value, Math.Pow(10, lowest))) - lowest) / Math.Max(1, highest - lowest)),
            1);

        void Line(string text) => svg.Append(text).Append('\n');
    }

    private static string Number(double value) => value.ToString("0.#");

    private static string Tick(int power) => power switch
    {
        >= 0 and < 7 => Math.Pow(10, power).ToString("#,0"),
        < 0 and > -4 => Math.Pow(10, power).ToString("0.###"),
        _ => $"1e{power}",
    };

    private static string Escape(string text) =>
        text.Replace("&", "&amp;").Replace("<", "&lt;").Replace(">", "&gt;").Replace("\"", "&quot;");
}
