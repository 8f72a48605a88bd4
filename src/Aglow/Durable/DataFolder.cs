using System.Text;
using Aglow.Sqlite;
using Aglow.Storage;
using Aglow.Users;
using Microsoft.Data.Sqlite;

namespace Aglow.Durable;

/// <summary>
/// The folder of the embedded store, held by one server at a time.
/// </summary>
/// <remarks>
/// <code>
///   presence.db   words: page images and journal (<see cref="Journal"/>)
///   users.db      users, subscriptions, manual status (<see cref="SqliteUserDirectory"/>)
///   consumers.db  places of consumers of the feed of changes, where there are any
///   NAME-sums     a checksum of each page of the database NAME, see <see cref="PageSums"/>
///   checkpoint.lock  held by a checkpoint, or by a backup
///   lock          locked while a server runs; the kernel lets go of it even at kill -9
///   pid           which process that is, for the one that is turned away
/// </code>
/// A folder that cannot be used ends in a <see cref="DataFolderException"/> of one line, and nothing in it is overwritten.
/// </remarks>
public sealed class DataFolder : IDisposable
{
    private const int LockedOnLinux = 11, LockedOnMac = 35, LockedOnWindows = unchecked((int)0x80070020);
    private readonly FileStream _lock;

    private DataFolder(string path, FileStream @lock)
    {
        FullPath = path;
        _lock = @lock;
    }

    /// <summary>The folder.</summary>
    public string FullPath { get; }

    /// <summary>The file of words.</summary>
    public string PresencePath => Path.Combine(FullPath, "presence.db");

    /// <summary>The file of users.</summary>
    public string UsersPath => Path.Combine(FullPath, "users.db");

    /// <summary>Opens a folder, made if it is not there, for this process alone.</summary>
    /// <exception cref="DataFolderException">It cannot be made or written, or another server holds it.</exception>
    public static DataFolder Open(string path)
    {
        var full = Path.GetFullPath(path);
        var pid = Path.Combine(full, "pid");
        FileStream? held = null;
        try
        {
            PrivateFile.CreateFolder(full);
            held = Hold(full, pid);
            using (var file = PrivateFile.Replace(pid))
                file.Write(Encoding.ASCII.GetBytes($"{Environment.ProcessId}\n"));
            PrivateFile.Prepare(Path.Combine(full, CheckpointLock.FileName));
            return new DataFolder(full, held);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            held?.Dispose();
            throw new DataFolderException(
                $"The data folder {full} cannot be used ({e.Message}): make it a folder that this user may write, with room on its disk, or name another with --data.", e);
        }
    }

    /// <summary>
    /// Words without users, or users without words, are a folder that has lost a file. Before the journal is opened.
    /// </summary>
    /// <exception cref="DataFolderException">A file is missing.</exception>
    internal void EnsureHasBoth()
    {
        // a first start that was cut short has words of nobody
        if (File.Exists(PresencePath) && !File.Exists(UsersPath) && PresenceFile.WasStarted(PresencePath))
            throw Damaged(UsersPath, "it is missing");
        if (File.Exists(PageSums.PathOf(UsersPath)) && !File.Exists(PresencePath))
            throw Damaged(PresencePath, "it is missing");
    }

    /// <summary>Lets go of the folder.</summary>
    public void Dispose()
    {
        DropPid();
        _lock.Dispose();
    }

    /// <summary>One line for the operator about a file that cannot be opened; null: this exception is not about it.</summary>
    internal static DataFolderException? Explain(string file, Exception e) => e switch
    {
        SqliteException sqlite => Explain(file, sqlite),
        StoreUnavailableException damaged => new DataFolderException(damaged.Message, damaged),
        IOException or UnauthorizedAccessException => new DataFolderException(
            $"{file} cannot be opened ({e.Message}): give this user the right to, or name another folder with --data.", e),
        _ => null,
    };

    /// <summary>One line for the operator about a file that SQLite cannot use.</summary>
    internal static DataFolderException Explain(string file, SqliteException e) => new(
        e.SqliteErrorCode switch
        {
            SQLitePCL.raw.SQLITE_NOTADB => $"{file} is not an Aglow file, or its beginning is damaged; nothing was changed. Restore a backup, or move the folder away to begin anew.",
            SQLitePCL.raw.SQLITE_CORRUPT => Damaged(file, e.Message).Message,
            SQLitePCL.raw.SQLITE_FULL => $"There is no room to write {file}: free some on its disk and start again.",
            SQLitePCL.raw.SQLITE_READONLY or SQLitePCL.raw.SQLITE_CANTOPEN or SQLitePCL.raw.SQLITE_PERM =>
                $"{file} cannot be opened for writing ({e.Message}): give this user the right to, or name another folder with --data.",
            SQLitePCL.raw.SQLITE_BUSY or SQLitePCL.raw.SQLITE_LOCKED => $"{file} is held by another program (a backup, a SQLite shell): end that and start again.",
            _ => $"{file} cannot be read or written ({e.Message}): check its disk; nothing was overwritten.",
        },
        e);

    /// <summary>One line for the operator about a file whose content is not what was written.</summary>
    internal static DataFolderException Damaged(string file, string what) =>
        new($"{file} is damaged ({what}); nothing was changed. Restore a backup of the folder, or save the rest of it: "
            + "\"aglow check\" says what is lost, and \"aglow repair --keep-what-is-good\" keeps what is not. Name the folder with --data "
            + $"{Path.GetDirectoryName(file)}.");

    // In another folder's place it is another server's. What cannot be deleted matters to nobody: the lock says who holds the folder.
    private void DropPid()
    {
        var pid = Path.Combine(FullPath, "pid");
        try
        {
            if (File.Exists(pid) && File.ReadAllText(pid).Trim() == $"{Environment.ProcessId}")
                File.Delete(pid);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // the folder is lost, and that was said
        }
    }

    private static FileStream Hold(string folder, string pid)
    {
        var path = Path.Combine(folder, "lock");
        try
        {
            return PrivateFile.Open(path);
        }
        catch (IOException e) when (e.HResult is LockedOnLinux or LockedOnMac or LockedOnWindows)
        {
            var holder = File.Exists(pid) ? $"process {File.ReadAllText(pid).Trim()}" : "another process";
            throw new DataFolderException($"The data folder {folder} is in use by {holder}: stop that server, or name another folder with --data.", e);
        }
    }
}
