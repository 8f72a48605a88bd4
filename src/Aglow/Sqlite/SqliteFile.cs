using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Aglow.Durable;
using Aglow.Storage;
using Microsoft.Data.Sqlite;

namespace Aglow.Sqlite;

/// <summary>
/// A SQLite file of ours: opened only where it is new, or known to be ours by its application_id.
/// </summary>
/// <remarks>
/// A foreign, damaged, newer or unwritable file is refused with a <see cref="DataFolderException"/> and left as it was: the
/// header is read before SQLite sees the file. A new file gets its schema in one transaction, before it becomes a WAL file, so
/// that the header is ours whatever happens in between.
/// </remarks>
internal sealed class SqliteFile : IDisposable
{
    // SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
    private const int NoCheckpointOnClose = 1006;

    private static readonly byte[] Magic = "SQLite format 3\0"u8.ToArray();

    private SqliteFile(string path, PageSeal seal)
    {
        Path = path;
        Seal = seal;
    }

    public string Path { get; }

    /// <summary>Checks what is written, and has checked the whole file.</summary>
    public PageSeal Seal { get; }

    /// <summary>Opens or makes the file.</summary>
    /// <param name="folder">Made where it does not exist.</param>
    /// <param name="name">The file's name in it.</param>
    /// <param name="applicationId">Four bytes that say whose file it is.</param>
    /// <param name="version">The schema's version: a file with a higher one is refused.</param>
    /// <param name="schema">SQL that makes a new file's tables.</param>
    /// <param name="sealedFrom">The first version whose files have page sums (<see cref="PageSeal"/>).</param>
    /// <param name="upgrades">From a version: SQL that makes its tables those of the next one.</param>
    /// <exception cref="DataFolderException">It cannot be used; the message is one line.</exception>
    public static SqliteFile Open(
        string folder, string name, int applicationId, int version, string schema, int sealedFrom, params (int From, string Sql)[] upgrades)
    {
        var path = System.IO.Path.Combine(folder, name);
        PageSeal? seal = null;
        try
        {
            PrivateFile.CreateFolder(folder);
            PrivateFile.Prepare(path);
            var isNew = IsEmptyElseOurs(path, applicationId);
            seal = PageSeal.Open(path);
            using var connection = Connect(path, isNew ? SqliteOpenMode.ReadWriteCreate : SqliteOpenMode.ReadWrite, 1024);
            if (isNew)
                Make(connection, applicationId, sealedFrom - 1, schema);
            BringTo(version, sealedFrom, connection, path, ref seal, upgrades);
            return new SqliteFile(path, seal);
        }
        catch (Exception e)
        {
            seal?.Dispose();
            if (DataFolder.Explain(path, e) is { } line)
                throw line;
            throw;
        }
    }

    /// <summary>A connection to write with: one at a time. A commit is on disk (fsync of the WAL) when it returns.</summary>
    public SqliteConnection ConnectToWrite(int cacheKibibytes)
    {
        var connection = Connect(Path, SqliteOpenMode.ReadWrite, cacheKibibytes);
        // every checkpoint is the seal's
        Execute(connection, "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 0");
        return connection;
    }

    /// <summary>A connection to read with.</summary>
    public SqliteConnection ConnectToRead(int cacheKibibytes) => Connect(Path, SqliteOpenMode.ReadOnly, cacheKibibytes);

    public static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    /// <summary>Closes the seal. The last connection is closed before.</summary>
    public void Dispose() => Seal.Dispose();

    /// <summary>
    /// What to connect with. The index of the WAL is in memory and not in a file of its own, which has no checksums; so no other
    /// process can open the file at the same time.
    /// </summary>
    public static string? Vfs => OperatingSystem.IsWindows() ? null : "unix-excl";

    /// <summary>Whether SQLite makes a checkpoint, and deletes the WAL, when the last connection is closed.</summary>
    public static void CheckpointOnClose(SqliteConnection connection, bool does) =>
        _ = SQLitePCL.raw.sqlite3_db_config(connection.Handle!, NoCheckpointOnClose, does ? 0 : 1, out _);

    private static SqliteConnection Connect(string path, SqliteOpenMode mode, int cacheKibibytes)
    {
        var connection = new SqliteConnection(
            new SqliteConnectionStringBuilder { DataSource = path, Mode = mode, Pooling = false, Vfs = Vfs }.ToString());
        try
        {
            connection.Open();
            CheckpointOnClose(connection, false);
            Execute(connection, $"PRAGMA cache_size = -{cacheKibibytes}; PRAGMA temp_store = MEMORY; PRAGMA busy_timeout = 10000");
            return connection;
        }
        catch
        {
            connection.Dispose();
            throw;
        }
    }

    private static bool IsEmptyElseOurs(string path, int applicationId)
    {
        Span<byte> header = stackalloc byte[100];
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var length = RandomAccess.Read(file, header, 0);
        if (length == 0)
            return true;
        if (length < header.Length || !header.StartsWith(Magic))
            throw new DataFolderException(
                $"{path} is not an Aglow file, or its beginning is damaged; nothing was changed. Restore a backup, or move it away to "
                    + "begin anew.");
        if (BinaryPrimitives.ReadInt32BigEndian(header[68..]) != applicationId)
            throw new DataFolderException(
                $"{path} is another program's SQLite file; nothing was changed. Move it away, or name another folder with --data.");
        return false;
    }

    private static void Make(SqliteConnection connection, int applicationId, int version, string schema)
    {
        Execute(connection, $"BEGIN IMMEDIATE; PRAGMA application_id = {applicationId}; PRAGMA user_version = {version}; {schema}; COMMIT");
        Execute(connection, "PRAGMA journal_mode = WAL");
    }

    // Each step in one transaction, so a crash leaves one version or the other; the sums are made before the version that has them.
    private static void BringTo(
        int version,
        int sealedFrom,
        SqliteConnection connection,
        string path,
        [NotNull] ref PageSeal? seal,
        (int From, string Sql)[] upgrades)
    {
        Execute(connection, "PRAGMA wal_autocheckpoint = 0");
        var found = VersionOf(connection);
        if (found > version)
            throw new DataFolderException(
                $"{path} was written by a newer Aglow (schema {found}, this one knows {version}): start that version, or name another "
                    + "folder with --data.");
        // a crash may have come before the file was made a WAL file; and a file that cannot be written is better known now
        Execute(connection, "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; ROLLBACK");
        while (found < version)
        {
            var sql = Array.Find(upgrades, upgrade => upgrade.From == found).Sql;
            if (sql is null && found != sealedFrom - 1)
                throw new DataFolderException(
                    $"{path} was written by an older Aglow (schema {found}, this one reads {version}): start that version on it, or name "
                        + "another folder with --data.");
            if (found == sealedFrom - 1)
                seal ??= FirstSeal(connection, path);
            Execute(connection, $"BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {++found}; COMMIT");
        }

        if (seal is null)
            throw DataFolder.Damaged(path, $"{System.IO.Path.GetFileName(PageSums.PathOf(path))} is missing");
        // what a crash left in the WAL, and the version
        seal.TryCheckpoint(connection);
    }

    /// <summary>Seals a file of a version before: as far as SQLite can tell, it is whole.</summary>
    public static PageSeal FirstSeal(SqliteConnection connection, string path)
    {
        using (var check = new SqliteStatement(connection, "PRAGMA quick_check(1)"))
        {
            var found = check.Step() ? check.Text(0) : null;
            if (found != "ok")
                throw DataFolder.Damaged(path, found ?? "SQLite cannot read it");
        }

        return PageSeal.Make(path, connection);
    }

    private static long VersionOf(SqliteConnection connection)
    {
        using var statement = new SqliteStatement(
            connection, "SELECT user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version");
        statement.Step();
        return statement.Int64(0);
    }
}
