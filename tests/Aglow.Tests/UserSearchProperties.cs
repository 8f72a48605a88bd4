using System.Text;
using FsCheck;
using FsCheck.Fluent;

namespace Aglow.Tests;

/// <summary>The results of a search, page by page, agree with a read of every profile, after any writes, renames and deletions.</summary>
public class UserSearchProperties
{
    // few letters, so that names collide: some that fold, some with a meaning in FTS5 or LIKE, one beyond the basic plane
    private static readonly string[] Letters =
        ["a", "a", "b", "A", "B", "Å", "å", "a\u030a", "ü", "u\u0308", "σ", "ς", "Σ", "ß", "ａ", "_", "%", "\"", "*", " ", "🌞", "1"];

    private static readonly Gen<string> Text = Gen.Elements(Letters).NonEmptyListOf().Select(letters => string.Concat(letters.Take(9)));

    private static readonly Gen<string> Query = Gen.Elements(Letters).ListOf().Select(letters => string.Concat(letters.Take(5)));

    private static readonly Gen<Step> Steps = Gen.Frequency(
        (
            8,
            Text.SelectMany(
                name => Text.SelectMany(displayName => User.Select(user => new Step(StepKind.Write, name, displayName, user))))),
        (8, Text.SelectMany(name => User.Select(user => new Step(StepKind.Write, name, null, user)))),
        (2, User.Select(user => new Step(StepKind.Delete, "", null, user))),
        (8, Query.SelectMany(query => Gen.Choose(1, 4).Select(limit => new Step(StepKind.Search, query, null, limit)))));

    private static Gen<int> User => Gen.Choose(0, 30);

    [Fact]
    public void Search_agrees_with_reading_every_profile() =>
        Prop.ForAll(
            Steps.ListOf(60).ToArbitrary(),
            steps => RunAsync(steps).GetAwaiter().GetResult()).Check(Config.QuickThrowOnFailure.WithMaxTest(40));

    private static async Task<bool> RunAsync(IEnumerable<Step> steps)
    {
        using var folder = new TemporaryFolder();
        await using var directory = SqliteUserDirectory.Open(folder.Path, TimeProvider.System);
        var users = new Dictionary<uint, (string Name, string? DisplayName)>();
        foreach (var step in steps)
        {
            switch (step.Kind)
            {
                case StepKind.Write:
                    var user = (uint)step.Number;
                    var isTaken = users.Any(
                        u => u.Key != user && NameFolding.ForUniqueness(u.Value.Name) == NameFolding.ForUniqueness(step.Text));
                    var result = await directory.WriteProfilesAsync([new(user, step.Text, step.DisplayName)], create: false);
                    result.Conflict.ShouldBe(isTaken ? ProfileConflict.NameTaken : ProfileConflict.None);
                    if (!isTaken)
                        users[user] = (step.Text, step.DisplayName);
                    break;
                case StepKind.Delete:
                    await directory.DeleteAsync((uint)step.Number, 1_900_000_000);
                    users.Remove((uint)step.Number);
                    break;
                case StepKind.Search:
                    var found = new List<uint>();
                    string? cursor = null;
                    do
                    {
                        var page = await directory.SearchAsync(step.Text, step.Number, cursor);
                        page.Users.Count.ShouldBeLessThanOrEqualTo(step.Number);
                        found.AddRange(page.Users.Select(u => u.User));
                        cursor = page.Next;
                    }
                    while (cursor is not null);
                    found.ShouldBe(Expected(users, step.Text), step.Text);
                    break;
            }
        }

        return true;
    }

    private static List<uint> Expected(Dictionary<uint, (string Name, string? DisplayName)> users, string query)
    {
        query = NameFolding.ForSearch(query);
        var folded = users.Select(
            u => (
                User: u.Key,
                Name: NameFolding.ForSearch(u.Value.Name),
                Display: u.Value.DisplayName is { } d ? NameFolding.ForSearch(d) : null))
            .ToList();
        var byName = folded.Where(u => Begins(u.Name)).OrderBy(u => u.Name, Bytes.Order).ThenBy(u => u.User).ToList();
        if (query.Length == 0)
            return [.. byName.Select(u => u.User)];
        var byDisplay =
            folded.Except(byName).Where(u => Begins(u.Display)).OrderBy(u => u.Display!, Bytes.Order).ThenBy(u => u.User).ToList();
        var holding = query.EnumerateRunes().Count() < 3
            ? []
            : folded.Except(byName).Except(byDisplay).Where(u => Holds(u.Name) || Holds(u.Display)).OrderBy(u => u.User).ToList();
        return [.. byName.Concat(byDisplay).Concat(holding).Select(u => u.User)];

        bool Begins(string? name) => name?.StartsWith(query, StringComparison.Ordinal) == true;
        bool Holds(string? name) => name?.Contains(query, StringComparison.Ordinal) == true;
    }

    private enum StepKind
    {
        Write,
        Delete,
        Search,
    }

    private sealed class Bytes : IComparer<string>
    {
        public static Bytes Order { get; } = new();

        public int Compare(string? x, string? y) => Encoding.UTF8.GetBytes(x!).AsSpan().SequenceCompareTo(Encoding.UTF8.GetBytes(y!));
    }

    private sealed record Step(StepKind Kind, string Text, string? DisplayName, int Number);
}
