using System.Buffers.Binary;
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
internal sealed class SqliteFile
{
    private static readonly byte[] Magic = "SQLite format 3\0"u8.ToArray();

    private SqliteFile(string path) => Path = path;

    public string Path { get; }

    /// <summary>Opens or makes the file.</summary>
    /// <param name="folder">Made where it does not exist.</param>
    /// <param name="name">The file's name in it.</param>
    /// <param name="applicationId">Four bytes that say whose file it is.</param>
    /// <param name="version">The schema's version: a file with a higher one is refused.</param>
    /// <param name="schema">SQL that makes a new file's tables.</param>
    /// <param name="upgrades">From a version: SQL that makes its tables those of the next one.</param>
    public static SqliteFile Open(
        string folder, string name, int applicationId, int version, string schema, params (int From, string Sql)[] upgrades)
    {
        var path = System.IO.Path.Combine(folder, name);
        try
        {
            PrivateFile.CreateFolder(folder);
            PrivateFile.Prepare(path);
            var isNew = IsEmptyElseOurs(path, applicationId);
            using var connection = Connect(path, isNew ? SqliteOpenMode.ReadWriteCreate : SqliteOpenMode.ReadWrite, 1024);
            if (isNew)
                Make(connection, applicationId, version, schema);
            Check(connection, path, version, upgrades);
            return new SqliteFile(path);
        }
        catch (SqliteException e)
        {
            throw DataFolder.Explain(path, e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataFolderException(
                $"{path} cannot be opened ({e.Message}): give this user the right to, or name another folder with --data.", e);
        }
    }

    /// <summary>A connection to write with: one at a time. A commit is on disk (fsync of the WAL) when it returns.</summary>
    public SqliteConnection ConnectToWrite(int cacheKibibytes)
    {
        var connection = Connect(Path, SqliteOpenMode.ReadWrite, cacheKibibytes);
        Execute(connection, "PRAGMA synchronous = FULL; PRAGMA journal_size_limit = 67108864");
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

    private static SqliteConnection Connect(string path, SqliteOpenMode mode, int cacheKibibytes)
    {
        var connection = new SqliteConnection(
            new SqliteConnectionStringBuilder { DataSource = path, Mode = mode, Pooling = false }.ToString());
        try
        {
            connection.Open();
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

    private static void Check(SqliteConnection connection, string path, int version, (int From, string Sql)[] upgrades)
    {
        using var statement = new SqliteStatement(
            connection, "SELECT user_version, (SELECT count(*) FROM sqlite_schema) FROM pragma_user_version");
        statement.Step();
        var found = statement.Int64(0);
        statement.Reset();
        if (found > version)
            throw new DataFolderException(
                $"{path} was written by a newer Aglow (schema {found}, this one knows {version}): start that version, or name another "
                    + "folder with --data.");

        // each in one transaction, so a crash leaves either version
        while (found < version && Array.Find(upgrades, upgrade => upgrade.From == found) is { Sql: not null } upgrade)
            Execute(connection, $"BEGIN IMMEDIATE; {upgrade.Sql}; PRAGMA user_version = {++found}; COMMIT");

        if (found < version)
            throw new DataFolderException(
                $"{path} was written by an older Aglow (schema {found}, this one reads {version}): start that version on it, or name "
                    + "another folder with --data.");

        // a crash may have come before the file was made a WAL file; and a file that cannot be written is better known now
        Execute(connection, "PRAGMA journal_mode = WAL; BEGIN IMMEDIATE; ROLLBACK");
    }
}
