using Aglow.Files;
using Aglow.Sqlite;

namespace Aglow.Durable;

/// <summary>
/// Copies a data folder while its server runs. The copy is like the folder after a crash at that moment: it contains everything that was
/// acknowledged before.
/// </summary>
/// <remarks>
/// <code>
///   presence.db ─► TO.partial/presence.db ─┐
///   users.db    ─► TO.partial/users.db    ─┼► every page checked ─► renamed to TO
///   consumers.db, keys.json, if any        ─┤
///   from-backup, an empty mark             ─┘
/// </code>
/// While the <see cref="CheckpointLock"/> is held, a server only appends to the WALs. So a database and the committed beginning of its WAL
/// show the same moment. <c>presence.db</c> is copied first, so that <c>users.db</c> contains every index in it.
/// </remarks>
public static class DataBackup
{
    // a checkpoint takes some tens of milliseconds
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static readonly string[] Files = ["presence.db", "users.db"];

    // how far each consumer of the feed of changes has read; may be missing
    private const string Consumers = DataFolder.ConsumersName;

    // the keys of backends; a small file that is always replaced as a whole; may be missing
    private const string Keys = "keys.json";

    /// <summary>
    /// Copies <paramref name="folder"/> to <paramref name="to"/>, which must not exist. Returns the number of bytes.
    /// </summary>
    /// <exception cref="DataFolderException">The folder cannot be read or written. The message is one line.</exception>
    public static long Copy(string folder, string to)
    {
        (folder, to) = (Path.GetFullPath(folder), Path.TrimEndingDirectorySeparator(Path.GetFullPath(to)));
        if (!Files.All(name => File.Exists(Path.Combine(folder, name))))
            throw new DataFolderException($"{folder} is not a data folder: name one with --data.");
        if (Path.Exists(to))
            throw new DataFolderException($"{to} is there already: name a folder that is not, such as one with the date in its name.");
        var partial = to + ".partial";
        try
        {
            PrivateFile.CreateFolder(partial);
            using var alone = Wait(folder);
            var consumers = Path.Combine(folder, Consumers);
            if (!File.Exists(consumers) && SqliteFile.Had(consumers))
                throw FileProblem.Damaged(consumers, "it is missing");
            foreach (var name in Files.Append(Consumers).Where(name => File.Exists(Path.Combine(folder, name))))
                CopyDatabase(Path.Combine(folder, name), Path.Combine(partial, name));
            if (File.Exists(Path.Combine(folder, Keys)))
                CopyFile(Path.Combine(folder, Keys), Path.Combine(partial, Keys), long.MaxValue);
            PrivateFile.Prepare(Path.Combine(partial, DataFolder.BackupMark));
            Directory.Move(partial, to);
            return Directory.GetFiles(to).Sum(static file => new FileInfo(file).Length);
        }
        catch (Exception e) when (PrivateFile.IsWriteFailure(e))
        {
            throw new DataFolderException(
                $"{partial} cannot be written ({e.Message}): name a folder that this user may make, with room on its disk.", e);
        }
        finally
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
    }

    /// <summary>
    /// Copies a database, its sums and the committed beginning of its WAL, and checks the copy. The caller prevents checkpoints meanwhile.
    /// </summary>
    /// <exception cref="DataFolderException">The database is damaged.</exception>
    internal static void CopyDatabase(string from, string to)
    {
        var sums = PageSums.PathOf(from);
        if (!File.Exists(sums))
            throw new DataFolderException(
                $"{from} was written by an older Aglow, or {Path.GetFileName(sums)} is lost: start a server on it first, "
                    + "or make the backup with that version.");
        // the sums contain a note of the WAL's length, which must not be newer than the copy of the WAL
        CopyFile(sums, PageSums.PathOf(to), long.MaxValue);
        CopyFile(from, to, long.MaxValue);
        if (File.Exists(from + "-wal"))
            CopyFile(from + "-wal", to + "-wal", new FileInfo(from + "-wal").Length);
        using var wal = new WalReader(to + "-wal");
        var length = wal.ReadAll() ? wal.CommittedLength : 0;
        if (wal.Length > length)
        {
            // cut off a transaction that the server has not committed
            wal.Dispose();
            using var copy = File.OpenHandle(to + "-wal", FileMode.Open, FileAccess.Write);
            RandomAccess.SetLength(copy, length);
        }

        using var seal = PageSums.Open(to, FileAccess.Read)!;
        using var pages = PageSeal.OpenPages(to);
        if (SealInspection.Of(pages, seal, wal).Line is { } damage)
            throw new DataFolderException($"{from} is damaged ({damage}): there is no backup of it now. Keep the one before.");
    }

    /// <summary>Copies a file, or its beginning, so that only its owner may read the copy.</summary>
    internal static void CopyFile(string from, string to, long length)
    {
        using var source = new FileStream(from, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete, bufferSize: 0);
        using var copy = PrivateFile.Replace(to);
        var block = GC.AllocateUninitializedArray<byte>(1 << 20);
        for (int read; length > 0 && (read = source.Read(block, 0, (int)Math.Min(block.Length, length))) > 0; length -= read)
            copy.Write(block, 0, read);
        copy.Flush(flushToDisk: true);
    }

    // null: no server has run in this folder
    private static FileStream? Wait(string folder)
    {
        FileStream? taken = null;
        if (!CheckpointLock.Exists(folder) || SpinWait.SpinUntil(TryTake, Patience))
            return taken;
        throw new DataFolderException($"{folder} is held by another backup: wait for its end.");

        bool TryTake() => (taken = CheckpointLock.TryTakeToRead(folder)) is not null;
    }
}
