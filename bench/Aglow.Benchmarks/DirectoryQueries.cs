using Aglow.Users;

namespace Aglow.Benchmarks;

/// <summary>A kind of search: how to make queries, the allowed time, and whether users must, must not, or may be found.</summary>
internal sealed record QueryKind(string Name, double Milliseconds, bool? Finds, Func<Random, string> Make);

/// <summary>Search texts of people and attackers.</summary>
internal static class DirectoryQueries
{
    public static QueryKind[] Kinds(int users)
    {
        int Named(Random random) => random.Next(users / 5) * 5;
        int Numbered(Random random) => (random.Next(users / 5) * 5) + 4;
        string Part(Random random, string text, int length) => text.Substring(random.Next(text.Length - length + 1), length);

        return
        [
            new("1 letter", 20, null, random => ((char)random.Next('a', 'z' + 1)).ToString()),
            new("2 letters", 20, null, random => DirectoryPeople.Named(Named(random)).Name[..2].ToUpperInvariant()),
            new("a longer beginning", 20, true, random => DirectoryPeople.Named(Named(random)).Name[..6]),
            new("nothing: all by name", 20, true, _ => ""),
            new("3 letters of a display name", 150, true, random => Part(random, DirectoryPeople.Named(Named(random)).DisplayName!, 3)),
            new("6 letters of a name", 150, true, random => Part(random, DirectoryPeople.Named(Named(random)).Name, 6)),
            new("a display name", 150, true, random => DirectoryPeople.Named(Named(random)).DisplayName!),
            new("a trigram of every seventh name (sso)", 150, true, _ => "sso"),
            new(
                "common trigrams that hardly meet (ssonan)",
                150,
                null,
                random => (random.Next(4)) switch { 0 => "sson anna", 1 => "annasson ri", 2 => "sson1234", _ => "elasson77" }),
            new("common trigrams that never meet (ssonsson)", 150, false, _ => "ssonsson"),
            new("absent letters", 150, false, random => $"q{(char)random.Next('a', 'z')}x{(char)random.Next('a', 'z')}qz"),
            new("a name among all like user_0001234", 150, true, random => DirectoryPeople.Named(Numbered(random)).Name),
            new("the rest of such a name (ser_0001234)", 150, true, random => DirectoryPeople.Named(Numbered(random)).Name[1..]),
            new(
                "such a name that is absent",
                150,
                false,
                random => DirectoryPeople.Named(Numbered(random)).Name[..^1] + "0" + random.Next(100, 999) + "_"),
            new("what all such names hold (ser_0)", 150, true, _ => "ser_0"),
            new("their beginning (user_)", 20, true, _ => "user_"),
        ];
    }

    /// <summary>Checks that the result matches the query.</summary>
    public static void Check(QueryKind kind, string query, DirectoryPage page)
    {
        foreach (var user in page.Users)
        {
            if (!Holds(user.Profile.UserName, query) && !Holds(user.Profile.DisplayName, query))
                throw new BenchmarkException($"a search for \"{query}\" found {user.Profile}.");
        }

        if (page.Users.Count > 0 && kind.Finds == false)
            throw new BenchmarkException($"a search for \"{query}\", which is nobody's name, found {page.Users[0].Profile}.");
    }

    private static bool Holds(string? name, string query) =>
        name is not null && NameFolding.ForSearch(name).Contains(NameFolding.ForSearch(query), StringComparison.Ordinal);
}
