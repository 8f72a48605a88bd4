using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace Aglow.Sqlite;

/// <summary>
/// Reads a WAL outside SQLite: how many frames are committed, and which pages they hold. A frame is valid if its checksum and those of all
/// earlier frames are correct, as in SQLite's own recovery.
/// </summary>
/// <remarks>
/// <code>
///   header  32 bytes   magic, version, page size, number, salt 1, salt 2, checksum
///   frame   24 bytes   page; pages of the database after a commit, or 0; salt 1, salt 2, checksum of all bytes before it; then the page
/// </code>
/// The format is <see href="https://www.sqlite.org/fileformat2.html#walformat">SQLite's</see>. SQLite takes no locks in this file, so this
/// class may open and close it alongside SQLite. Threading: one thread at a time.
/// </remarks>
internal sealed class WalReader(string path) : IDisposable
{
    private const int HeaderBytes = 32;
    private const int FrameHeaderBytes = 24;
    private const uint Magic = 0x377F0682;

    // a small commit costs a small read, and a long WAL few reads
    private const int FramesOfFirstRead = 4;
    private const int FramesOfRead = 64;

    private readonly Dictionary<uint, uint> _pages = [];
    private readonly Dictionary<uint, uint> _uncommitted = [];
    private SafeFileHandle? _file;
    private byte[] _frames = [];
    private (uint A, uint B) _sum;
    private bool _bigEndian;

    public string FilePath => path;

    /// <summary>The salts of the header. They change each time that SQLite restarts the file.</summary>
    public ulong Salt { get; private set; }

    /// <summary>The number of frames up to the last commit.</summary>
    public uint Frames { get; private set; }

    /// <summary>The checksum of the last committed frame.</summary>
    public ulong Sum => ((ulong)_sum.A << 32) | _sum.B;

    /// <summary>The number of pages of the database after the last commit; 0: the WAL contains no commit.</summary>
    public uint DatabasePages { get; private set; }

    /// <summary>The size of a page; 0: the header is damaged or missing.</summary>
    public int PageSize { get; private set; }

    /// <summary>The pages in committed frames, each with its newest frame, counted from 1.</summary>
    public IReadOnlyDictionary<uint, uint> Pages => _pages;

    /// <summary>The number of bytes up to the last commit.</summary>
    public long CommittedLength => PageSize == 0 ? 0 : At(Frames + 1);

    /// <summary>The length of the file; 0: there is no file.</summary>
    public long Length => Open() ? RandomAccess.GetLength(_file!) : 0;

    /// <summary>Reads from the beginning.</summary>
    /// <returns>Whether the header is valid.</returns>
    public bool ReadAll(Action<uint, ReadOnlySpan<byte>>? visit = null, uint upTo = uint.MaxValue)
    {
        Forget();
        if (!ReadHeader(out var salt))
            return false;
        Salt = salt;
        ReadOn(visit, upTo);
        return true;
    }

    /// <summary>Reads frames committed since the last call. False if frames were read before and the header is damaged now.</summary>
    public bool ReadMore()
    {
        if (!ReadHeader(out var salt))
            return Frames == 0;
        if (salt != Salt)
            ReadAll();
        else
            ReadOn(null, uint.MaxValue);
        return true;
    }

    /// <summary>
    /// Whether committed frames follow an invalid one. A crash may leave one incomplete transaction. Two commits after an invalid frame are
    /// not the result of a crash, because the second began when the first was on disk.
    /// </summary>
    public bool IsCut()
    {
        if (!Open() || PageSize == 0)
            return false;
        Span<byte> header = stackalloc byte[FrameHeaderBytes];
        var commits = 0;
        for (var frame = Frames + 1; commits < 2 && RandomAccess.Read(_file!, header, At(frame)) == header.Length; frame++)
        {
            if (Salts(header) == Salt && BinaryPrimitives.ReadUInt32BigEndian(header[4..]) != 0)
                commits++;
        }

        return commits == 2;
    }

    /// <summary>
    /// Whether a damaged header belongs to the WAL that follows the one with this salt, according to its first frame.
    /// </summary>
    public bool WasBegunAfter(ulong salt)
    {
        Span<byte> frame = stackalloc byte[FrameHeaderBytes];
        return Open() && RandomAccess.Read(_file!, frame, HeaderBytes) == frame.Length && Salts(frame) >> 32 == (uint)((salt >> 32) + 1);
    }

    /// <summary>Closes the file, because SQLite deletes it in an orderly shutdown.</summary>
    public void Dispose()
    {
        _file?.Dispose();
        _file = null;
    }

    private static ulong Salts(ReadOnlySpan<byte> frameHeader) => BinaryPrimitives.ReadUInt64BigEndian(frameHeader[8..]);

    private void Forget()
    {
        _pages.Clear();
        (Frames, DatabasePages, PageSize, Salt, _sum) = (0, 0, 0, 0, default);
    }

    private bool Open()
    {
        if (_file is not null)
            return true;
        if (!File.Exists(path))
            return false;
        _file = File.OpenHandle(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        return true;
    }

    private bool ReadHeader(out ulong salt)
    {
        salt = 0;
        Span<byte> header = stackalloc byte[HeaderBytes];
        if (!Open() || RandomAccess.Read(_file!, header, 0) != HeaderBytes)
            return false;
        var magic = BinaryPrimitives.ReadUInt32BigEndian(header);
        var size = BinaryPrimitives.ReadUInt32BigEndian(header[8..]);
        if ((magic & ~1u) != Magic || size is < 512 or > 65536 || (size & (size - 1)) != 0)
            return false;
        _bigEndian = (magic & 1) != 0;
        var sum = Add(header[..24], default);
        if (sum != (BinaryPrimitives.ReadUInt32BigEndian(header[24..]), BinaryPrimitives.ReadUInt32BigEndian(header[28..])))
            return false;
        salt = BinaryPrimitives.ReadUInt64BigEndian(header[16..]);
        if (Frames == 0)
            _sum = sum;
        PageSize = (int)size;
        return true;
    }

    private long At(uint frame) => HeaderBytes + ((frame - 1L) * (FrameHeaderBytes + PageSize));

    private void ReadOn(Action<uint, ReadOnlySpan<byte>>? visit, uint upTo)
    {
        _uncommitted.Clear();
        var sum = _sum;
        var frameBytes = FrameHeaderBytes + PageSize;
        var atOnce = FramesOfFirstRead;
        for (var number = Frames + 1; number <= upTo; atOnce = Math.Min(FramesOfRead, atOnce * 2))
        {
            var count = (int)Math.Min((uint)atOnce, upTo - number + 1);
            if (_frames.Length < count * frameBytes)
                _frames = GC.AllocateUninitializedArray<byte>(count * frameBytes);
            var read = RandomAccess.Read(_file!, _frames.AsSpan(0, count * frameBytes), At(number)) / frameBytes;
            for (var i = 0; i < read; i++, number++)
            {
                if (!ReadFrame(_frames.AsSpan(i * frameBytes, frameBytes), number, ref sum, visit))
                    return;
            }

            if (read < count)
                return;
        }
    }

    // false: the frame is not part of this WAL
    private bool ReadFrame(ReadOnlySpan<byte> frame, uint number, ref (uint A, uint B) sum, Action<uint, ReadOnlySpan<byte>>? visit)
    {
        if (Salts(frame) != Salt)
            return false;
        sum = Add(frame[FrameHeaderBytes..], Add(frame[..8], sum));
        var page = BinaryPrimitives.ReadUInt32BigEndian(frame);
        if (sum.A != BinaryPrimitives.ReadUInt32BigEndian(frame[16..])
            || sum.B != BinaryPrimitives.ReadUInt32BigEndian(frame[20..]) || page == 0)
            return false;
        _uncommitted[page] = number;
        visit?.Invoke(page, frame[FrameHeaderBytes..]);
        if (BinaryPrimitives.ReadUInt32BigEndian(frame[4..]) is not (> 0 and var pages))
            return true;
        foreach (var (one, at) in _uncommitted)
            _pages[one] = at;
        _uncommitted.Clear();
        (Frames, DatabasePages, _sum) = (number, pages, sum);
        return true;
    }

    [MethodImpl(MethodImplOptions.AggressiveOptimization)]
    private (uint A, uint B) Add(ReadOnlySpan<byte> bytes, (uint A, uint B) sum)
    {
        var (a, b) = sum;
        var words = MemoryMarshal.Cast<byte, uint>(bytes);
        if (_bigEndian == BitConverter.IsLittleEndian)
        {
            for (var i = 0; i + 1 < words.Length; i += 2)
            {
                a += BinaryPrimitives.ReverseEndianness(words[i]) + b;
                b += BinaryPrimitives.ReverseEndianness(words[i + 1]) + a;
            }

            return (a, b);
        }

        for (var i = 0; i + 1 < words.Length; i += 2)
        {
            a += words[i] + b;
            b += words[i + 1] + a;
        }

        return (a, b);
    }
}
