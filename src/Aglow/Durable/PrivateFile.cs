namespace Aglow.Durable;

/// <summary>
/// Files and folders that only their owner may read: mode 0600 in 0700, whatever the umask is. A link in a file's place is refused, because
/// its maker chose what it leads to.
/// </summary>
/// <remarks>
/// Modes of what is there already are the operator's. SQLite gives its journals the mode of their database. Windows goes by the folder's
/// own rules.
/// </remarks>
public static class PrivateFile
{
    private const UnixFileMode File600 = UnixFileMode.UserRead | UnixFileMode.UserWrite;
    private const UnixFileMode Folder700 = File600 | UnixFileMode.UserExecute;

    /// <summary>Makes a folder, and those above it, where they are missing.</summary>
    public static void CreateFolder(string path)
    {
        if (OperatingSystem.IsWindows())
            Directory.CreateDirectory(path);
        else
            Directory.CreateDirectory(path, Folder700);
    }

    /// <summary>Opens a file to write, made where it is missing.</summary>
    public static FileStream Open(string path, FileShare share = FileShare.None)
    {
        RefuseLink(path);
        return new FileStream(path, Options(FileMode.OpenOrCreate, share));
    }

    /// <summary>Makes a file in place of one that may be there.</summary>
    public static FileStream Replace(string path)
    {
        File.Delete(path);
        return new FileStream(path, Options(FileMode.CreateNew, FileShare.None));
    }

    /// <summary>Makes an empty file where there is none, for a program that would make it with another mode.</summary>
    public static void Prepare(string path)
    {
        RefuseLink(path);
        if (!File.Exists(path))
            new FileStream(path, Options(FileMode.CreateNew, FileShare.ReadWrite)).Dispose();
    }

    private static void RefuseLink(string path)
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
