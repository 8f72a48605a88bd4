using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Aglow.Model;
using Aglow.Sqlite;
using Aglow.Storage;
using Aglow.Watching;
using Microsoft.Data.Sqlite;
using Plane = Aglow.Model.Plane;

namespace Aglow.Durable;

/// <summary>What a row of the journal says.</summary>
internal enum RowKind : byte
{
    /// <summary>Words of the pulse plane.</summary>
    Pulse = 0,

    /// <summary>Words of the activity plane.</summary>
    Activity = 1,

    /// <summary>
    /// A start after longer than the lease: everyone online until then is offline. Its one entry: the end of the run before the interrupted one, and the
    /// second at which those heard since then were last seen (0: words were exact).
    /// </summary>
    Resumed = 2,

    /// <summary>A start within the lease after a crash, with the same entry: everyone online stays online.</summary>
    Continued = 3,
}

/// <summary>What the file says of the last run.</summary>
/// <param name="Tick">The last second at which the node was known alive, apart from the journal's rows.</param>
/// <param name="IsClean">The last run stopped in order: words are exact.</param>
/// <param name="Images">Page images there are.</param>
/// <param name="Trimmed">Rows up to this position were trimmed; the first row left is the next one.</param>
/// <param name="Since">The end of the run before the last: who has no later word was not heard in the last run.</param>
internal readonly record struct FileState(uint Tick, bool IsClean, int Images, long Trimmed, uint Since);

/// <summary>Hears a row of the journal. The entries (user, word, user, word, ...) are valid during the call only.</summary>
internal delegate void RowVisitor(long position, RowKind kind, uint oldest, ReadOnlySpan<uint> entries);

/// <summary>Hears a page image. The words are valid during the call only; those that follow them in the page are zero.</summary>
internal delegate void ImageVisitor(Plane plane, int page, long position, uint oldest, ReadOnlySpan<uint> words);

/// <summary>
/// The file of words, <c>presence.db</c>: what is in it, and every statement that touches it.
/// </summary>
/// <remarks>
/// <code>
///   state    one row     tick, clean, images, trimmed, since
///   journal  position -> kind, at, oldest, entries (user u32, word u32, ...; little endian, 64 Ki pairs at most)
///   page     plane * 2^17 + page -> position of the journal it was taken at, oldest, words (u32, ...; trailing zeros cut)
/// </code>
/// <c>oldest</c> is the oldest second that counted as online when a row was written, so that a reader can tell who was. Every row carries a CRC-32C
/// over all of it; journal positions have no gaps and images are counted, so that a lost row is noticed, too.
/// SQLite in WAL mode, synchronous=FULL: a commit is on disk (fsync of the WAL) when it returns. Pages of 16 KiB: a small commit writes one of them
/// (64 KiB pages would write four times that), and images are read at 2.3 GiB/s against 1.5 with 4 KiB pages and 1.7 with 64 KiB. No
/// auto-vacuum: pages freed by trimming are used again by later rows, so the file stays at the images plus the journal at its largest.
/// Threading: one thread at a time, but for <see cref="ReadImages"/>, which opens a connection of its own.
/// </remarks>
internal sealed class PresenceFile : IDisposable
{
    /// <summary>Entries a row has at most.</summary>
    public const int EntriesPerRow = 64 * 1024;

    private const int ApplicationId = 0x41476C77; // "AGlw"
    // 2: words have a bit for the goodbye of one device. Words of version 1 never have it, so they are read as they are
    // 3: its pages have sums
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

    private readonly SqliteConnection _connection;
    private PageSeal? _seal;
    private readonly List<SqliteStatement> _statements = [];
    private readonly SqliteStatement _begin;
    private readonly SqliteStatement _commit;
    private readonly SqliteStatement _rollback;
    private readonly SqliteStatement _writeState;
    private readonly SqliteStatement _append;
    private readonly SqliteStatement _writeImage;
    private readonly SqliteStatement _trim;

    private PresenceFile(string path, SqliteConnection connection, PageSeal? seal)
    {
        FilePath = path;
        _connection = connection;
        _seal = seal;
        _begin = Prepare("BEGIN IMMEDIATE");
        _commit = Prepare("COMMIT");
        _rollback = Prepare("ROLLBACK");
        _writeState = Prepare("REPLACE INTO state (id, tick, clean, images, trimmed, since, crc) VALUES (0, ?, ?, ?, ?, ?, ?)");
        _append = Prepare("INSERT INTO journal (position, kind, at, oldest, crc, entries) VALUES (?, ?, ?, ?, ?, ?)");
        _writeImage = Prepare(
            """
            INSERT INTO page (id, position, oldest, crc, words) VALUES (?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE
            SET position = excluded.position, oldest = excluded.oldest, crc = excluded.crc, words = excluded.words
            """);
        _trim = Prepare("DELETE FROM journal WHERE position <= ?");
    }

    /// <summary>Where the file is.</summary>
    public string FilePath { get; }

    /// <summary>What the file says of the last run, and of this one as it goes on.</summary>
    public FileState State { get; private set; }

    /// <summary>Reads along, and writes in each transaction; null: nobody does.</summary>
    public JournalReader? Reader { get; set; }

    /// <summary>The last second at which the node was known alive: the tick, or that of the last row where it is later.</summary>
    public uint LastAlive { get; private set; }

    /// <summary>Opens the file, made if it is not there. Nothing is written to a file that is not ours.</summary>
    /// <exception cref="DataFolderException">Foreign, damaged, of a newer version, not writable or no room.</exception>
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
            if (Ask(connection, "SELECT count(*) FROM sqlite_schema") == 0)
                Create(connection);
            var version = Ask(connection, "PRAGMA user_version");
            if (version > SchemaVersion)
                throw new DataFolderException($"{path} was written by a newer Aglow (schema {version}, this one knows {SchemaVersion}): start that version, or name another folder with --data.");
            Tell(connection, "PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 0; PRAGMA journal_size_limit = 67108864; PRAGMA cache_size = -8192");
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

            if (DataFolder.Explain(path, e) is { } line)
                throw line;
            throw;
        }
    }

    /// <summary>Whether a server was started on this file.</summary>
    public static bool WasStarted(string path)
    {
        var file = Open(path);
        var wasStarted = file.LastAlive != 0;
        file.Abandon();
        return wasStarted;
    }

    /// <summary>Runs <paramref name="work"/> in a transaction: all of it is on disk when this returns, or none of it and an exception is thrown.</summary>
    public void Write(Action work)
    {
        _seal!.EnsureSound();
        var before = State;
        _begin.Run();
        try
        {
            work();
            Reader?.Write(_connection);
            _commit.Run();
        }
        catch
        {
            State = before;
            Reader?.RolledBack();
            // some failures have rolled back already
            if (SQLitePCL.raw.sqlite3_get_autocommit(_connection.Handle!) == 0)
                _rollback.Run();
            throw;
        }

        _seal.Committed(_connection);
        Reader?.Committed();
    }

    /// <summary>Writes what the next start shall know. In a transaction.</summary>
    public void WriteState(FileState state)
    {
        _writeState.Bind(1, state.Tick);
        _writeState.Bind(2, state.IsClean ? 1 : 0);
        _writeState.Bind(3, state.Images);
        _writeState.Bind(4, state.Trimmed);
        _writeState.Bind(5, state.Since);
        _writeState.Bind(6, Checksum(state));
        _writeState.Run();
        State = state;
    }

    /// <summary>Appends a row to the journal. In a transaction.</summary>
    public void Append(long position, RowKind kind, uint at, uint oldest, ReadOnlySpan<uint> entries)
    {
        var bytes = MemoryMarshal.AsBytes(entries);
        _append.Bind(1, position);
        _append.Bind(2, (long)kind);
        _append.Bind(3, at);
        _append.Bind(4, oldest);
        _append.Bind(5, Checksum(bytes, (ulong)position, (ulong)kind, at, oldest));
        _append.Bind(6, bytes);
        _append.Run();
    }

    /// <summary>Writes the image of a page over an earlier one. In a transaction.</summary>
    public void WriteImage(Plane plane, int page, long position, uint oldest, ReadOnlySpan<uint> words)
    {
        var id = ((long)plane << PlaneShift) | (uint)page;
        var bytes = MemoryMarshal.AsBytes(words);
        _writeImage.Bind(1, id);
        _writeImage.Bind(2, position);
        _writeImage.Bind(3, oldest);
        _writeImage.Bind(4, Checksum(bytes, (ulong)id, (ulong)position, oldest, 0));
        _writeImage.Bind(5, bytes);
        _writeImage.Run();
    }

    /// <summary>Deletes the rows up to a position. In a transaction, a few hundred at a time.</summary>
    public void Trim(long position)
    {
        _trim.Bind(1, position);
        _trim.Run();
        WriteState(State with { Trimmed = position });
    }

    /// <summary>Moves what the WAL holds into the file, as far as it can, so that the WAL's room may be used again.</summary>
    /// <exception cref="StoreUnavailableException">The file is not as it was written.</exception>
    public void FoldWal() => _seal!.TryCheckpoint(_connection);

    /// <summary>Says what hears of damage that is found while the file is open.</summary>
    public void ReportTo(FolderWatch? watch) => _seal!.Watch = watch;

    /// <summary>Allows the file at most this many pages: what a full disk does, for tests.</summary>
    internal void LimitPages(long pages) => Tell(_connection, $"PRAGMA max_page_count = {pages}");

    /// <summary>Pages of the file in use.</summary>
    internal long PageCount => Ask(_connection, "PRAGMA page_count");

    /// <summary>Reads the rows of the journal, in order.</summary>
    public void ReadRows(RowVisitor visit)
    {
        using var rows = new SqliteStatement(_connection, "SELECT position, kind, at, oldest, crc, entries FROM journal ORDER BY position");
        var expected = State.Trimmed + 1;
        while (rows.Step())
        {
            var position = rows.Int64(0);
            if (position != expected++)
                throw DataFolder.Damaged(FilePath, $"row {expected - 1} of the journal is missing");
            if (!IsRightRow(rows))
                throw DataFolder.Damaged(FilePath, $"the checksum of row {position} of the journal is wrong");
            visit(position, (RowKind)rows.Int64(1), (uint)rows.Int64(3), MemoryMarshal.Cast<byte, uint>(rows.Blob(5)));
        }
    }

    /// <summary>Reads the images of ranges of pages, each up to its end and without it; returns how many there were. Any thread.</summary>
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
                    throw DataFolder.Damaged(path, $"the checksum of page {page} is wrong");
                visit(plane, page, images.Int64(1), (uint)images.Int64(2), words);
                count++;
            }
        }

        return count;
    }

    /// <summary>Closes the file in order: what is in the WAL is in the file then.</summary>
    public void Dispose() => Close(finishes: true);

    /// <summary>Closes the file as a crash would: the WAL stays.</summary>
    public void Abandon() => Close(finishes: false);

    private void Close(bool finishes)
    {
        Reader?.Dispose();
        foreach (var statement in _statements)
            statement.Dispose();
        if (finishes)
            _seal?.Finish(_connection);
        _connection.Dispose();
        _seal?.Dispose();
    }

    // Before SQLite sees the file, which is made here where it is missing: it would roll back or recover what somebody else left half done.
    private static void CheckHeader(string path)
    {
        Span<byte> header = stackalloc byte[100];
        try
        {
            PrivateFile.Prepare(path);
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
            var length = file.ReadAtLeast(header, header.Length, throwOnEndOfStream: false);
            if (length == 0)
                return;
            if (length < header.Length || !header.StartsWith("SQLite format 3\0"u8) || BinaryPrimitives.ReadInt32BigEndian(header[68..]) != ApplicationId)
                throw new DataFolderException($"{path} is not an Aglow file of words, or its beginning is damaged; nothing was changed. Restore a backup, or name another folder with --data.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataFolderException($"{path} cannot be read ({e.Message}): give this user the right to, or name another folder with --data.", e);
        }
    }

    private static void Create(SqliteConnection connection)
    {
        var none = new FileState(0, IsClean: true, 0, 0, 0);
        Tell(
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

    /// <summary>Whether the checksum of a row is right: position, kind, at, oldest, crc, entries.</summary>
    internal static bool IsRightRow(SqliteStatement row)
    {
        var bytes = row.Blob(5);
        return bytes.Length % 8 == 0
            && row.Int64(4) == Checksum(bytes, (ulong)row.Int64(0), (ulong)row.Int64(1), (ulong)row.Int64(2), (ulong)row.Int64(3));
    }

    /// <summary>Whether the checksum of an image is right: id, position, oldest, crc, words.</summary>
    internal static bool IsRightImage(SqliteStatement image, out int page, out ReadOnlySpan<uint> words)
    {
        var id = image.Int64(0);
        var bytes = image.Blob(4);
        page = (int)(id & ((1 << PlaneShift) - 1));
        words = MemoryMarshal.Cast<byte, uint>(bytes);
        return bytes.Length % 4 == 0 && words.Length <= PageLayout.Slots
            && image.Int64(3) == Checksum(bytes, (ulong)id, (ulong)image.Int64(1), (ulong)image.Int64(2), 0);
    }

    /// <summary>The state as the file has it; null where it is missing, or its checksum is wrong.</summary>
    internal FileState? FindState()
    {
        using var row = new SqliteStatement(_connection, "SELECT tick, clean, images, trimmed, since, crc FROM state WHERE id = 0");
        if (!row.Step())
            return null;
        var state = new FileState((uint)row.Int64(0), row.Int64(1) != 0, (int)row.Int64(2), row.Int64(3), (uint)row.Int64(4));
        return row.Int64(5) == Checksum(state) ? state : null;
    }

    private void ReadState()
    {
        State = FindState() ?? throw DataFolder.Damaged(FilePath, "the checksum of its state is wrong");
        using var last = new SqliteStatement(_connection, "SELECT at FROM journal ORDER BY position DESC LIMIT 1");
        LastAlive = last.Step() ? Math.Max(State.Tick, (uint)last.Int64(0)) : State.Tick;
    }

    private void Upgrade(long version)
    {
        if (version < 2 && LastAlive > Pulse.SecondMask)
            throw new DataFolderException($"{FilePath} was written by an older Aglow under a clock later than 2053, and its words cannot be told apart: restore a backup, or name another folder with --data.");
        if (version < SealedFrom)
            _seal ??= SqliteFile.FirstSeal(_connection, FilePath);
        if (_seal is null)
            throw DataFolder.Damaged(FilePath, $"{Path.GetFileName(PageSums.PathOf(FilePath))} is missing");
        if (version < SchemaVersion)
            Tell(_connection, $"PRAGMA user_version = {SchemaVersion}");
        // what a crash left in the WAL, and the version
        _seal.TryCheckpoint(_connection);
    }

    private SqliteStatement Prepare(string sql)
    {
        var statement = new SqliteStatement(_connection, sql);
        _statements.Add(statement);
        return statement;
    }

    /// <summary>A connection of its own for whoever only reads.</summary>
    internal static SqliteConnection ConnectToRead(string path) => Connect(path, SqliteOpenMode.ReadOnly);

    /// <summary>The connection that writes: for what must be in the same transaction, or be done before the writer starts.</summary>
    internal SqliteConnection Connection => _connection;

    private static SqliteConnection Connect(string path, SqliteOpenMode mode)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = mode, Pooling = false, DefaultTimeout = 2, Vfs = SqliteFile.Vfs }.ToString());
        connection.Open();
        SqliteFile.CheckpointOnClose(connection, false);
        Tell(connection, "PRAGMA busy_timeout = 2000");
        return connection;
    }

    private static void Tell(SqliteConnection connection, string sql) =>
        SqliteException.ThrowExceptionForRC(SQLitePCL.raw.sqlite3_exec(connection.Handle!, sql), connection.Handle);

    private static long Ask(SqliteConnection connection, string sql)
    {
        using var statement = new SqliteStatement(connection, sql);
        return statement.Step() ? statement.Int64(0) : 0;
    }

    private static uint Checksum(FileState state) =>
        Checksum(default, state.Tick | ((ulong)state.Since << 32), state.IsClean ? 1UL : 0UL, (ulong)state.Images, (ulong)state.Trimmed);

    // CRC-32C: an instruction on every processor of interest, 8 bytes at a time.
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private static uint Checksum(ReadOnlySpan<byte> bytes, ulong a, ulong b, ulong c, ulong d)
    {
        var crc = uint.MaxValue;
        crc = BitOperations.Crc32C(crc, a);
        crc = BitOperations.Crc32C(crc, b);
        crc = BitOperations.Crc32C(crc, c);
        crc = BitOperations.Crc32C(crc, d);
        foreach (var eight in MemoryMarshal.Cast<byte, ulong>(bytes))
            crc = BitOperations.Crc32C(crc, eight);
        foreach (var one in bytes[(bytes.Length & ~7)..])
            crc = BitOperations.Crc32C(crc, one);
        return crc;
    }
}
