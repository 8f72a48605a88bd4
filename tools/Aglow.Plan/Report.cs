using System.Text;
using System.Text.Json;

namespace Aglow.Plan;

/// <summary>The plan as text: a table for the terminal, Markdown, or JSON.</summary>
internal sealed class Report
{
    private const string Never = "never";

    private readonly PlanOptions _options;
    private readonly Constants _measured;
    private readonly Prices _prices;
    private readonly Capacity _plan;
    private readonly IReadOnlyList<Choice> _costs;
    private readonly IReadOnlyList<Chokepoint> _chokepoints;
    private readonly StringBuilder _to = new();
    private readonly bool _isMarkdown;

    private Report(PlanOptions options)
    {
        _options = options;
        _isMarkdown = options.Format == Format.Markdown;
        _measured = Constants.Load(options.ConstantsFile);
        _prices = Prices.Load(options.PricesFile);
        _plan = new Capacity(options.Demand, _measured);
        _costs = Choice.Of(options.Demand, _plan, _prices);
        _chokepoints = Chokepoint.Of(options.Demand, _measured);
    }

    /// <summary>Computes the plan and writes it.</summary>
    public static string Of(PlanOptions options)
    {
        var report = new Report(options);
        return options.Format == Format.Json ? report.Json() : report.Page();
    }

    private string Json()
    {
        var record = new
        {
            _options.Demand,
            ConstantsMeasuredAt = _measured.MeasuredAt,
            ConstantsMachine = _measured.Machine,
            Shape = _plan.FitsOneNode ? "one node" : "many nodes",
            Figures = _plan.Lines.Select(
                l => new
                {
                    l.Group,
                    l.Name,
                    l.Unit,
                    Value = Whole(l.Term.Value),
                    l.Term.Formula,
                    Arithmetic = l.Term.Numbers,
                    Constants = l.Term.Constants
                }),
            Costs = _costs.Select(
                c => new
                {
                    c.Name,
                    Month = Math.Round(c.Month.Value),
                    _prices.Currency,
                    c.Month.Formula,
                    Arithmetic = c.Month.Numbers,
                    c.Note
                }),
            PricesAsOf = _prices.AsOf,
            Chokepoints = _chokepoints.Select(
                c => new
                {
                    c.Resource.Name,
                    Times = Finite(c.Factor),
                    Active = Finite(c.Active),
                    Registered = Finite(c.Registered),
                    c.Resource.Then
                }),
        };
        return JsonSerializer.Serialize(record, JsonFile.Options) + "\n";

        static double Whole(double value) => Math.Abs(value) >= 1000 ? Math.Round(value) : value;
        static double? Finite(double value) => double.IsFinite(value) ? Math.Round(value, value < 100 ? 2 : 0) : null;
    }

    // the rows as a table or as Markdown
    private string Page()
    {
        var demand = _options.Demand;
        Heading($"{Number(demand.Active)} active of {Number(demand.Registered)} registered");
        Text(
            $"A heartbeat every {Number(demand.HeartbeatSeconds)} s, sessions of {Span(demand.SessionSeconds)}, "
                + $"{Number(demand.Sockets)} open connections, each watching {Number(demand.Watch)}. "
            + $"Cores, memory and links are filled to {demand.Busy:P0}. "
            + $"{(_plan.FitsOneNode ? "One node is enough" : "More than one node: words in a Redis that they share")}.");
        foreach (var group in _plan.Lines.GroupBy(l => l.Group))
        {
            Heading(char.ToUpperInvariant(group.Key[0]) + group.Key[1..]);
            Rows(["figure", "value", "unit"], [.. group.Select(l => new[] { l.Name, Number(l.Term.Value), l.Unit })]);
            if (_options.Explain)
                Explain(group.Select(l => (l.Name, l.Unit, l.Term)));
        }

        Heading($"A month, in {_prices.Currency}");
        Text($"Prices: {_prices.AsOf}. They are examples for you to edit (--prices FILE).");
        Rows(["choice", "a month", "and"], [.. _costs.Select(c => new[] { c.Name, Number(c.Month.Value), c.Note })]);
        if (_options.Explain)
            Explain(_costs.Select(c => (c.Name, _prices.Currency, c.Month)));

        Heading("What gives out first, as people become more");
        Rows(
            ["what", "times as many", "active then", "registered then", "what to do"],
            [.. _chokepoints.Select(
                c => new[] { c.Resource.Name, Number(c.Factor), Number(c.Active), Number(c.Registered), c.Resource.Then })]);
        Text($"Constants: of {_measured.MeasuredAt}, {_measured.Machine}"
            + $"{(_options.Explain ? "" : "; --explain prints the arithmetic, and how each is known")}.");
        return _to.ToString();
    }

    private void Explain(IEnumerable<(string Name, string Unit, Term Term)> lines)
    {
        foreach (var (name, unit, term) in lines)
        {
            var indent = _isMarkdown ? "- " : "    ";
            _to.Append($"{indent}{name} = {term.Formula}\n");
            _to.Append($"{(_isMarkdown ? "  " : "        ")}= {term.Numbers} = {Number(term.Value)} {unit}".TrimEnd()).Append('\n');
            foreach (var constant in term.Constants)
                _to.Append(
                    $"{(_isMarkdown ? "  " : "        ")}{constant.Name}: {Number(constant.Value)} {constant.Unit}, {constant.From}\n");
        }

        _to.Append('\n');
    }

    private void Heading(string text) => _to.Append(_isMarkdown ? $"### {text}\n\n" : $"{text}\n");

    private void Text(string text) => _to.Append($"{text}\n\n");

    private void Rows(string[] head, string[][] rows)
    {
        if (_isMarkdown)
        {
            _to.Append($"| {string.Join(" | ", head)} |\n|{string.Concat(head.Select(_ => "---|"))}\n");
            foreach (var row in rows)
                _to.Append($"| {string.Join(" | ", row)} |\n");
            _to.Append('\n');
            return;
        }

        var widths = head.Select((name, c) => Math.Max(name.Length, rows.Max(r => r[c].Length))).ToArray();
        foreach (var row in (string[][])[head, .. rows])
            _to.Append(
                "  " + string.Join("  ", row.Select((cell, c) => IsNumber(cell) ? cell.PadLeft(widths[c]) : cell.PadRight(widths[c])))
                    .TrimEnd())
                .Append('\n');
        _to.Append('\n');
    }

    private static bool IsNumber(string cell) => cell.Length > 0 && (char.IsAsciiDigit(cell[0]) || cell == Never) && cell.All(
        c => char.IsAsciiDigit(c) || c is ',' or '.' or 'e' or '-' or '+' || cell == Never);

    private static string Number(double value) => double.IsFinite(value) ? Term.Show(value) : Never;

    private static string Span(double seconds) => seconds switch
    {
        < 120 => $"{seconds} s",
        < 7200 => $"{seconds / 60:0.#} min",
        _ => $"{seconds / 3600:0.#} h",
    };
}
