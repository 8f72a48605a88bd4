namespace Aglow.Files;

/// <summary>
/// Creates files and folders that only their owner can read: mode 0600 in 0700, whatever the umask is. Refuses symbolic links, because
/// their creator chose the target. What root creates belongs to the owner of the folder, because the server does not run as root.
/// </summary>
/// <remarks>
/// The modes of existing files are left to the operator. SQLite gives a WAL the mode of its database. On Windows the permissions of the
/// folder apply.
/// </remarks>
public static class PrivateFile
{
    private const int LockedOnLinux = 11, LockedOnMac = 35, LockedOnWindows = unchecked((int)0x80070020);
    private const UnixFileMode File600 = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode Folder700 = File600 | UnixFileMode.UserExecute;

    /// <summary>
    /// Whether a file could not be written, or a folder not made. .NET reports a limit of file sizes as an argument that is out of range.
    /// </summary>
    internal static bool IsWriteFailure(Exception? e) =>
        e is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException;

    /// <summary>Creates a folder and its parents, if they are missing.</summary>
    public static void CreateFolder(string path)
    {
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(path);
        else
            Directory.CreateDirectory(path, Folder700);
    }

    /// <summary>Opens a file for writing, and creates it if it is missing.</summary>
    public static FileStream Open(string path, FileShare share = FileShare.None)
    {
        Prepare(path);
        return new FileStream(path, Options(FileMode.OpenOrCreate, share));
    }

    /// <summary>Creates a file, and deletes one of the same name first.</summary>
    public static FileStream Replace(string path)
    {
        File.Delete(path);
        return Create(path, FileShare.None);
    }

    /// <summary>
    /// Whether there is a regular file at a path, or a link to one. A reader that may not wait asks before it opens the file, because
    /// opening a pipe waits for a writer.
    /// </summary>
    public static bool IsRegular(string path) => FileIdentity.IsRegular(path);

    /// <summary>Whether a file could not be opened because another process has locked it.</summary>
    internal static bool IsHeld(IOException e) => e.HResult is LockedOnLinux or LockedOnMac or LockedOnWindows;

    /// <summary>Creates an empty file if it is missing, for a library that would create it with another mode.</summary>
    public static void Prepare(string path)
    {
        RefuseLink(path);
        if (File.Exists(path))
            return;
        try
        {
            Create(path, FileShare.ReadWrite).Dispose();
        }
        catch (IOException) when (File.Exists(path))
        {
            // another process was faster
        }
    }

    private static FileStream Create(string path, FileShare share)
    {
        var file = new FileStream(path, Options(FileMode.CreateNew, share));
        FileOwner.Give(file.SafeFileHandle, Path.GetDirectoryName(Path.GetFullPath(path))!);
        return file;
    }

    internal static void RefuseLink(string path)
    {
        if (new FileInfo(path).LinkTarget is { } target)
            throw new IOException($"{path} is a link to {target}: remove it, or put the file itself in its place");
    }

    private static FileStreamOptions Options(FileMode mode, FileShare share)
    {
        var options = new FileStreamOptions { Mode = mode, Access = FileAccess.ReadWrite, Share = share };
        if (!OperatingSystem.IsWindows())
            options.UnixCreateMode = File600;
        return options;
    }
}
