using System.Runtime.InteropServices;

namespace Aglow.Server;

/// <summary>
/// Keeps the process alive when a file reaches the limit of file sizes (<c>ulimit -f</c>). The write then fails, as on a full disk.
/// </summary>
internal static class FileSizeLimit
{
    // the same number on Linux and macOS
    private const PosixSignal SigXfsz = (PosixSignal)25;

    /// <summary>Ignores SIGXFSZ, which would end the process, until the result is disposed.</summary>
    public static PosixSignalRegistration? Ignore() =>
        OperatingSystem.IsWindows() ? null : PosixSignalRegistration.Create(SigXfsz, static signal => signal.Cancel = true);
}
