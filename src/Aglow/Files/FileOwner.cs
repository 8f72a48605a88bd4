using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Aglow.Files;

/// <summary>Gives files that root creates to the owner of their folder, as <c>chown</c> does.</summary>
internal static partial class FileOwner
{
    /// <summary>Gives an open file to the owner of a folder. Does nothing if this process is not root.</summary>
    /// <remarks>Takes a handle and no path, because the owner of the folder could put another file there.</remarks>
    public static void Give(SafeFileHandle file, string folder)
    {
        if (OperatingSystem.IsWindows() || !Environment.IsPrivilegedProcess || FileIdentity.OwnerOf(folder) is not (var user, var group))
            return;
        if (fchown(file, user, group) != 0)
            throw new IOException($"A file cannot be given to the owner of {folder}: {Marshal.GetLastPInvokeErrorMessage()}");
    }

    [LibraryImport("libc", SetLastError = true)]
    private static partial int fchown(SafeFileHandle file, uint user, uint group);
}
