using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using Aglow.Files;
using Microsoft.Data.Sqlite;

namespace Aglow.Sqlite;

/// <summary>
/// An SQLite file of this program. An existing file is opened only if its application_id shows that it is one.
/// </summary>
/// <remarks>
/// A foreign, damaged, newer or unwritable file is refused with a <see cref="DataFolderException"/> and left unchanged: its header is read
/// before SQLite opens the file. A new file gets its schema in one transaction, before it becomes a WAL file. So its header is ours even
/// after a crash in between.
/// </remarks>
internal sealed class SqliteFile(string path, PageSeal seal) : IDisposable
{
    // SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE
    private const int NoCheckpointOnClose = 1006;

    // IDs are random, so each new one changes another page of their index. 4 KiB made new IDs nearly half as fast (docs/lab/profiles.md).
    private const int PageSize = 2048;

    public string Path { get; } = path;

    /// <summary>The seal, which checks writes and has checked the whole file.</summary>
    public PageSeal Seal { get; } = seal;

    /// <summary>Opens or creates the file.</summary>
    /// <param name="folder">Created if it does not exist.</param>
    /// <param name="name">The file's name in the folder.</param>
    /// <param name="applicationId">Four bytes that identify the kind of file.</param>
    /// <param name="version">The schema's version: a file with a higher one is refused.</param>
    /// <param name="schema">SQL that creates a new file's tables.</param>
    /// <param name="sealedFrom">The first version whose files have page sums (<see cref="PageSeal"/>).</param>
    /// <param name="upgrades">For each version, SQL that upgrades its tables to the next version.</param>
    /// <exception cref="DataFolderException">The file cannot be used; the message is one line.</exception>
    public static SqliteFile Open(
        string folder, string name, int applicationId, int version, string schema, int sealedFrom, params (int From, string Sql)[] upgrades)
    {
        var path = System.IO.Path.Combine(folder, name);
        PageSeal? seal = null;
        try
        {
            PrivateFile.CreateFolder(folder);
            Prepare(path);
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
            if (FileProblem.Explain(path, e) is { } line)
                throw line;
            throw;
        }
    }

    /// <summary>Opens a connection for writing; only one may exist. When a commit returns, it is on disk (fsync of the WAL).</summary>
    public SqliteConnection ConnectToWrite(int cacheKibibytes)
    {
        var connection = Connect(Path, SqliteOpenMode.ReadWrite, cacheKibibytes);
        // only the seal makes checkpoints; deleted content is overwritten, because it is names and texts of people
        Execute(
            connection,
            "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864; PRAGMA wal_autocheckpoint = 0; PRAGMA secure_delete = ON");
        return connection;
    }

    public SqliteConnection ConnectToRead(int cacheKibibytes) => Connect(Path, SqliteOpenMode.ReadOnly, cacheKibibytes);

    public static void Execute(SqliteConnection connection, string sql)
    {
        using var command = connection.CreateCommand();
        command.CommandText = sql;
        command.ExecuteNonQuery();
    }

    /// <summary>The first integer that a query returns; 0: it returns no row.</summary>
    public static long QueryInt64(SqliteConnection connection, string sql)
    {
        using var row = new SqliteStatement(connection, sql);
        return row.First() ?? 0;
    }

    /// <summary>Runs SQLite's own check, and returns what it finds; null: nothing.</summary>
    public static string? QuickCheck(SqliteConnection connection)
    {
        using var check = new SqliteStatement(connection, "PRAGMA quick_check(1)");
        var found = check.Step() ? check.Text(0) : null;
        return found == "ok" ? null : found ?? "SQLite cannot read it";
    }

    /// <summary>Closes the seal. Close the last connection before.</summary>
    public void Dispose() => Seal.Dispose();

    /// <summary>
    /// The VFS to connect with. It keeps the index of the WAL in memory instead of a separate file, because that file has no checksums. So
    /// no other process can open the database at the same time.
    /// </summary>
    public static string? Vfs => OperatingSystem.IsWindows() ? null : "unix-excl";

    /// <summary>Sets whether SQLite makes a checkpoint, and deletes the WAL, when the last connection closes.</summary>
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

    /// <summary>The application_id of an SQLite file; null: the file is empty; -1: it is another kind of file.</summary>
    public static int? FindApplicationId(string path)
    {
        Span<byte> header = stackalloc byte[100];
        using var file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite);
        var length = RandomAccess.Read(file, header, 0);
        if (length == 0)
            return null;
        return length == header.Length && header.StartsWith("SQLite format 3\0"u8) ? BinaryPrimitives.ReadInt32BigEndian(header[68..]) : -1;
    }

    /// <summary>Whether a database is there, or was: without it, its sums and its WAL stay.</summary>
    public static bool Had(string path) =>
        File.Exists(path) || File.Exists(PageSums.PathOf(path)) || new FileInfo(path + "-wal") is { Exists: true, Length: > 0 };

    /// <summary>Refuses links in the place of a database and the files beside it, and creates the database if it is missing.</summary>
    public static void Prepare(string path)
    {
        foreach (var beside in new[] { PageSums.PathOf(path), path + "-wal", path + "-shm", path + "-journal" })
            PrivateFile.RefuseLink(beside);
        PrivateFile.Prepare(path);
    }

    private static bool IsEmptyElseOurs(string path, int applicationId)
    {
        var found = FindApplicationId(path);
        if (found == -1)
            throw new DataFolderException(
                $"{path} is not an Aglow file, or its beginning is damaged; nothing was changed. Restore a backup, or move it away to "
                    + "start again.");
        if (found is not null && found != applicationId)
            throw new DataFolderException(
                $"{path} is another program's SQLite file; nothing was changed. Move it away, or name another folder: "
                    + $"{OptionNames.DataDirectory}.");
        return found is null;
    }

    private static void Make(SqliteConnection connection, int applicationId, int version, string schema)
    {
        Execute(
            connection,
            $"""
            PRAGMA page_size = {PageSize};
            BEGIN IMMEDIATE; PRAGMA application_id = {applicationId}; PRAGMA user_version = {version}; {schema}; COMMIT
            """);
        Execute(connection, "PRAGMA journal_mode = WAL");
    }

    // Each step is one transaction, so a crash leaves one version or the other. The sums are created before the version that has them.
    private static void BringTo(
        int version,
        int sealedFrom,
        SqliteConnection connection,
        string path,
        [NotNull] ref PageSeal? seal,
        (int From, string Sql)[] upgrades)
    {
        Execute(connection, "PRAGMA wal_autocheckpoint = 0");
        // also reads the schema, so that a file which is no database fails here
        var found = QueryInt64(connection, "SELECT user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version");
        if (found > version)
            throw new DataFolderException(
                $"{path} was written by a newer Aglow (schema {found}, this one knows {version}): start that version, or name another "
                    + $"folder: {OptionNames.DataDirectory}.");
        // A crash may have come before the file became a WAL file. This also finds an unwritable file now instead of later.
        Execute(connection, "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; ROLLBACK");
        while (found < version)
        {
            var sql = Array.Find(upgrades, upgrade => upgrade.From == found).Sql;
            if (sql is null && found != sealedFrom - 1)
                throw new DataFolderException(
                    $"{path} was written by an older Aglow (schema {found}, this one reads {version}): start that version on it, or name "
                        + $"another folder: {OptionNames.DataDirectory}.");
            if (found == sealedFrom - 1)
                seal ??= FirstSeal(connection, path);
            Execute(connection, $"BEGIN IMMEDIATE; {sql}; PRAGMA user_version = {++found}; COMMIT");
        }

        if (seal is null)
            throw FileProblem.Damaged(path, $"{System.IO.Path.GetFileName(PageSums.PathOf(path))} is missing");
        // copies what a crash left in the WAL, and the version
        seal.TryCheckpoint(connection);
    }

    /// <summary>Seals a file of an earlier version, after SQLite's own check of it.</summary>
    public static PageSeal FirstSeal(SqliteConnection connection, string path)
    {
        if (QuickCheck(connection) is { } damage)
            throw FileProblem.Damaged(path, damage);
        return PageSeal.Make(path, connection);
    }
}
