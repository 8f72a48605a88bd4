using System.Buffers.Binary;
using System.Runtime.InteropServices;

namespace Aglow.Files;

/// <summary>The identity of a file: its device and inode. Two names of the same file have the same identity.</summary>
/// <remarks>
/// SQLite identifies its files by the same two numbers. On a system without <c>statx</c>, every file that exists counts as the same.
/// </remarks>
internal readonly partial record struct FileIdentity(ulong Device, ulong Inode)
{
    private const int WorkingFolder = -100;
    private const uint StatxType = 1;
    private const uint StatxInode = 0x100;
    private const uint StatxOwner = 0x18;
    private const int Write = 2;

    // offsets of struct statx, which are the same on every processor
    private const int UserAt = 20;
    private const int GroupAt = 24;
    private const int ModeAt = 28;
    private const int InodeAt = 32;
    private const int DeviceAt = 136;

    // the part of a mode that tells the type, and the type of regular files
    private const int TypeMask = 0xF000;
    private const int RegularType = 0x8000;

    private static readonly bool HasStatx = OperatingSystem.IsLinux() && TryStatx();

    /// <summary>The identity of the file at a path; null: there is no file.</summary>
    public static FileIdentity? Of(string path)
    {
        if (!HasStatx)
            return Path.Exists(path) ? default(FileIdentity) : null;
        Span<byte> answer = stackalloc byte[256];
        return Statx(path, answer) != 0
            ? null
            : new(BinaryPrimitives.ReadUInt64LittleEndian(answer[DeviceAt..]), BinaryPrimitives.ReadUInt64LittleEndian(answer[InodeAt..]));
    }

    /// <summary>The user and group that own the file or folder at a path; null: unknown.</summary>
    public static (uint User, uint Group)? OwnerOf(string path)
    {
        Span<byte> answer = stackalloc byte[256];
        return !HasStatx || statx(WorkingFolder, path, 0, StatxOwner, ref MemoryMarshal.GetReference(answer)) != 0
            ? null
            : (BinaryPrimitives.ReadUInt32LittleEndian(answer[UserAt..]), BinaryPrimitives.ReadUInt32LittleEndian(answer[GroupAt..]));
    }

    /// <summary>Whether there is a regular file at a path, or a link to one. Does not open it.</summary>
    public static bool IsRegular(string path)
    {
        if (!HasStatx)
            return File.Exists(path);
        Span<byte> answer = stackalloc byte[256];
        return statx(WorkingFolder, path, 0, StatxType, ref MemoryMarshal.GetReference(answer)) == 0
            && (BinaryPrimitives.ReadUInt16LittleEndian(answer[ModeAt..]) & TypeMask) == RegularType;
    }

    /// <summary>Whether this process may write the file or folder, and the reason if not. Does not open it.</summary>
    public static bool IsWritable(string path, out string reason)
    {
        reason = "";
        if (OperatingSystem.IsWindows() || access(path, Write) == 0)
            return true;
        reason = Marshal.GetPInvokeErrorMessage(Marshal.GetLastPInvokeError());
        return false;
    }

    private static int Statx(string path, Span<byte> answer) =>
        statx(WorkingFolder, path, 0, StatxInode, ref MemoryMarshal.GetReference(answer));

    private static bool TryStatx()
    {
        try
        {
            return Statx("/", stackalloc byte[256]) == 0;
        }
        catch (EntryPointNotFoundException)
        {
            return false;
        }
    }

    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial int statx(int folder, string path, int flags, uint mask, ref byte answer);

    [LibraryImport("libc", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int access(string path, int mode);
}
