using Aglow.Files;

namespace Aglow.Sqlite;

/// <summary>
/// Prevents checkpoints during a backup: both take this lock. Without a checkpoint, the folder's databases change only by appending to
/// their WALs.
/// </summary>
internal static class CheckpointLock
{
    public const string FileName = "checkpoint.lock";

    /// <summary>Whether a server has created the file. A backup never creates it, because it may run as another user.</summary>
    public static bool Exists(string folder) => File.Exists(Path.Combine(folder, FileName));

    /// <summary>Takes the lock; null: another process has it. The kernel releases it when a process ends.</summary>
    public static FileStream? TryTake(string folder) => TryTake(() => PrivateFile.Open(Path.Combine(folder, FileName)));

    /// <summary>The same for a process that may not write the folder, or whose disk takes no writes.</summary>
    public static FileStream? TryTakeToRead(string folder) =>
        TryTake(() => new FileStream(Path.Combine(folder, FileName), FileMode.Open, FileAccess.Read, FileShare.None));

    private static FileStream? TryTake(Func<FileStream> open)
    {
        try
        {
            return open();
        }
        catch (IOException e) when (PrivateFile.IsHeld(e))
        {
            return null;
        }
    }
}
