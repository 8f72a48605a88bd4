using System.Runtime.InteropServices;
using Aglow.Users;

namespace Aglow.Changes;

/// <summary>A page of a feed that is being read. Both feeds store records of the same form, and read them in the same way.</summary>
/// <param name="from">The number after which the page begins.</param>
/// <param name="limit">The most changes.</param>
/// <param name="accounts">The users who were deleted; null: they are not loaded yet.</param>
internal sealed class ChangeReading(long from, int limit, Accounts? accounts)
{
    private readonly List<(long Number, uint At, StoredChange Record)> _changes = [];

    /// <summary>The number up to which the feed has been read.</summary>
    public long Next { get; set; } = from;

    /// <summary>Whether changes are no longer stored.</summary>
    public bool IsGap { get; set; }

    public bool IsEmpty => _changes.Count == 0;

    public bool IsFull => _changes.Count >= limit;

    /// <summary>Begins a page after a cursor of <see cref="IChangeFeed.ReadAsync"/>.</summary>
    /// <param name="after">The cursor.</param>
    /// <param name="generation">The feed's generation.</param>
    /// <param name="trimmed">Changes up to this number are deleted.</param>
    /// <param name="last">The number of the newest change.</param>
    /// <param name="highest">The highest number that a cursor of this feed may have.</param>
    /// <param name="limit">The most changes.</param>
    /// <param name="accounts">The users who were deleted.</param>
    /// <param name="earlier">
    /// Earlier generations, and the last number that each shares with this one. A cursor of them reports a gap, and goes on from its place.
    /// </param>
    /// <exception cref="FormatException">The text is not a cursor.</exception>
    public static ChangeReading After(
        string? after, uint generation, long trimmed, long last, long highest, int limit, Accounts? accounts,
        Dictionary<uint, long>? earlier = null)
    {
        switch (after)
        {
            case null:
                return new ChangeReading(trimmed, limit, accounts);
            case IChangeFeed.Latest:
                return new ChangeReading(last, limit, accounts);
        }

        var cursor = ChangeCursor.Parse(after);
        if (earlier?.TryGetValue(cursor.Generation, out var shared) == true)
        {
            var place = Math.Max(trimmed, Math.Min(cursor.Number, shared));
            return new ChangeReading(place, limit, accounts) { IsGap = true };
        }

        return cursor.Generation == generation && cursor.Number >= trimmed && cursor.Number <= highest
            ? new ChangeReading(cursor.Number, limit, accounts)
            : new ChangeReading(trimmed, limit, accounts) { IsGap = true };
    }

    /// <summary>
    /// Reads a page, part by part until one has a change to show: only at the end of the feed is a page without changes.
    /// </summary>
    public static async ValueTask<ChangePage> ReadAsync(
        string? after, IUserDirectory? directory, Func<string?, ValueTask<(ChangeReading Part, uint Generation)>> readPart)
    {
        while (true)
        {
            var (part, generation) = await readPart(after);
            var page = await part.ToPageAsync(generation, directory);
            if (page.Changes.Count > 0 || page.IsGap || part.IsEmpty)
                return page;
            after = page.Next;
        }
    }

    /// <summary>
    /// Takes the records of an entry that ends with this number, until the page is full. Leaves out those of deleted users.
    /// </summary>
    public void Add(long last, uint at, ReadOnlySpan<byte> entry)
    {
        var records = MemoryMarshal.Cast<byte, StoredChange>(entry);
        var before = last - records.Length;
        for (var number = Math.Max(Next, before) + 1; number <= last && !IsFull; number++)
        {
            var record = records[(int)(number - before - 1)];
            Next = number;
            if (!ChangeRule.IsErased(record, at, accounts))
                _changes.Add((number, at, record));
        }
    }

    /// <summary>
    /// The page. Looks up IDs in a directory; null: user IDs are numbers. Leaves out records of users whose ID is unknown.
    /// </summary>
    private async ValueTask<ChangePage> ToPageAsync(uint generation, IUserDirectory? directory)
    {
        var ids = new string?[_changes.Count];
        if (directory is not null && _changes.Exists(static c => c.Record.User >= UserId.FirstDirectoryNumber))
            await directory.FindIdsAsync(_changes.Select(static c => c.Record.User).ToArray(), ids);
        var given = new List<PresenceChange>(ids.Length);
        for (var i = 0; i < ids.Length; i++)
        {
            var (number, at, record) = _changes[i];
            if (UserId.OfIndex(record.User, ids[i]) is { } id)
                given.Add(ChangeRule.Given(generation, number, at, record, id));
        }

        return new ChangePage(
            given,
            new ChangeCursor(generation, Next).ToString(),
            IsGap);
    }
}
