using System.IO.Compression;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Aglow.Server;

/// <summary>
/// Loads SQLite's library from the native program that <c>./aglow publish</c> makes, so that the program is one file. The library is loaded
/// into anonymous memory (<c>memfd_create</c>), never into a folder.
/// </summary>
/// <remarks>Rejected: static linking, because no package has SQLite's static library for Linux.</remarks>
internal static partial class EmbeddedSqlite
{
    private const string Resource = "libe_sqlite3.so.gz";
    private const uint CloseOnExec = 1;

    /// <summary>Call this before a database is opened. Does nothing if the library is a file beside the program.</summary>
    public static void Use()
    {
        if (typeof(EmbeddedSqlite).Assembly.GetManifestResourceInfo(Resource) is not null)
            NativeLibrary.SetDllImportResolver(
                typeof(SQLitePCL.SQLite3Provider_e_sqlite3).Assembly, static (name, _, _) => name == "e_sqlite3" ? Load() : 0);
    }

    private static nint Load()
    {
        using var memory = new SafeFileHandle(memfd_create(Resource, CloseOnExec), ownsHandle: true);
        if (memory.IsInvalid)
            throw new DllNotFoundException($"SQLite cannot be loaded: memfd_create failed with error {Marshal.GetLastPInvokeError()}.");
        var compressed = typeof(EmbeddedSqlite).Assembly.GetManifestResourceStream(Resource)!;
        using var library = new GZipStream(compressed, CompressionMode.Decompress);
        using var file = new FileStream(memory, FileAccess.Write, bufferSize: 0);
        library.CopyTo(file);
        return NativeLibrary.Load($"/proc/self/fd/{memory.DangerousGetHandle()}");
    }

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int memfd_create(string name, uint flags);
}
