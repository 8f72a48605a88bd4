
namespace Aglow.Plan;

/// <summary>
/// A number with its origin: its name or formula, and the formula with numbers. So the printed arithmetic is the computed one.
/// </summary>
/// <remarks>
/// Arithmetic on terms makes terms. <see cref="As"/> names a result, and later formulas contain that name. A term keeps the constants that
/// it contains, so a figure can name its measurements.
/// </remarks>
internal sealed class Term
{
    private const int Sum = 1, Product = 2, Atom = 3;

    private readonly int _binds;

    private Term(double value, string formula, string numbers, int binds, IEnumerable<Constant> constants)
    {
        Value = value;
        Formula = formula;
        Numbers = numbers;
        _binds = binds;
        Constants = [.. constants.Distinct()];
    }

    public double Value { get; }

    /// <summary>The formula with names: <c>active / heartbeat seconds</c>.</summary>
    public string Formula { get; }

    /// <summary>The formula with numbers: <c>5,000,000 / 10</c>.</summary>
    public string Numbers { get; }

    /// <summary>The measured constants in the formula.</summary>
    public IReadOnlyList<Constant> Constants { get; }

    /// <summary>A number by name: part of the demand, or a price.</summary>
    public static Term Of(string name, double value) => new(value, name, Show(value), Atom, []);

    /// <summary>A measured constant.</summary>
    public static Term Of(Constant constant) => new(constant.Value, constant.Name, Show(constant.Value), Atom, [constant]);

    /// <summary>A plain number: a unit conversion, the factor of a rule.</summary>
    public static implicit operator Term(double value) => new(value, Show(value), Show(value), Atom, []);

    public static Term operator *(Term a, Term b) => Join(a, b, "×", a.Value * b.Value, Product);

    public static Term operator /(Term a, Term b) => Join(a, b, "/", a.Value / b.Value, Product);

    public static Term operator +(Term a, Term b) => Join(a, b, "+", a.Value + b.Value, Sum);

    public static Term operator -(Term a, Term b) => Join(a, b, "-", a.Value - b.Value, Sum);

    /// <summary>Rounds up to a whole number.</summary>
    public static Term Up(Term of) =>
        new(Math.Ceiling(of.Value - 1e-9), $"whole({of.Formula})", $"whole({of.Numbers})", Atom, of.Constants);

    /// <summary>The largest of these.</summary>
    public static Term Most(params Term[] of) => Pick("most", of, of.Max(t => t.Value));

    /// <summary>The smallest of these.</summary>
    public static Term Least(params Term[] of) => Pick("least", of, of.Min(t => t.Value));

    /// <summary>The same number with its own name.</summary>
    public Term As(string name) => new(Value, name, Show(Value), Atom, []);

    /// <summary>A readable number: four significant digits, with thousands separators.</summary>
    public static string Show(double value) => Math.Abs(value) switch
    {
        0 => "0",
        >= 1000 => value.ToString("#,0"),
        >= 100 => value.ToString("0.#"),
        >= 10 => value.ToString("0.##"),
        >= 0.01 => value.ToString("0.####"),
        _ => value.ToString("0.###e+0"),
    };

    private static Term Pick(string how, Term[] of, double value) =>
        new(
            value,
            $"{how}({string.Join(", ", of.Select(t => t.Formula))})",
            $"{how}({string.Join(", ", of.Select(t => t.Numbers))})",
            Atom,
            of.SelectMany(t => t.Constants));

    private static Term Join(Term a, Term b, string sign, double value, int binds)
    {
        // brackets keep the right side of a minus or a division together
        var tight = sign is "-" or "/" ? binds + 1 : binds;
        return new Term(
            value,
            $"{Wrap(a, a.Formula, binds)} {sign} {Wrap(b, b.Formula, tight)}",
            $"{Wrap(a, a.Numbers, binds)} {sign} {Wrap(b, b.Numbers, tight)}",
            binds,
            a.Constants.Concat(b.Constants));
    }

    private static string Wrap(Term term, string text, int least) => term._binds < least ? $"({text})" : text;
}
