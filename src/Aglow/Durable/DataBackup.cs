using Aglow.Sqlite;
using Aglow.Storage;

namespace Aglow.Durable;

/// <summary>
/// Copies a data folder while its server runs: what it is started on is then as after a crash at that moment, and nothing that was acknowledged
/// before is missing.
/// </summary>
/// <remarks>
/// <code>
///   presence.db ─► TO.partial/presence.db ─┐
///   users.db    ─► TO.partial/users.db    ─┼► every page checked ─► renamed to TO
///   consumers.db, keys.json where they are ─┘
/// </code>
/// While the <see cref="CheckpointLock"/> is held, a server only appends to the WALs, so a database and the committed beginning of its WAL
/// are of one moment. Words first, users second, so that every number in the words is one that the users' file has handed out.
/// </remarks>
public static class DataBackup
{
    // a checkpoint takes some tens of milliseconds
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    private static readonly string[] Files = ["presence.db", "users.db"];

    // the places of consumers of the feed, where there are any
    private const string Consumers = "consumers.db";

    // the keys of backends, where there are any; small, and always replaced as a whole
    private const string Keys = "keys.json";

    /// <summary>Copies <paramref name="folder"/> to <paramref name="to"/>, which must not be there yet; returns how many bytes that were.</summary>
    /// <exception cref="DataFolderException">It cannot be read, or not be copied there; the message is one line.</exception>
    public static long Copy(string folder, string to)
    {
        (folder, to) = (Path.GetFullPath(folder), Path.TrimEndingDirectorySeparator(Path.GetFullPath(to)));
        if (!Files.All(name => File.Exists(Path.Combine(folder, name))))
            throw new DataFolderException($"{folder} is no data folder: name one with --data.");
        if (Path.Exists(to))
            throw new DataFolderException($"{to} is there already: name a folder that is not, such as one with the date in its name.");
        var partial = to + ".partial";
        try
        {
            PrivateFile.CreateFolder(partial);
            using var alone = Wait(folder);
            foreach (var name in Files.Append(Consumers).Where(name => File.Exists(Path.Combine(folder, name))))
                CopyDatabase(Path.Combine(folder, name), Path.Combine(partial, name));
            if (File.Exists(Path.Combine(folder, Keys)))
                CopyFile(Path.Combine(folder, Keys), Path.Combine(partial, Keys), long.MaxValue);
            Directory.Move(partial, to);
            return Directory.GetFiles(to).Sum(static file => new FileInfo(file).Length);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
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

    /// <summary>Copies a database, its sums and the committed beginning of its WAL, and checks the copy. Nobody makes a checkpoint meanwhile.</summary>
    /// <exception cref="DataFolderException">It is damaged.</exception>
    internal static void CopyDatabase(string from, string to)
    {
        var sums = PageSums.PathOf(from);
        if (!File.Exists(sums))
            throw new DataFolderException(
                $"{from} was written by an older Aglow, or {Path.GetFileName(sums)} is lost: start a server on it first, or make the backup "
                    + "with that version.");
        // the note of how far the WAL is must not be newer than the copy of the WAL
        CopyFile(sums, PageSums.PathOf(to), long.MaxValue);
        CopyFile(from, to, long.MaxValue);
        if (File.Exists(from + "-wal"))
            CopyFile(from + "-wal", to + "-wal", new FileInfo(from + "-wal").Length);
        using var wal = new WalReader(to + "-wal");
        var length = wal.ReadAll() ? wal.CommittedLength : 0;
        if (wal.Length > length)
        {
            // what a server was writing just now
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

    // null: no server has run there
    private static FileStream? Wait(string folder)
    {
        FileStream? taken = null;
        if (!CheckpointLock.Exists(folder) || SpinWait.SpinUntil(() => (taken = CheckpointLock.TryTake(folder)) is not null, Patience))
            return taken;
        throw new DataFolderException($"{folder} is held by another backup: wait for its end.");
    }
}
