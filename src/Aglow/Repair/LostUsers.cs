using System.Runtime.InteropServices;
using Aglow.Changes;
using Aglow.Durable;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Repair;

/// <summary>Removes the words and the feed of users whose IDs are lost from <c>presence.db</c>, so that no reader finds them.</summary>
/// <remarks>
/// Images and rows of the journal stay, with fewer words, because a start counts them. The feed's numbers have no gaps either. So a feed
/// that names such a user starts again, and reports a gap to its consumers. Threading: one thread.
/// </remarks>
/// <param name="file">The new file, which has only correct rows.</param>
/// <param name="known">The indexes that have an ID.</param>
internal sealed class LostUsers(PresenceFile file, UserBits known) : IDisposable
{
    private readonly UserBits _lost = new();
    private readonly List<long> _images = [];
    private readonly List<long> _rows = [];

    /// <summary>The highest index that the words and the feed named.</summary>
    public uint Highest { get; private set; }

    public long Count => _lost.Count;

    /// <summary>Whether the feed starts again.</summary>
    public bool DropsFeed { get; private set; }

    public void Remove()
    {
        FindImages();
        FindRows();
        foreach (var user in ChangeFile.ReadUsers(file.Connection))
            DropsFeed |= IsLost(user);
        if (_lost.Count == 0)
            return;
        file.Write(() =>
        {
            foreach (var id in _images)
                CutImage(id);
            foreach (var position in _rows)
                CutRow(position);
            if (DropsFeed)
                ChangeFile.Drop(file.Connection);
        });
    }

    public void Dispose() => _lost.Dispose();

    private bool IsLost(uint user)
    {
        // an older Aglow noted statuses of the demo's people, whose indexes no directory gave
        if (user >= UserId.FirstDemoNumber)
            return false;
        Highest = Math.Max(Highest, user);
        if (user < UserId.FirstDirectoryNumber || known.Contains(user))
            return false;
        _lost.Set(user, present: true);
        return true;
    }

    private void FindImages()
    {
        using var images = new SqliteStatement(file.Connection, "SELECT id, position, oldest, crc, words FROM page");
        while (images.Step())
        {
            PresenceFile.IsRightImage(images, out var page, out var words);
            var hasLost = false;
            for (var slot = 0; slot < words.Length; slot++)
                hasLost |= words[slot] != Pulse.Never && IsLost(PageLayout.User(page, slot));
            if (hasLost)
                _images.Add(images.Int64(0));
        }
    }

    private void FindRows()
    {
        using var rows = new SqliteStatement(file.Connection, "SELECT position, kind, entries FROM journal");
        while (rows.Step())
        {
            // other kinds of rows have no entries of users
            if ((RowKind)rows.Int64(1) > RowKind.Activity)
                continue;
            var entries = MemoryMarshal.Cast<byte, uint>(rows.Blob(2));
            var hasLost = false;
            for (var i = 0; i < entries.Length; i += 2)
                hasLost |= IsLost(entries[i]);
            if (hasLost)
                _rows.Add(rows.Int64(0));
        }
    }

    private void CutImage(long id)
    {
        using var image = new SqliteStatement(file.Connection, "SELECT id, position, oldest, crc, words FROM page WHERE id = ?");
        image.Bind(1, id).Step();
        PresenceFile.IsRightImage(image, out var page, out var words);
        var (plane, position, oldest, kept) = (PresenceFile.PlaneOf(id), image.Int64(1), (uint)image.Int64(2), words.ToArray());
        image.Reset();
        for (var slot = 0; slot < kept.Length; slot++)
        {
            if (_lost.Contains(PageLayout.User(page, slot)))
                kept[slot] = Pulse.Never;
        }

        file.WriteImage(plane, page, position, oldest, kept);
    }

    private void CutRow(long position)
    {
        using var row = new SqliteStatement(file.Connection, "SELECT kind, at, oldest, entries FROM journal WHERE position = ?");
        row.Bind(1, position).Step();
        var (kind, at, oldest) = ((RowKind)row.Int64(0), (uint)row.Int64(1), (uint)row.Int64(2));
        var kept = new List<uint>();
        var entries = MemoryMarshal.Cast<byte, uint>(row.Blob(3));
        for (var i = 0; i < entries.Length; i += 2)
        {
            if (!_lost.Contains(entries[i]))
                kept.AddRange([entries[i], entries[i + 1]]);
        }

        row.Reset();
        using (var delete = new SqliteStatement(file.Connection, "DELETE FROM journal WHERE position = ?"))
            delete.Bind(1, position).Run();
        file.Append(position, kind, at, oldest, CollectionsMarshal.AsSpan(kept));
    }
}
