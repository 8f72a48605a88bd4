namespace Aglow.Users;

/// <summary>A place in the results of a search.</summary>
/// <param name="Part">The part: 0 to 2.</param>
/// <param name="Name">The last name in its search form; the query at the beginning of a part.</param>
/// <param name="Index">The last index; -1 at the beginning of a part.</param>
public sealed record SearchPlace(int Part, string Name, long Index)
{
    /// <summary>The beginning of a part.</summary>
    public static SearchPlace Start(int part, string query) => new(part, query, -1);

    /// <summary>The place that a cursor holds.</summary>
    /// <exception cref="FormatException">It is not a cursor of this query.</exception>
    public static SearchPlace Open(CursorSeal seal, string cursor, string query) =>
        seal.Open(cursor, ListOf(query))?.Split('\n', 3) is [var part, var index, var name]
            ? new SearchPlace(int.Parse(part), name, long.Parse(index))
            : throw new FormatException(
                "The cursor is not one of this search. Send the \"next\" of its page before, or none for the first page.");

    /// <summary>The cursor of this place.</summary>
    public string Seal(CursorSeal seal, string query) => seal.Seal($"{Part}\n{Index}\n{Name}", ListOf(query));

    private static string ListOf(string query) => $"/users\n{query}";
}
