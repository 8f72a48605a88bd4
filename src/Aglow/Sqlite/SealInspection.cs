using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace Aglow.Sqlite;

/// <summary>The result of checking each page of a database that has no writer.</summary>
/// <param name="WalDamage">What is wrong with the WAL; null: nothing.</param>
/// <param name="LostChanges">What is lost with the damaged part of the WAL; null: nothing.</param>
/// <param name="BadPages">The pages that differ from what was written, ascending.</param>
/// <param name="Pages">The number of pages.</param>
internal sealed record SealInspection(string? WalDamage, string? LostChanges, IReadOnlyList<uint> BadPages, uint Pages)
{
    // 256 pages of 4 KiB, or 64 of 16 KiB
    private const int BlockBytes = 1 << 20;

    /// <summary>A short description of the damage; null: none.</summary>
    public string? Line => WalDamage ?? (BadPages.Count == 0 ? null
        : $"{(BadPages.Count == 1 ? "page" : "pages")} {string.Join(", ", BadPages.Take(3))}"
            + $"{(BadPages.Count > 3 ? $" and {BadPages.Count - 3} more" : "")} of {Pages} not as written");

    /// <summary>Inspects a database before SQLite opens it.</summary>
    /// <param name="database">The database file.</param>
    /// <param name="sums">Its sums.</param>
    /// <param name="wal">Its WAL, already read to its last commit.</param>
    public static SealInspection Of(SafeFileHandle database, PageSums sums, WalReader wal)
    {
        var (damage, lost) = FindWalDamage(sums, wal) ?? default;
        var pages = (uint)((RandomAccess.GetLength(database) + sums.PageSize - 1) / sums.PageSize);
        // the WAL has the number of pages, or else page 1; if page 1 is damaged, the length of the file decides
        if (wal.DatabasePages != 0)
            pages = wal.DatabasePages;
        else if (FindBadPages(database, sums, wal, 1).Count == 0)
            pages = SizeInHeader(database);
        return new SealInspection(damage, lost, FindBadPages(database, sums, wal, pages), pages);
    }

    private static uint SizeInHeader(SafeFileHandle database)
    {
        Span<byte> size = stackalloc byte[sizeof(uint)];
        RandomAccess.Read(database, size, 28);
        return BinaryPrimitives.ReadUInt32BigEndian(size);
    }

    private static (string? Damage, string? Lost)? FindWalDamage(PageSums sums, WalReader wal)
    {
        var name = Path.GetFileName(wal.FilePath);
        var note = sums.Note;
        if (!wal.ReadAll())
        {
            return note.Frames > 0
                ? ($"{name} is missing, or its beginning is damaged: up to {note.Frames} pages of the last changes are lost",
                    UpTo(note.Frames))
                : wal.WasBegunAfter(note.Salt) ? ($"the beginning of {name} is damaged: the last changes are lost", "the last changes")
                : null;
        }

        if (wal.PageSize != sums.PageSize)
            return ($"{name} has another page size than the database", UpTo(note.Frames));
        if (wal.Salt == note.Salt && wal.Frames < note.Frames)
        {
            return ($"only the first {wal.Frames} of {note.Frames} pages of {name} are intact: later changes are lost",
                UpTo(note.Frames - wal.Frames));
        }

        return wal.IsCut() ? ($"only the first {wal.Frames} pages of {name} are intact: later changes are lost", "the last changes") : null;

        string UpTo(uint frames) => $"the last changes, up to {frames} pages of {name}";
    }

    private static List<uint> FindBadPages(SafeFileHandle database, PageSums sums, WalReader wal, uint pages)
    {
        var bad = new List<uint>();
        var perBlock = (uint)(BlockBytes / sums.PageSize);
        var blocks = (int)((pages + perBlock - 1) / perBlock);
        Parallel.For(
            0,
            blocks,
            new ParallelOptions { MaxDegreeOfParallelism = Environment.ProcessorCount },
            () => (Bytes: GC.AllocateUninitializedArray<byte>(BlockBytes), Sums: new uint[perBlock]),
            (block, _, scratch) =>
            {
                Check((uint)block * perBlock, scratch.Bytes, scratch.Sums);
                return scratch;
            },
            static _ => { });
        bad.Sort();
        return bad;

        void Check(uint before, byte[] bytes, uint[] expected)
        {
            sums.Read(before + 1, expected);
            var length = RandomAccess.Read(database, bytes, (long)before * sums.PageSize);
            for (uint i = 0; i < perBlock && before + i < pages; i++)
            {
                var page = before + i + 1;
                var at = (int)i * sums.PageSize;
                // a page of the WAL may be new, or only partly copied
                var isRight = (wal.Pages.ContainsKey(page) && (sums.Note.IsCopying || expected[i] == 0))
                    || (at + sums.PageSize <= length && PageSums.Crc(page, bytes.AsSpan(at, sums.PageSize)) == expected[i]);
                if (isRight)
                    continue;
                lock (bad)
                    bad.Add(page);
            }
        }
    }
}
