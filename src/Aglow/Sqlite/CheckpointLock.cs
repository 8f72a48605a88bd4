using Aglow.Durable;

namespace Aglow.Sqlite;

/// <summary>
/// Held while the databases of a folder change other than by appending to their WALs: by a checkpoint, or by a backup that wants none.
/// </summary>
internal static class CheckpointLock
{
    /// <summary>The file's name.</summary>
    public const string FileName = "checkpoint.lock";

    /// <summary>Whether a server has made it. A backup makes none, because it may be another user's.</summary>
    public static bool Exists(string folder) => File.Exists(Path.Combine(folder, FileName));

    /// <summary>Takes it; null: another process has it. The kernel lets go of it when a process ends.</summary>
    public static FileStream? TryTake(string folder)
    {
        try
        {
            return PrivateFile.Open(Path.Combine(folder, FileName));
        }
        catch (IOException)
        {
            return null;
        }
    }
}
