using System.Buffers.Binary;
using System.Numerics;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Aglow.Files;
using Microsoft.Win32.SafeHandles;

namespace Aglow.Sqlite;

/// <summary>How much of a WAL is known to be on disk.</summary>
/// <param name="Sequence">Counts the notes; the higher of two is newer.</param>
/// <param name="Salt">Identifies the WAL, see <see cref="WalReader.Salt"/>.</param>
/// <param name="Frames">The least number of frames that the WAL has; 0: none of them is needed.</param>
/// <param name="Sum">The checksum of the last of these frames.</param>
/// <param name="IsCopying">Whether SQLite may have copied some of the frames into the file, but not all.</param>
internal readonly record struct WalNote(ulong Sequence, ulong Salt, uint Frames, ulong Sum, bool IsCopying);

/// <summary>
/// The file <c>NAME-sums</c> beside a database. It holds a checksum of each page, and how much of the WAL is on disk.
/// </summary>
/// <remarks>
/// <code>
///      0   "AglowSum", version, page size, their checksum
///    512   a note of the WAL: sequence, salt, frames, sum, copying, checksum     the older of these two
///   1024   a note of the WAL                                                     is overwritten
///   4096   CRC-32C of page 1, of page 2, …     each over the page's number and its bytes
/// </code>
/// A note is written after its frames are on disk, and is not synced itself. So a note never claims frames that are not on disk. Threading:
/// one thread at a time.
/// </remarks>
internal sealed class PageSums(SafeFileHandle file, int pageSize, WalNote note) : IDisposable
{
    private const string Suffix = "-sums";
    private const uint Version = 1;
    private const int FirstNote = 512;
    private const int SecondNote = 1024;
    private const int NoteBytes = 36;
    private const int FirstSum = 4096;

    // sums that are read and written together: 4 KiB, a block of the disk
    private const int PerBlock = 1024;

    private static readonly byte[] Magic = "AglowSum"u8.ToArray();

    private readonly uint[] _block = new uint[PerBlock];
    // the block in memory; -1: none
    private long _blockAt = -1;

    public int PageSize { get; } = pageSize;

    /// <summary>The newest note.</summary>
    public WalNote Note { get; private set; } = note;

    /// <summary>The path of the file beside a database.</summary>
    public static string PathOf(string database) => database + Suffix;

    /// <summary>
    /// Creates the file, or replaces it, for a database without a writer whose pages are correct and whose WAL is empty.
    /// </summary>
    /// <param name="database">The path of the database.</param>
    /// <param name="pages">The database, already open: closing another handle would end SQLite's locks.</param>
    /// <param name="pageSize">The size of a page.</param>
    public static void Make(string database, SafeFileHandle pages, int pageSize)
    {
        var path = PathOf(database);
        var beside = path + ".new";
        using (var file = PrivateFile.Replace(beside))
        {
            using var sums = new PageSums(file.SafeFileHandle, pageSize, default);
            sums.WriteHeader();
            // write both notes, so that either may be damaged
            sums.WriteNext(default);
            sums.WriteNext(default);
            sums.WriteAll(pages);
            file.Flush(flushToDisk: true);
        }

        File.Move(beside, path, overwrite: true);
    }

    /// <summary>Opens the file of a database; null: there is none.</summary>
    /// <exception cref="Storage.DataFolderException">The file is damaged.</exception>
    public static PageSums? Open(string database, FileAccess access)
    {
        var path = PathOf(database);
        if (!File.Exists(path))
            return null;
        var file = File.OpenHandle(path, FileMode.Open, access, FileShare.ReadWrite | FileShare.Delete);
        Span<byte> head = stackalloc byte[SecondNote + NoteBytes];
        head.Clear();
        RandomAccess.Read(file, head, 0);
        var isOurs = head.StartsWith(Magic) && BinaryPrimitives.ReadUInt32LittleEndian(head[8..]) == Version
            && BinaryPrimitives.ReadUInt32LittleEndian(head[16..]) == Crc(0, head[..16]);
        var notes = new[] { ReadNote(head[FirstNote..]), ReadNote(head[SecondNote..]) };
        if (isOurs && notes.Max(static note => note?.Sequence) is { } newest)
            return new PageSums(
                file, (int)BinaryPrimitives.ReadUInt32LittleEndian(head[12..]), notes.First(note => note?.Sequence == newest)!.Value);
        file.Dispose();
        throw FileProblem.Damaged(path, $"its beginning; {Path.GetFileName(database)} itself may be good");
    }

    /// <summary>The checksum of a page, over its number and its bytes.</summary>
    public static uint Crc(uint page, ReadOnlySpan<byte> bytes) => Append(BitOperations.Crc32C(uint.MaxValue, page), bytes);

    /// <summary>Continues a checksum with these bytes.</summary>
    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    public static uint Append(uint crc, ReadOnlySpan<byte> bytes)
    {
        foreach (var eight in MemoryMarshal.Cast<byte, ulong>(bytes))
            crc = BitOperations.Crc32C(crc, eight);
        foreach (var one in bytes[(bytes.Length & ~7)..])
            crc = BitOperations.Crc32C(crc, one);
        return crc;
    }

    /// <summary>Notes how many frames the WAL has. They must already be on disk.</summary>
    public void WriteNote(WalReader wal, bool isCopying) => WriteNext(new WalNote(Note.Sequence, wal.Salt, wal.Frames, wal.Sum, isCopying));

    /// <summary>Notes that no frame of the WAL is needed, because the file contains all of them.</summary>
    public void WriteNoteOfNone(WalReader wal) => WriteNext(new WalNote(Note.Sequence, wal.Salt, 0, 0, IsCopying: false));

    /// <summary>Waits until all writes are on disk.</summary>
    public void Flush() => RandomAccess.FlushToDisk(file);

    /// <summary>Reads the sums of pages from <paramref name="first"/> on; 0 beyond the end of the file.</summary>
    public void Read(uint first, Span<uint> sums)
    {
        sums.Clear();
        RandomAccess.Read(file, MemoryMarshal.AsBytes(sums), FirstSum + ((first - 1L) * sizeof(uint)));
    }

    /// <summary>The sum of a page; 0: there is none. Ascending pages cost one read for each 1,024 of them.</summary>
    public uint Of(uint page) => BlockOf(page)[(page - 1) % PerBlock];

    /// <summary>Writes the sums of pages, and waits until they are on disk.</summary>
    /// <param name="sums">Pages with their sums, in ascending order.</param>
    public void Write(ReadOnlySpan<(uint Page, uint Sum)> sums)
    {
        for (var i = 0; i < sums.Length; i++)
        {
            var page = sums[i].Page;
            BlockOf(page)[(page - 1) % PerBlock] = sums[i].Sum;
            if (i == sums.Length - 1 || (sums[i + 1].Page - 1) / PerBlock != _blockAt)
                RandomAccess.Write(file, MemoryMarshal.AsBytes(_block.AsSpan()), FirstSum + (_blockAt * PerBlock * sizeof(uint)));
        }

        Flush();
    }

    public void Dispose() => file.Dispose();

    private uint[] BlockOf(uint page)
    {
        var at = (page - 1) / PerBlock;
        if (at != _blockAt)
        {
            Read((uint)(at * PerBlock) + 1, _block);
            _blockAt = at;
        }

        return _block;
    }

    private static WalNote? ReadNote(ReadOnlySpan<byte> bytes)
    {
        var isRight = BinaryPrimitives.ReadUInt32LittleEndian(bytes[32..]) == Crc(1, bytes[..32]);
        return !isRight ? null : new WalNote(
            BinaryPrimitives.ReadUInt64LittleEndian(bytes),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[8..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[16..]),
            BinaryPrimitives.ReadUInt64LittleEndian(bytes[20..]),
            BinaryPrimitives.ReadUInt32LittleEndian(bytes[28..]) != 0);
    }

    private void WriteNext(WalNote note)
    {
        note = note with { Sequence = note.Sequence + 1 };
        Span<byte> bytes = stackalloc byte[NoteBytes];
        bytes.Clear();
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, note.Sequence);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], note.Salt);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[16..], note.Frames);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[20..], note.Sum);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[28..], note.IsCopying ? 1u : 0);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[32..], Crc(1, bytes[..32]));
        RandomAccess.Write(file, bytes, note.Sequence % 2 == 0 ? FirstNote : SecondNote);
        Note = note;
    }

    private void WriteHeader()
    {
        Span<byte> head = stackalloc byte[20];
        Magic.CopyTo(head);
        BinaryPrimitives.WriteUInt32LittleEndian(head[8..], Version);
        BinaryPrimitives.WriteUInt32LittleEndian(head[12..], (uint)PageSize);
        BinaryPrimitives.WriteUInt32LittleEndian(head[16..], Crc(0, head[..16]));
        RandomAccess.Write(file, head, 0);
    }

    private void WriteAll(SafeFileHandle pages)
    {
        var block = GC.AllocateUninitializedArray<byte>(PageSize * 64);
        var sums = new uint[64];
        for (uint page = 1; RandomAccess.Read(pages, block, (page - 1L) * PageSize) is > 0 and var length; page += 64)
        {
            var count = length / PageSize;
            for (var i = 0; i < count; i++)
                sums[i] = Crc(page + (uint)i, block.AsSpan(i * PageSize, PageSize));
            RandomAccess.Write(file, MemoryMarshal.AsBytes(sums.AsSpan(0, count)), FirstSum + ((page - 1L) * sizeof(uint)));
        }
    }
}
