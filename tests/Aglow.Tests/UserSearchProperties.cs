using System.Text;
using Aglow.Users;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

/// <summary>Search, page by page, agrees with looking at every user; whatever is indexed, deleted or still waits, and when.</summary>
public class UserSearchProperties
{
    // few letters, so that names meet; some that fold, some that mean something to FTS5 or LIKE, one beyond the basic plane
    private static readonly string[] Letters = ["a", "a", "b", "A", "B", "Å", "å", "σ", "ς", "Σ", "_", "%", "\"", "*", " ", "🌞", "1"];

    private static readonly Gen<string> Text = Gen.Elements(Letters).NonEmptyListOf().Select(letters => string.Concat(letters.Take(9)));

    private static readonly Gen<string> Query = Gen.Elements(Letters).ListOf().Select(letters => string.Concat(letters.Take(5)));

    private static readonly Gen<Step> Steps = Gen.Frequency(
        (8, Text.SelectMany(name => Text.Select(displayName => new Step(StepKind.Create, name, displayName, 0)))),
        (8, Text.Select(name => new Step(StepKind.Create, name, null, 0))),
        (2, Gen.Choose(0, 30).Select(user => new Step(StepKind.Delete, "", null, user))),
        (2, Gen.Constant(new Step(StepKind.Index, "", null, 0))),
        (8, Query.SelectMany(query => Gen.Choose(1, 4).Select(limit => new Step(StepKind.Search, query, null, limit)))));

    [Fact]
    public void Search_agrees_with_looking_at_every_user() =>
        Prop.ForAll(
            Steps.ListOf(60).ToArbitrary(),
            steps => RunAsync(steps).GetAwaiter().GetResult()).Check(Config.QuickThrowOnFailure.WithMaxTest(40));

    private static async Task<bool> RunAsync(IEnumerable<Step> steps)
    {
        using var folder = new TemporaryFolder();
        await using var directory = SqliteUserDirectory.Open(folder.Path, new ManualTimeProvider());
        var users = new List<DirectoryUser>();
        foreach (var step in steps)
        {
            switch (step.Kind)
            {
                case StepKind.Create:
                    if (await directory.CreateAsync(step.Text, step.DisplayName) is { } user)
                        users.Add(user);
                    break;
                case StepKind.Delete when step.Number < users.Count:
                    await directory.DeleteAsync(users[step.Number].Number);
                    users.RemoveAt(step.Number);
                    break;
                case StepKind.Index:
                    await directory.IndexAsync();
                    break;
                case StepKind.Search:
                    var found = new List<uint>();
                    string? cursor = null;
                    do
                    {
                        var page = await directory.SearchAsync(step.Text, step.Number, cursor);
                        found.AddRange(page.Users.Select(u => u.Number));
                        cursor = page.Next;

                        // names move from memory to the index between two pages
                        if (found.Count % 3 == 2)
                            await directory.IndexAsync();
                    }
                    while (cursor is not null);
                    found.ShouldBe(Expected(users, step.Text), step.Text);
                    break;
            }
        }

        return true;
    }

    private static List<uint> Expected(List<DirectoryUser> users, string query)
    {
        query = Fold(query);
        var begin = new List<(byte[] Text, uint Number)>();
        var hold = new List<uint>();
        foreach (var user in users)
        {
            string[] fields = user.DisplayName is null ? [Fold(user.Name)] : [Fold(user.Name), Fold(user.DisplayName)];
            if (Array.Find(fields, field => field.StartsWith(query, StringComparison.Ordinal)) is { } first)
                begin.Add((Encoding.UTF8.GetBytes(first), user.Number));
            else if (query.EnumerateRunes().Count() >= 3 && fields.Any(field => field.Contains(query, StringComparison.Ordinal)))
                hold.Add(user.Number);
        }

        begin.Sort((a, b) => a.Text.AsSpan().SequenceCompareTo(b.Text) is var order && order != 0 ? order : a.Number.CompareTo(b.Number));
        return [.. begin.Select(b => b.Number), .. hold.Order()];
    }

    private static string Fold(string text) => string.Concat(text.EnumerateRunes().Select(rune => Rune.ToLowerInvariant(Rune.ToUpperInvariant(rune))));

    private enum StepKind
    {
        Create,
        Delete,
        Index,
        Search,
    }

    private sealed record Step(StepKind Kind, string Text, string? DisplayName, int Number);
}
