using System.Text;

namespace Aglow.Benchmarks;

/// <summary>
/// The users of the directory benchmark, computed from their place. Each has a UUID as ID. Of five users, four have a name of syllables and
/// a display name ("mira.velasson417", "Mira Velasson"), and one has a name like "user_0001234". One in seven of the last names ends in
/// -sson.
/// </summary>
internal static class DirectoryPeople
{
    private static readonly string[] Syllables =
        "an na ri el la mo to ka ne si ra do li ve ma be jo ha lu mi ta so da ro pe no sa le vi ni å ö".Split(' ');

    public static (string Name, string? DisplayName) Named(int index)
    {
        if (IsNumbered(index))
            return ($"user_{index:0000000}", null);
        var random = new Xorshift(index);
        var first = Word(ref random, 2 + random.Next(2));
        var last = Word(ref random, 2 + random.Next(2));
        if (random.Next(7) == 0)
            last += "sson";
        // the index makes it unique
        return ($"{first}.{last}{index}", $"{Upper(first)} {Upper(last)}");
    }

    /// <summary>Whether this user has a name like "user_0001234".</summary>
    public static bool IsNumbered(int index) => index % 5 == 4;

    public static string Uuid(int index)
    {
        var random = new Xorshift(~index);
        Span<byte> bytes = stackalloc byte[16];
        BitConverter.TryWriteBytes(bytes, random.Next());
        BitConverter.TryWriteBytes(bytes[8..], random.Next());
        return new Guid(bytes).ToString();
    }

    private static string Word(ref Xorshift random, int syllables)
    {
        var word = new StringBuilder();
        for (var i = 0; i < syllables; i++)
            word.Append(Syllables[random.Next(Syllables.Length)]);
        return word.ToString();
    }

    private static string Upper(string word) => char.ToUpperInvariant(word[0]) + word[1..];

    private struct Xorshift
    {
        private ulong _state;

        public Xorshift(int seed)
        {
            _state = ((ulong)(uint)seed + 1) * 0x9E3779B97F4A7C15;
            Next();
            Next();
        }

        public ulong Next()
        {
            _state ^= _state << 13;
            _state ^= _state >> 7;
            _state ^= _state << 17;
            return _state * 0x2545F4914F6CDD1D;
        }

        public int Next(int below) => (int)((Next() >> 33) % (ulong)below);
    }
}
