using Microsoft.Data.Sqlite;
using Microsoft.Win32.SafeHandles;

namespace Aglow.Sqlite;

/// <summary>
/// Maintains the checksums of a database's pages (<see cref="PageSums"/>) during writes. So the next start detects any changed byte.
/// </summary>
/// <remarks>
/// <code>
///   commit ─► fsync of the WAL ─► read the new frames back ─► note their number
///   32 MiB       ─► 1 check the WAL against the note      ─► 3 note that copying begins, fsync; write the sums of its pages, fsync
///                   2 check the pages that it replaces    ─► 4 SQLite copies them into the file ─► 5 read back, compare with the WAL
/// </code>
/// At any moment each page of the file matches its sum, except pages of the WAL between steps 3 and 5. So a crash between any two steps
/// causes no damage. Step 2 finds damage that a writer may have read and written back. SQLite makes no checkpoints of its own, and does not
/// restart the WAL before a checkpoint is complete. If a check fails, nothing is copied, and every later write fails.
/// <para>Rejected: a checksum in each row, which leaves indexes, counts and whole pages unchecked; and an SQLite VFS that checks each read,
/// which needs native code of our own.</para>
/// Threading: the writing thread only.
/// </remarks>
internal sealed class PageSeal : IDisposable
{
    // The WAL is copied into the file at this size. A page that several commits change is then copied once. A start after a crash reads
    // such a WAL in some tens of milliseconds.
    private const int BytesPerCheckpoint = 32 << 20;

    private readonly string _path;
    private readonly SafeFileHandle _pages;
    private readonly PageSums _sums;
    private readonly WalReader _wal;
    // pages that SQLite may have copied from this WAL in an incomplete checkpoint
    private readonly HashSet<uint> _copied = [];
    private readonly byte[] _page;
    private readonly uint _framesPerCheckpoint;
    private uint _dueAt;
    private volatile string? _damage;

    private PageSeal(string path, SafeFileHandle pages, PageSums sums, WalReader wal)
    {
        _path = path;
        _pages = pages;
        _sums = sums;
        _wal = wal;
        _page = new byte[sums.PageSize];
        _framesPerCheckpoint = _dueAt = (uint)(BytesPerCheckpoint / sums.PageSize);
        if (sums.Note.IsCopying)
            _copied.UnionWith(wal.Pages.Keys);
    }

    /// <summary>Receives damage that is found while the file is open.</summary>
    public FolderWatch? Watch { get; set; }

    /// <summary>
    /// Opens the seal of a database, and checks every page of the database before SQLite opens it. Null: there is no seal yet.
    /// </summary>
    /// <exception cref="DataFolderException">The database is damaged.</exception>
    public static PageSeal? Open(string path)
    {
        if (PageSums.Open(path, FileAccess.ReadWrite) is not { } sums)
            return null;
        if (new FileInfo(path) is not { Exists: true, Length: > 0 })
            throw FileProblem.Damaged(path, "it is missing");
        SafeFileHandle? pages = null;
        var wal = new WalReader(path + "-wal");
        try
        {
            pages = OpenPages(path);
            if (SealInspection.Of(pages, sums, wal).Line is { } damage)
                throw FileProblem.Damaged(path, damage);
            return new PageSeal(path, pages, sums, wal);
        }
        catch
        {
            wal.Dispose();
            pages?.Dispose();
            sums.Dispose();
            throw;
        }
    }

    /// <summary>Seals a database in its present state, if it has no sums yet.</summary>
    /// <param name="path">The database.</param>
    /// <param name="connection">The only connection to it.</param>
    public static PageSeal Make(string path, SqliteConnection connection)
    {
        var pages = OpenPages(path);
        try
        {
            if (Checkpoint(connection, "TRUNCATE") is not (0, _, _))
                throw new DataFolderException($"{path} is held by another program (a backup, a SQLite shell): end that and start again.");
            PageSums.Make(path, pages, (int)SqliteFile.QueryInt64(connection, "PRAGMA page_size"));
            return new PageSeal(path, pages, PageSums.Open(path, FileAccess.ReadWrite)!, new WalReader(path + "-wal"));
        }
        catch
        {
            pages.Dispose();
            throw;
        }
    }

    /// <summary>Throws if damage was found since the file was opened.</summary>
    /// <exception cref="StoreUnavailableException">Damage was found, so nothing can be written.</exception>
    public void EnsureSound()
    {
        if (_damage is { } damage)
            throw new StoreUnavailableException(damage);
    }

    /// <summary>
    /// Processes a successful commit. Never throws: work that fails is repeated after a later commit, and damage is kept for
    /// <see cref="EnsureSound"/>.
    /// </summary>
    public void Committed(SqliteConnection connection)
    {
        try
        {
            Note();
            if (_wal.Frames >= _dueAt)
                TryCheckpoint(connection);
        }
        catch (Exception e) when (e is SqliteException or IOException or StoreUnavailableException)
        {
            _dueAt = _wal.Frames + _framesPerCheckpoint;
        }
    }

    /// <summary>
    /// Copies the WAL into the file. False if a backup, or a reader of an earlier state, prevents that.
    /// </summary>
    /// <exception cref="StoreUnavailableException">The file or the WAL does not contain what was written.</exception>
    public bool TryCheckpoint(SqliteConnection connection)
    {
        EnsureSound();
        _dueAt = _wal.Frames + _framesPerCheckpoint;
        using var alone = CheckpointLock.TryTake(Path.GetDirectoryName(_path)!);
        if (alone is null)
            return false;
        Note();
        var sums = ReadWal();
        CheckReplaced(sums);
        if (sums.Length > 0)
        {
            _sums.WriteNote(_wal, isCopying: true);
            _sums.Flush();
            _sums.Write(sums);
        }

        var (_, frames, copied) = Checkpoint(connection, "PASSIVE");
        // -1: there is no WAL
        if (Math.Max(0, frames) != _wal.Frames)
            throw Broken($"its WAL has {_wal.Frames} frames where SQLite wrote {frames}");
        if (copied != frames)
            return false;
        foreach (var (page, sum) in sums)
        {
            if (SumOf(page) != sum)
                throw Broken($"page {page} is not as it was written a moment ago");
        }

        _copied.Clear();
        _sums.WriteNote(_wal, isCopying: false);
        return true;
    }

    /// <summary>Completes the file and empties the WAL if possible. SQLite then deletes the WAL when it closes.</summary>
    public void Finish(SqliteConnection connection)
    {
        try
        {
            if (!TryCheckpoint(connection))
                return;
            // The note is written first and synced, because an empty WAL has none of the noted frames.
            _sums.WriteNoteOfNone(_wal);
            _sums.Flush();
            if (Checkpoint(connection, "TRUNCATE") is (0, _, _))
                SqliteFile.CheckpointOnClose(connection, true);
        }
        catch (Exception e) when (e is SqliteException or IOException or StoreUnavailableException)
        {
            // the WAL stays, and the next start reads it
        }
        finally
        {
            _wal.Dispose();
        }
    }

    /// <summary>Call it after the last connection is closed: closing any handle to a file ends SQLite's locks on it.</summary>
    public void Dispose()
    {
        _wal.Dispose();
        _sums.Dispose();
        _pages.Dispose();
    }

    /// <summary>Opens the database for reading alongside SQLite.</summary>
    internal static SafeFileHandle OpenPages(string path) =>
        File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);

    // busy, frames in the WAL, and how many of them were copied
    private static (long Busy, long Frames, long Copied) Checkpoint(SqliteConnection connection, string kind)
    {
        using var checkpoint = new SqliteStatement(connection, $"PRAGMA wal_checkpoint({kind})");
        checkpoint.Step();
        return (checkpoint.Int64(0), checkpoint.Int64(1), checkpoint.Int64(2));
    }

    private void Note()
    {
        var (salt, frames) = (_wal.Salt, _wal.Frames);
        if (!_wal.ReadMore())
            throw Broken("the beginning of its WAL is not as it was written");
        if (_wal.Salt != salt)
        {
            _copied.Clear();
            _dueAt = _framesPerCheckpoint;
        }

        if (_wal.Salt != salt || _wal.Frames != frames)
            _sums.WriteNote(_wal, isCopying: _copied.Count > 0);
    }

    // the pages of the WAL with their sums, in ascending order
    private (uint Page, uint Sum)[] ReadWal()
    {
        var (salt, frames, sum) = (_wal.Salt, _wal.Frames, _wal.Sum);
        if (frames == 0)
            return [];
        var sums = new Dictionary<uint, uint>();
        _wal.ReadAll((page, bytes) => sums[page] = PageSums.Crc(page, bytes), frames);
        if ((_wal.Salt, _wal.Frames, _wal.Sum) != (salt, frames, sum))
            throw Broken("its WAL is not as it was written");
        return [.. sums.Select(static one => (one.Key, one.Value)).OrderBy(static one => one.Key)];
    }

    private void CheckReplaced((uint Page, uint Sum)[] sums)
    {
        foreach (var (page, _) in sums)
        {
            if (_copied.Add(page) && _sums.Of(page) is not 0 and var sum && SumOf(page) != sum)
                throw Broken($"page {page} is not as it was written");
        }
    }

    private uint SumOf(uint page)
    {
        var length = RandomAccess.Read(_pages, _page, (page - 1L) * _page.Length);
        return length == _page.Length ? PageSums.Crc(page, _page) : 0;
    }

    private StoreUnavailableException Broken(string what)
    {
        _damage = FileProblem.Damaged(_path, what).Message;
        Watch?.Report(_damage);
        return new StoreUnavailableException(_damage);
    }
}
