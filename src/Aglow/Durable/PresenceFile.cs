using System.Numerics;
using System.Runtime.InteropServices;
using Aglow.Files;
using Aglow.Sqlite;
using Microsoft.Data.Sqlite;

namespace Aglow.Durable;

/// <summary>
/// The database <c>presence.db</c>, which holds the words: its schema and all statements on it.
/// </summary>
/// <remarks>
/// <code>
///   state    one row     tick, clean, images, trimmed, since
///   journal  position -> kind, at, oldest, entries (user u32, word u32, ...; little endian, at most 64 Ki pairs)
///   page     plane * 2^17 + page -> position of the journal, oldest, words (u32, ...; without trailing zeros)
/// </code>
/// <c>oldest</c> is the oldest second that counted as online when the row was written, so a reader can tell which users were online. Every
/// row has a CRC-32C over all its columns. Journal positions have no gaps, and images are counted, so a missing row is detected as well.
/// <para>SQLite runs in WAL mode with synchronous=FULL: a commit is on disk (fsync of the WAL) when it returns. Pages have 16 KiB. A small
/// commit writes one page, a quarter of what 64 KiB pages would write. Images are read at 2.3 GiB/s, compared with 1.5 with pages of 4 KiB
/// and 1.7 with 64 KiB. There is no auto-vacuum: later rows use the pages of deleted rows again. So the file is as large as all images and
/// the longest journal.</para>
/// Threading: one thread at a time, except <see cref="ReadImages"/>, which opens its own connection.
/// </remarks>
internal sealed class PresenceFile(string path, SqliteConnection connection, PageSeal? seal) : IDisposable
{
    public const string FileName = "presence.db";

    public const int EntriesPerRow = 64 * 1024;

    private const int ApplicationId = 0x41476C77; // "AGlw"
    // 2: words have a bit for the leave of one device; words of version 1 never have it, so they need no conversion
    // 3: each page of the database has a checksum in a file beside it
    private const int SchemaVersion = 3;
    private const int SealedFrom = 3;
    private const int PlaneShift = 17;
    private const string Schema = """
        CREATE TABLE state (
            id INTEGER PRIMARY KEY CHECK (id = 0), tick INTEGER NOT NULL, clean INTEGER NOT NULL, images INTEGER NOT NULL,
            trimmed INTEGER NOT NULL, since INTEGER NOT NULL, crc INTEGER NOT NULL) STRICT;
        CREATE TABLE journal (
            position INTEGER PRIMARY KEY, kind INTEGER NOT NULL, at INTEGER NOT NULL, oldest INTEGER NOT NULL,
            crc INTEGER NOT NULL, entries BLOB NOT NULL) STRICT;
        CREATE TABLE page (
            id INTEGER PRIMARY KEY, position INTEGER NOT NULL, oldest INTEGER NOT NULL, crc INTEGER NOT NULL, words BLOB NOT NULL) STRICT;
        """;

    private readonly SqliteStatements _sql = new(connection);
    private PageSeal? _seal = seal;

    public string FilePath { get; } = path;

    /// <summary>The current state. At first it describes the last run.</summary>
    public FileState State { get; private set; }

    /// <summary>Receives all words, and takes part in each transaction; null: there is no reader.</summary>
    public JournalReader? Reader { get; set; }

    /// <summary>The last second at which the node was known to be alive: the later one of the tick and the last row.</summary>
    public uint LastAlive { get; private set; }

    /// <summary>Opens the file, and creates it if it is missing. A file of another program is not changed.</summary>
    /// <exception cref="DataFolderException">
    /// The file belongs to another program, is damaged, is of a newer version, cannot be written, or the disk is full.
    /// </exception>
    public static PresenceFile Open(string path)
    {
        CheckHeader(path);
        SqliteConnection? connection = null;
        PageSeal? seal = null;
        PresenceFile? file = null;
        try
        {
            seal = PageSeal.Open(path);
            connection = Connect(path, SqliteOpenMode.ReadWriteCreate);
            if (SqliteFile.QueryInt64(connection, "SELECT count(*) FROM sqlite_schema") == 0)
                Create(connection);
            var version = SqliteFile.QueryInt64(connection, "PRAGMA user_version");
            if (version > SchemaVersion)
            {
                throw new DataFolderException(
                    $"{path} was written by a newer Aglow (schema {version}, this one knows {SchemaVersion}): "
                        + $"start that version, or name another folder: {OptionNames.DataDirectory}.");
            }

            Execute(connection, "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0");
            // what leaves the feed of changes is overwritten, because it says who came and went
            Execute(connection, "PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192; PRAGMA secure_delete = ON");
            file = new PresenceFile(path, connection, seal);
            file.ReadState();
            file.Upgrade(version);
            return file;
        }
        catch (Exception e)
        {
            if (file is not null)
            {
                file.Abandon();
            }
            else
            {
                connection?.Dispose();
                seal?.Dispose();
            }

            if (FileProblem.Explain(path, e) is { } line)
                throw line;
            throw;
        }
    }

    public static bool WasStarted(string path)
    {
        var file = Open(path);
        var wasStarted = file.LastAlive != 0;
        file.Abandon();
        return wasStarted;
    }

    /// <summary>
    /// Runs <paramref name="work"/> in a transaction. All of it is on disk when this returns. If it throws, nothing was written.
    /// </summary>
    public void Write(Action work)
    {
        _seal!.EnsureSound();
        var before = State;
        _sql["BEGIN IMMEDIATE"].Run();
        try
        {
            work();
            Reader?.Write(Connection);
            _sql["COMMIT"].Run();
        }
        catch
        {
            State = before;
            Reader?.RolledBack();
            // SQLite rolls back by itself after some failures
            if (SQLitePCL.raw.sqlite3_get_autocommit(Connection.Handle!) == 0)
                _sql["ROLLBACK"].Run();
            throw;
        }

        _seal.Committed(Connection);
        Reader?.Committed();
    }

    /// <summary>Writes the state. Call it in a transaction.</summary>
    public void WriteState(FileState state)
    {
        _sql["REPLACE INTO state (id, tick, clean, images, trimmed, since, crc) VALUES (0, ?, ?, ?, ?, ?, ?)"]
            .Bind(1, state.Tick).Bind(2, state.IsClean ? 1 : 0).Bind(3, state.Images).Bind(4, state.Trimmed).Bind(5, state.Since)
            .Bind(6, Checksum(state)).Run();
        State = state;
    }

    /// <summary>Appends a row to the journal. Call it in a transaction.</summary>
    public void Append(long position, RowKind kind, uint at, uint oldest, ReadOnlySpan<uint> entries)
    {
        var bytes = MemoryMarshal.AsBytes(entries);
        _sql["INSERT INTO journal (position, kind, at, oldest, crc, entries) VALUES (?, ?, ?, ?, ?, ?)"]
            .Bind(1, position).Bind(2, (long)kind).Bind(3, at).Bind(4, oldest)
            .Bind(5, Checksum(bytes, (ulong)position, (ulong)kind, at, oldest)).Bind(6, bytes).Run();
    }

    /// <summary>Writes the image of a page, and replaces an earlier one. Call it in a transaction.</summary>
    public void WriteImage(Plane plane, int page, long position, uint oldest, ReadOnlySpan<uint> words)
    {
        var id = ((long)plane << PlaneShift) | (uint)page;
        var bytes = MemoryMarshal.AsBytes(words);
        _sql[
            """
            INSERT INTO page (id, position, oldest, crc, words) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
            SET position = excluded.position, oldest = excluded.oldest, crc = excluded.crc, words = excluded.words
            """]
            .Bind(1, id).Bind(2, position).Bind(3, oldest).Bind(4, Checksum(bytes, (ulong)id, (ulong)position, oldest, 0)).Bind(5, bytes)
            .Run();
    }

    /// <summary>Deletes the rows up to a position, at most a few hundred in one call. Call it in a transaction.</summary>
    public void Trim(long position)
    {
        // rows of the journal are not overwritten: that would double what a checkpoint writes
        Execute(Connection, "PRAGMA secure_delete = OFF");
        try
        {
            _sql["DELETE FROM journal WHERE position <= ?"].Bind(1, position).Run();
        }
        finally
        {
            Execute(Connection, "PRAGMA secure_delete = ON");
        }

        WriteState(State with { Trimmed = position });
    }

    /// <summary>Copies as much of the WAL as possible into the file, so that SQLite can reuse the space of the WAL.</summary>
    /// <exception cref="StoreUnavailableException">The file is damaged.</exception>
    public void FoldWal() => _seal!.TryCheckpoint(Connection);

    /// <summary>Sets the receiver of damage that is found while the file is open.</summary>
    public void ReportTo(FolderWatch? watch) => _seal!.Watch = watch;

    /// <summary>For tests of a full disk: allows the file at most this many pages.</summary>
    internal void LimitPages(long pages) => Execute(Connection, $"PRAGMA max_page_count = {pages}");

    internal long PageCount => SqliteFile.QueryInt64(Connection, "PRAGMA page_count");

    public void ReadRows(RowVisitor visit)
    {
        using var rows = new SqliteStatement(Connection, "SELECT position, kind, at, oldest, crc, entries FROM journal ORDER BY position");
        var expected = State.Trimmed + 1;
        while (rows.Step())
        {
            var position = rows.Int64(0);
            if (position != expected++)
                throw FileProblem.Damaged(FilePath, $"row {expected - 1} of the journal is missing");
            if (!IsRightRow(rows))
                throw FileProblem.Damaged(FilePath, $"the checksum of row {position} of the journal is wrong");
            visit(position, (RowKind)rows.Int64(1), (uint)rows.Int64(3), MemoryMarshal.Cast<byte, uint>(rows.Blob(5)));
        }
    }

    /// <summary>
    /// Reads the images in ranges of pages. The end of a range is exclusive. Returns the number of images. Callable from any thread.
    /// </summary>
    public static int ReadImages(string path, IEnumerable<(Plane Plane, int First, int End)> ranges, ImageVisitor visit)
    {
        using var connection = Connect(path, SqliteOpenMode.ReadOnly);
        using var images = new SqliteStatement(connection, "SELECT id, position, oldest, crc, words FROM page WHERE id BETWEEN ? AND ?");
        var count = 0;
        foreach (var (plane, first, end) in ranges)
        {
            images.Bind(1, ((long)plane << PlaneShift) | (uint)first);
            images.Bind(2, ((long)plane << PlaneShift) | (uint)(end - 1));
            while (images.Step())
            {
                if (!IsRightImage(images, out var page, out var words))
                    throw FileProblem.Damaged(path, $"the checksum of page {page} is wrong");
                visit(plane, page, images.Int64(1), (uint)images.Int64(2), words);
                count++;
            }
        }

        return count;
    }

    /// <summary>Closes the file cleanly: copies the WAL into it first.</summary>
    public void Dispose() => Close(finishes: true);

    /// <summary>Closes the file as a crash would: leaves the WAL.</summary>
    public void Abandon() => Close(finishes: false);

    private void Close(bool finishes)
    {
        Reader?.Dispose();
        _sql.Dispose();
        if (finishes)
            _seal?.Finish(Connection);
        Connection.Dispose();
        _seal?.Dispose();
    }

    // Runs before SQLite opens the file, because SQLite would recover an unfinished transaction of another program. Creates a missing file.
    private static void CheckHeader(string path)
    {
        try
        {
            SqliteFile.Prepare(path);
            if (SqliteFile.FindApplicationId(path) is not (null or ApplicationId))
            {
                throw new DataFolderException(
                    $"{path} is not an Aglow file of words, or its beginning is damaged; nothing was changed. "
                        + $"Restore a backup, or name another folder: {OptionNames.DataDirectory}.");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataFolderException(
                $"{path} cannot be read ({e.Message}): give this user the right to, or name another folder: {OptionNames.DataDirectory}.",
                e);
        }
    }

    private static void Create(SqliteConnection connection)
    {
        var none = new FileState(0, IsClean: true, 0, 0, 0);
        Execute(
            connection,
            $"""
            PRAGMA page_size = 16384;
            PRAGMA synchronous = FULL;
            BEGIN IMMEDIATE;
            {Schema}
            INSERT INTO state VALUES (0, 0, 1, 0, 0, 0, {Checksum(none)});
            PRAGMA application_id = {ApplicationId};
            PRAGMA user_version = {SealedFrom - 1};
            COMMIT;
            PRAGMA journal_mode = WAL;
            """);
    }

    /// <summary>Whether the checksum of a row is correct. Its columns: position, kind, at, oldest, crc, entries.</summary>
    internal static bool IsRightRow(SqliteStatement row)
    {
        var bytes = row.Blob(5);
        return bytes.Length % 8 == 0
            && row.Int64(4) == Checksum(bytes, (ulong)row.Int64(0), (ulong)row.Int64(1), (ulong)row.Int64(2), (ulong)row.Int64(3));
    }

    /// <summary>Whether the checksum of an image is correct. Its columns: id, position, oldest, crc, words.</summary>
    internal static bool IsRightImage(SqliteStatement image, out int page, out ReadOnlySpan<uint> words)
    {
        var id = image.Int64(0);
        var bytes = image.Blob(4);
        page = (int)(id & ((1 << PlaneShift) - 1));
        words = MemoryMarshal.Cast<byte, uint>(bytes);
        return bytes.Length % 4 == 0 && words.Length <= PageLayout.Slots
            && image.Int64(3) == Checksum(bytes, (ulong)id, (ulong)image.Int64(1), (ulong)image.Int64(2), 0);
    }

    internal static Plane PlaneOf(long id) => (Plane)(id >> PlaneShift);

    /// <summary>Reads the state; null: it is missing, or its checksum is wrong.</summary>
    internal FileState? FindState()
    {
        using var row = new SqliteStatement(Connection, "SELECT tick, clean, images, trimmed, since, crc FROM state WHERE id = 0");
        if (!row.Step())
            return null;
        var state = new FileState((uint)row.Int64(0), row.Int64(1) != 0, (int)row.Int64(2), row.Int64(3), (uint)row.Int64(4));
        return row.Int64(5) == Checksum(state) ? state : null;
    }

    private void ReadState()
    {
        State = FindState() ?? throw FileProblem.Damaged(FilePath, "the checksum of its state is wrong");
        using var last = new SqliteStatement(Connection, "SELECT at FROM journal ORDER BY position DESC LIMIT 1");
        LastAlive = last.Step() ? Math.Max(State.Tick, (uint)last.Int64(0)) : State.Tick;
    }

    private void Upgrade(long version)
    {
        if (version < 2 && LastAlive > Pulse.SecondMask)
        {
            throw new DataFolderException(
                $"{FilePath} was written by an older Aglow under a clock later than 2053, and its words cannot be told apart: "
                    + $"restore a backup, or name another folder: {OptionNames.DataDirectory}.");
        }

        if (version < SealedFrom)
            _seal ??= SqliteFile.FirstSeal(Connection, FilePath);
        if (_seal is null)
            throw FileProblem.Damaged(FilePath, $"{Path.GetFileName(PageSums.PathOf(FilePath))} is missing");
        if (version < SchemaVersion)
            Execute(Connection, $"PRAGMA user_version = {SchemaVersion}");
        // copies the version, and what a crash left in the WAL, into the file
        _seal.TryCheckpoint(Connection);
    }

    internal static SqliteConnection ConnectToRead(string path) => Connect(path, SqliteOpenMode.ReadOnly);

    /// <summary>The writing connection, for statements in the same transaction, or before the writer starts.</summary>
    internal SqliteConnection Connection { get; } = connection;

    private static SqliteConnection Connect(string path, SqliteOpenMode mode)
    {
        var connection = new SqliteConnection(
            new SqliteConnectionStringBuilder { DataSource = path, Mode = mode, Pooling = false, Vfs = SqliteFile.Vfs, DefaultTimeout = 2 }
                .ToString());
        connection.Open();
        SqliteFile.CheckpointOnClose(connection, false);
        Execute(connection, "PRAGMA busy_timeout = 2000");
        return connection;
    }

    private static void Execute(SqliteConnection connection, string sql) =>
        SqliteException.ThrowExceptionForRC(SQLitePCL.raw.sqlite3_exec(connection.Handle!, sql), connection.Handle);

    private static uint Checksum(FileState state) =>
        Checksum(default, state.Tick | ((ulong)state.Since << 32), state.IsClean ? 1UL : 0UL, (ulong)state.Images, (ulong)state.Trimmed);

    // CRC-32C, because current processors compute it with one instruction for 8 bytes.
    private static uint Checksum(ReadOnlySpan<byte> bytes, ulong a, ulong b, ulong c, ulong d)
    {
        var crc = uint.MaxValue;
        crc = BitOperations.Crc32C(crc, a);
        crc = BitOperations.Crc32C(crc, b);
        crc = BitOperations.Crc32C(crc, c);
        crc = BitOperations.Crc32C(crc, d);
        return PageSums.Append(crc, bytes);
    }
}
