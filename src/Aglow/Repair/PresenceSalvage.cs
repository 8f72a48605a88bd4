using Aglow.Durable;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Repair;

/// <summary>Copies the images and rows with correct checksums from a damaged <c>presence.db</c>.</summary>
/// <remarks>
/// A start requires journal positions without gaps, and ignores rows that are older than an image of their page. So empty rows replace lost
/// ones, up to the newest known position. The feed of changes is not copied: it starts again, and reports a gap to consumers.
/// </remarks>
internal sealed class PresenceSalvage(SqliteConnection from, PresenceFile to)
{
    private long _lostImages;
    private long _lostRows;
    private long _lastPosition;

    /// <summary>Copies the good data in one transaction; returns what is lost, in a few words.</summary>
    public string Run()
    {
        var wholes = new List<bool>();
        to.Write(() =>
        {
            SqliteFile.Execute(to.Connection, "DELETE FROM state");
            var salvage = new TableSalvage(from, to.Connection);
            wholes.Add(salvage.Copy("page", ["id"], 5).IsWhole);
            wholes.Add(salvage.Copy("journal", ["position"], 6).IsWhole);
            salvage.Copy("state", ["id"], 7);
            var images = DropWrongImages();
            DropWrongRows();
            var state = to.FindState() ?? Guess();
            _lostImages = Math.Max(_lostImages, state.Images - images);
            Fill(state.Trimmed + 1);
            to.WriteState(state with { Images = images, IsClean = state.IsClean && _lostRows == 0 });
        });
        var lost = new List<string>();
        if (_lostImages > 0 || !wholes[0])
        {
            lost.Add(
                $"at least {Math.Max(1, _lostImages)} pages of up to {PageLayout.Slots} users, never seen until their next heartbeat");
        }

        if (_lostRows > 0 || !wholes[1])
            lost.Add($"at least {Math.Max(1, _lostRows)} commits of who came online, left or went offline");
        lost.Add("the feed of changes, which starts again");
        return string.Join("; ", lost);
    }

    private int DropWrongImages()
    {
        var wrong = new List<long>();
        var count = 0;
        using (var images = new SqliteStatement(to.Connection, "SELECT id, position, oldest, crc, words FROM page"))
        {
            while (images.Step())
            {
                if (PresenceFile.IsRightImage(images, out _, out _))
                    count++;
                else
                    wrong.Add(images.Int64(0));
                if (wrong.Count == 0 || wrong[^1] != images.Int64(0))
                    _lastPosition = Math.Max(_lastPosition, images.Int64(1));
            }
        }

        Drop("page", "id", wrong);
        _lostImages += wrong.Count;
        return count;
    }

    private void DropWrongRows()
    {
        var wrong = new List<long>();
        using (var rows = new SqliteStatement(
            to.Connection, "SELECT position, kind, at, oldest, crc, entries FROM journal ORDER BY position"))
        {
            while (rows.Step())
            {
                if (!PresenceFile.IsRightRow(rows))
                {
                    wrong.Add(rows.Int64(0));
                    continue;
                }

                _lastPosition = Math.Max(_lastPosition, rows.Int64(0));
            }
        }

        Drop("journal", "position", wrong);
        _lostRows += wrong.Count;
    }

    private void Drop(string table, string key, List<long> wrong)
    {
        using var drop = new SqliteStatement(to.Connection, $"DELETE FROM {table} WHERE {key} = ?");
        foreach (var one in wrong)
            drop.Bind(1, one).Run();
    }

    // The state is lost, so this takes the clock of the newest row, as after a crash.
    private FileState Guess()
    {
        using var journal = new SqliteStatement(to.Connection, "SELECT min(position), max(at) FROM journal");
        journal.Step();
        var trimmed = journal.Int64(0) is > 0 and var first ? first - 1 : _lastPosition;
        return new FileState((uint)journal.Int64(1), IsClean: false, Images: 0, trimmed, Since: 0);
    }

    private void Fill(long first)
    {
        var missing = new List<long>();
        using (var rows = new SqliteStatement(to.Connection, "SELECT position FROM journal WHERE position >= ? ORDER BY position"))
        {
            rows.Bind(1, first);
            while (rows.Step())
            {
                for (; first < rows.Int64(0); first++)
                    missing.Add(first);
                first = rows.Int64(0) + 1;
            }
        }

        for (; first <= _lastPosition; first++)
            missing.Add(first);
        foreach (var position in missing)
            to.Append(position, RowKind.Pulse, 0, 0, []);
        _lostRows = Math.Max(_lostRows, missing.Count);
    }
}
