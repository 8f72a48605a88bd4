using Aglow.Durable;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Repair;

/// <summary>A copy of a damaged database whose damaged pages are blank, so that a repair uses nothing of them.</summary>
/// <remarks>The first page of a new database replaces a damaged first page: with the same schema, tables begin at the same pages.</remarks>
internal sealed class DamagedDatabase(string path, SqliteConnection connection) : IDisposable
{
    /// <summary>A connection to the copy, for reading.</summary>
    public SqliteConnection Connection { get; } = connection;

    /// <summary>
    /// Returns what is wrong with a database that nobody has open, and what is lost besides the rows of its damaged pages. Changes nothing.
    /// </summary>
    /// <returns>Null: nothing is wrong, or nothing else is lost.</returns>
    public static (string? Damage, string? Lost) Inspect(string path)
    {
        var (name, sumsName) = (Path.GetFileName(path), Path.GetFileName(PageSums.PathOf(path)));
        try
        {
            if (!File.Exists(path))
                return ("it is missing", $"all that is not in {name}-wal");
            using var sums = PageSums.Open(path, FileAccess.Read);
            if (sums is null)
                return ($"{sumsName} is missing, or the folder is of an older version", Unchecked());
            using var pages = PageSeal.OpenPages(path);
            using var wal = new WalReader(path + "-wal");
            var found = SealInspection.Of(pages, sums, wal);
            return (found.Line, found.LostChanges);
        }
        catch (DataFolderException)
        {
            return ($"{sumsName} is damaged, so the database cannot be checked", Unchecked());
        }

        string Unchecked() => $"the last changes, unless {name}-wal is whole, which nothing shows now";
    }

    /// <summary>Makes the copy.</summary>
    /// <param name="path">The damaged database; it may be missing.</param>
    /// <param name="copy">The path of the copy, which is deleted when this object is disposed.</param>
    /// <param name="likeNew">A new database of the same schema.</param>
    public static DamagedDatabase Open(string path, string copy, string likeNew)
    {
        DataBackup.CopyFile(File.Exists(path) ? path : likeNew, copy, long.MaxValue);
        using (var wal = new WalReader(path + "-wal"))
        {
            var length = wal.ReadAll() ? wal.CommittedLength : 0;
            if (length > 0)
                DataBackup.CopyFile(path + "-wal", copy + "-wal", length);
            Blank(path, copy, likeNew, wal);
        }

        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = copy, Pooling = false }.ToString());
        connection.Open();
        return new DamagedDatabase(copy, connection);
    }

    public void Dispose()
    {
        Connection.Dispose();
        foreach (var file in new[] { path, path + "-wal", path + "-shm" })
            File.Delete(file);
    }

    private static void Blank(string path, string copy, string likeNew, WalReader wal)
    {
        if (!File.Exists(path) || OpenSums(path) is not { } sums)
            return;
        using (sums)
        {
            IReadOnlyList<uint> bad;
            using (var pages = PageSeal.OpenPages(path))
                bad = SealInspection.Of(pages, sums, wal).BadPages;
            using var blanked = File.OpenHandle(copy, FileMode.Open, FileAccess.ReadWrite);
            var blank = new byte[sums.PageSize];
            foreach (var page in bad)
                RandomAccess.Write(blanked, blank, (page - 1L) * sums.PageSize);
            if (bad.Count > 0 && bad[0] == 1)
                ReplaceFirst(blanked, likeNew, blank);
        }
    }

    // the number of pages comes from the file's length, and the list of free pages is emptied
    private static void ReplaceFirst(Microsoft.Win32.SafeHandles.SafeFileHandle blanked, string likeNew, byte[] page)
    {
        using (var fresh = PageSeal.OpenPages(likeNew))
            RandomAccess.Read(fresh, page, 0);
        System.Buffers.Binary.BinaryPrimitives.WriteUInt32BigEndian(page.AsSpan(28), (uint)(RandomAccess.GetLength(blanked) / page.Length));
        page.AsSpan(32, 8).Clear();
        RandomAccess.Write(blanked, page, 0);
    }

    private static PageSums? OpenSums(string path)
    {
        try
        {
            return PageSums.Open(path, FileAccess.Read);
        }
        catch (DataFolderException)
        {
            return null;
        }
    }
}
