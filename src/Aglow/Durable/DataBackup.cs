using Aglow.Storage;
using Microsoft.Data.Sqlite;

namespace Aglow.Durable;

/// <summary>
/// Copies a data folder while its server runs: what it is started on is then as after a crash at that moment, and nothing that was acknowledged before is missing.
/// </summary>
/// <remarks>
/// <code>
///   presence.db ─► TO.partial/presence.db ─┐
///   users.db    ─► TO.partial/users.db    ─┼► checked ─► renamed to TO
///   consumers.db, keys.json where they are  ─┘
/// </code>
/// Each file is copied by SQLite in one read transaction: writers go on, and the copy is of one moment. Words first, users second, so that every number in the words is one that
/// the users' file has handed out. Rejected: copying the files themselves, which under load catches pages of
/// different moments.
/// </remarks>
public static class DataBackup
{
    private static readonly string[] Files = ["presence.db", "users.db"];

    // the places of consumers of the feed, where there are any
    private const string Consumers = "consumers.db";

    // the keys of backends, where there are any; small, and always replaced as a whole
    private const string Keys = "keys.json";

    /// <summary>Copies <paramref name="folder"/> to <paramref name="to"/>, which must not be there yet; returns how many bytes that were.</summary>
    /// <exception cref="DataFolderException">It cannot be read, or not be copied there; the message is one line.</exception>
    public static long Copy(string folder, string to)
    {
        (folder, to) = (Path.GetFullPath(folder), Path.TrimEndingDirectorySeparator(Path.GetFullPath(to)));
        if (!Files.All(name => File.Exists(Path.Combine(folder, name))))
            throw new DataFolderException($"{folder} is no data folder: name one with --data.");
        if (Path.Exists(to))
            throw new DataFolderException($"{to} is there already: name a folder that is not, such as one with the date in its name.");
        var partial = to + ".partial";
        try
        {
            PrivateFile.CreateFolder(partial);
            foreach (var name in Files)
                Copy(Path.Combine(folder, name), Path.Combine(partial, name), folder);
            if (File.Exists(Path.Combine(folder, Consumers)))
                Copy(Path.Combine(folder, Consumers), Path.Combine(partial, Consumers), folder);
            if (File.Exists(Path.Combine(folder, Keys)))
                CopyKeys(Path.Combine(folder, Keys), Path.Combine(partial, Keys));
            Directory.Move(partial, to);
            return Files.Sum(name => new FileInfo(Path.Combine(to, name)).Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataFolderException($"{partial} cannot be written ({e.Message}): name a folder that this user may make, with room on its disk.", e);
        }
        finally
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
    }

    private static void CopyKeys(string from, string to)
    {
        using var source = File.OpenRead(from);
        using var copy = PrivateFile.Replace(to);
        source.CopyTo(copy);
    }

    private static void Copy(string from, string to, string folder)
    {
        try
        {
            PrivateFile.Prepare(to);
            using var source = Connect(from, SqliteOpenMode.ReadOnly);
            using var copy = Connect(to, SqliteOpenMode.ReadWriteCreate);
            source.BackupDatabase(copy);
            using var check = copy.CreateCommand();
            check.CommandText = "PRAGMA quick_check(1)";
            if (check.ExecuteScalar() is not "ok")
                throw new DataFolderException($"{from} is damaged: there is no backup of {folder} now. Keep the one before.");
        }
        catch (SqliteException e)
        {
            throw new DataFolderException($"{from} could not be copied to {to} ({e.Message}): see that both disks are sound and have room.", e);
        }
    }

    private static SqliteConnection Connect(string path, SqliteOpenMode mode)
    {
        var connection = new SqliteConnection(new SqliteConnectionStringBuilder { DataSource = path, Mode = mode, Pooling = false }.ToString());
        connection.Open();
        return connection;
    }
}
