
namespace Aglow.Fuzz;

/// <summary>Random choices from a seed, and the words of hostile inputs.</summary>
/// <param name="seed">The same seed makes the same inputs.</param>
/// <param name="guesses">Whether users are named by indexes that the directory may have assigned.</param>
internal sealed class Dice(int seed, bool guesses = false)
{
    private static readonly string[] Numbers =
    [
        "0", "1", "7", "42", "-1", "-0", "00", "042", "+1", "1e3", "1E400", "1.0", "0.1", "127", "128", "255", "256", "65535", "65536",
        "16777216",
        "2147483647", "2147483648", "2147483649", "4294967294", "4294967295", "4294967296", "9223372036854775807", "9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615", "18446744073709551616", "1577836799", "1577836800", "1763763300", "NaN", "Infinity", "0x10", "1_000", "١٢٣",
        "100000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000000",
    ];

    // characters below 256 are bytes, so that a string can contain invalid text
    private static readonly string[] Names =
    [
        "bob", "alice", "", " ", "a b", "a,b", "a/b", "a\\b", "a\"b", "a%b", "%00", "%0d%0a", "%C0%AF", "%2F", "%2e%2e%2f", "%", "%z", "..",
        "../../etc/passwd",
        "users", "batch", "update", "me", "null", "__proto__", "constructor", "\u0000", "a\u0000b", "a\nb", "a\r\nSet-Cookie: x=y",
        "\u007F", "\u0085", "\u001B[31m",
        "Ã©", "Ð°lice", "\u202Eecila", "\u2066x\u2069", "\u200B", "\uFEFFbob", "\uFFFE", "\U0010FFFF", "e\u0301",
        "\U0001F469\u200D\U0001F680", "ﬁ", "İ", "ß",
        "\u00C0\u00AF", "\u00E0\u0080\u00AF", "\u00F0\u0080\u0080\u00AF", "\u00ED\u00A0\u0080", "\u00ED\u00A0\u0080\u00ED\u00B0\u0080",
        "\u00F4\u0090\u0080\u0080", "\u00FE\u00FF", "\u0080", "\u00C3",
        new('x', 127), new('x', 128), new('x', 129), new('é', 64), new('%', 60), new('a', 3000),
    ];

    private readonly Random _random = new(seed);

    public int Below(int end) => _random.Next(end);

    public int Between(int first, int last) => _random.Next(first, last + 1);

    public bool OneIn(int many) => _random.Next(many) == 0;

    public T Pick<T>(params ReadOnlySpan<T> of) => of[_random.Next(of.Length)];

    /// <summary>A number as text: a boundary value, or small.</summary>
    public string Number() => guesses
        && OneIn(2) ? $"{SmallUser()}" : OneIn(3) ? _random.Next(300).ToString() : Pick<string>(Numbers);

    /// <summary>A name, mostly a bad one.</summary>
    public string Name() => OneIn(3) ? $"n{_random.Next(50)}" : Pick<string>(Names);

    /// <summary>A user: a number or a name.</summary>
    public string User() => guesses ? $"{SmallUser()}" : OneIn(2) ? Number() : Name();

    /// <summary>
    /// One of a few users, so that inputs affect the same users: an ID below 300, or the index of one of the directory's first users.
    /// </summary>
    public uint SmallUser() => guesses ? (1u << 31) + (uint)Below(80) : (uint)Below(300);

    /// <summary>How to cut an input; most are not cut. Some clients do not wait for an answer (<see cref="Cut.IsGone"/>).</summary>
    public byte CutLength() => OneIn(16) ? (byte)255 : OneIn(3) ? (byte)Between(1, OneIn(2) ? 9 : 255) : (byte)0;

    public void Fill(Span<byte> bytes) => _random.NextBytes(bytes);
}
