using System.Text;
using Aglow.Files;
using Aglow.Sqlite;

namespace Aglow.Durable;

/// <summary>
/// The folder of the embedded store, held by one server at a time.
/// </summary>
/// <remarks>
/// <code>
///   presence.db   words: page images and journal (<see cref="Journal"/>)
///   users.db      users, subscriptions, claims (<c>SqliteUserDirectory</c>)
///   consumers.db  how far each consumer of the feed of changes has read; may be missing
///   NAME-sums     a checksum of each page of the database NAME, see <see cref="PageSums"/>
///   from-backup   a backup made this folder: the first start begins a new generation of the feed, and deletes the file
///   checkpoint.lock  locked by a checkpoint or a backup
///   lock          locked while a server runs; the kernel unlocks it even after kill -9
///   pid           the process of that server, for the error message of a second one
/// </code>
/// If the folder cannot be used, a <see cref="DataFolderException"/> with a message of one line is thrown, and nothing is overwritten.
/// </remarks>
internal sealed class DataFolder : IDisposable
{
    internal const string ConsumersName = "consumers.db";

    /// <summary>The name of the file that marks a folder which a backup made.</summary>
    internal const string BackupMark = "from-backup";

    /// <summary>How the name of a folder with the complete databases of a repair begins.</summary>
    internal const string RepairedPrefix = "repaired-";

    private readonly FileStream _lock;

    private DataFolder(string path, FileStream @lock)
    {
        FullPath = path;
        _lock = @lock;
    }

    public string FullPath { get; }

    public string PresencePath => Path.Combine(FullPath, "presence.db");

    public string UsersPath => Path.Combine(FullPath, "users.db");

    internal string ConsumersPath => Path.Combine(FullPath, ConsumersName);

    /// <summary>Locks a folder for this process, and creates it if it is missing.</summary>
    /// <exception cref="DataFolderException">The folder cannot be created or written, or another server uses it.</exception>
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
                $"The data folder {full} cannot be used ({e.Message}): make it a folder that this user may write, with room on its disk, "
                    + $"or name another: {OptionNames.DataDirectory}.", e);
        }
    }

    /// <summary>
    /// Checks that the folder has both databases or none, and each database of which there are other files. Call it before the journal is
    /// opened.
    /// </summary>
    /// <exception cref="DataFolderException">A database is missing.</exception>
    internal void EnsureComplete()
    {
        EnsureRepaired();
        // an interrupted first start leaves a presence.db without users
        if (File.Exists(PresencePath) && !File.Exists(UsersPath) && PresenceFile.WasStarted(PresencePath))
            throw FileProblem.Damaged(UsersPath, "it is missing");
        if (File.Exists(PageSums.PathOf(UsersPath)) && !File.Exists(PresencePath))
            throw FileProblem.Damaged(PresencePath, "it is missing");
        foreach (var path in new[] { PresencePath, UsersPath, ConsumersPath })
        {
            if (!File.Exists(path) && SqliteFile.Had(path))
                throw FileProblem.Damaged(path, "it is missing");
        }
    }

    /// <summary>The folders of new databases whose repair was interrupted before they were installed.</summary>
    internal static string[] FindUnfinishedRepairs(string folder) =>
        Directory.Exists(folder) ? Directory.GetDirectories(folder, RepairedPrefix + "*") : [];

    /// <summary>Checks that no repair of the folder was interrupted.</summary>
    /// <exception cref="DataFolderException">One was.</exception>
    internal void EnsureRepaired()
    {
        if (FindUnfinishedRepairs(FullPath).Length > 0)
            throw new DataFolderException(
                $"A repair of {FullPath} was interrupted: run \"aglow repair --keep-what-is-good\" with --data {FullPath} again, which "
                    + "ends it.");
    }

    public void Dispose()
    {
        DropPid();
        _lock.Dispose();
    }

    // Deletes only the file of this process, because the folder may have been replaced by that of another server. A file that stays does
    // no harm: only the lock decides who uses the folder.
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
            // the folder is lost, which was logged already
        }
    }

    private static FileStream Hold(string folder, string pid)
    {
        var path = Path.Combine(folder, "lock");
        try
        {
            return PrivateFile.Open(path);
        }
        catch (IOException e) when (PrivateFile.IsHeld(e))
        {
            var holder = File.Exists(pid) ? $"process {File.ReadAllText(pid).Trim()}" : "another process";
            throw new DataFolderException(
                $"The data folder {folder} is in use by {holder}: stop that server, or name another folder: {OptionNames.DataDirectory}.",
                e);
        }
    }
}
