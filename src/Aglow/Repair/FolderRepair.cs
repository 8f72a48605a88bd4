using Aglow.Changes;
using Aglow.Durable;
using Aglow.Files;
using Aglow.Sqlite;
using Aglow.Users;
using Microsoft.Data.Sqlite;

namespace Aglow.Repair;

/// <summary>The report on one file of a data folder.</summary>
/// <param name="File">Its name.</param>
/// <param name="Damage">What is wrong with it; null: nothing.</param>
/// <param name="Lost">What a repair loses of it; null: nothing.</param>
public sealed record FileReport(string File, string? Damage, string? Lost);

/// <summary>
/// Checks a data folder that no server uses, and replaces its damaged databases by new ones with their good data. The damaged ones are only
/// moved, never changed.
/// </summary>
/// <remarks>
/// <code>
///   FOLDER/repairing/       new databases, while they are made          a check deletes it
///   FOLDER/repaired-TIME/   the complete ones, until they are installed a start refuses the folder until then
///   FOLDER/damaged-TIME/    the damaged ones
/// </code>
/// All of it is in the folder, because the folder may be a mount point, and its parent may belong to somebody else.
/// </remarks>
public static class FolderRepair
{
    private const string Presence = PresenceFile.FileName;
    private const string Users = SqliteUserDirectory.FileName;
    private const string Making = "repairing";
    private const string DamagedPrefix = "damaged-";

    /// <summary>Checks every byte of the databases, and says what a repair would lose.</summary>
    /// <exception cref="DataFolderException">It is not a data folder, or it is in use.</exception>
    public static IReadOnlyList<FileReport> Check(string folder)
    {
        using var held = Hold(folder);
        held.EnsureRepaired();
        return InScratch(held, static (_, files) => files);
    }

    /// <summary>
    /// Replaces the damaged databases by new ones with their good data, and keeps the damaged ones in a folder below. Does nothing if
    /// nothing is damaged. Finishes a repair that was interrupted first.
    /// </summary>
    /// <param name="folder">The data folder.</param>
    /// <param name="now">The time, for the name of the folder with the damaged files.</param>
    /// <returns>The report on each file, and the path of the damaged files.</returns>
    /// <exception cref="DataFolderException">It is not a data folder, it is in use, or the disk is full.</exception>
    public static (IReadOnlyList<FileReport> Files, string? Damaged) Run(string folder, DateTimeOffset now)
    {
        using var held = Hold(folder);
        var damaged = DataFolder.FindUnfinishedRepairs(held.FullPath).Select(made => Install(held.FullPath, made)).ToList().LastOrDefault();
        return InScratch(held, (partial, files) =>
        {
            if (files.All(static file => file.Damage is null))
                return (files, damaged);
            // the words of users whose IDs are lost were removed from an undamaged presence.db
            foreach (var file in files.Where(one => one.Damage is null && (one.File != Presence || !files.Any(IsOfUsers))))
                DeleteAll(partial, file.File);
            if (Directory.GetFiles(partial, "*-wal").Length > 0)
                throw new IOException("a new database could not be completed");
            var made = Path.Combine(held.FullPath, $"{DataFolder.RepairedPrefix}{now:yyyyMMdd-HHmmss}");
            Directory.Move(partial, made);
            return (files, Install(held.FullPath, made));
        });

        static bool IsOfUsers(FileReport file) => file is { File: Users, Damage: not null };
    }

    // Can be repeated after a crash at any place: while the new sums are not installed, all files in the data folder are damaged ones.
    private static string Install(string folder, string made)
    {
        var damaged = Path.Combine(folder, DamagedPrefix + Path.GetFileName(made)[DataFolder.RepairedPrefix.Length..]);
        PrivateFile.CreateFolder(damaged);
        foreach (var name in new[] { Presence, Users, SqliteConsumerStore.FileName })
        {
            var sums = PageSums.PathOf(name);
            if (File.Exists(Path.Combine(made, sums)))
            {
                foreach (var file in new[] { name, name + "-wal", sums }.Where(file => File.Exists(Path.Combine(folder, file))))
                    File.Move(Path.Combine(folder, file), Path.Combine(damaged, file));
                Move(sums);
            }

            if (File.Exists(Path.Combine(made, name)))
                Move(name);
        }

        Directory.Delete(made, recursive: true);
        return damaged;

        void Move(string name)
        {
            using (var file = File.OpenHandle(Path.Combine(made, name), FileMode.Open, FileAccess.ReadWrite))
                FileOwner.Give(file, folder);
            File.Move(Path.Combine(made, name), Path.Combine(folder, name));
        }
    }

    private static DataFolder Hold(string folder)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        return File.Exists(Path.Combine(full, Presence)) || File.Exists(Path.Combine(full, Users))
            || DataFolder.FindUnfinishedRepairs(full).Length > 0
            ? DataFolder.Open(full)
            : throw new DataFolderException($"{full} is not a data folder: name one with --data.");
    }

    private static T InScratch<T>(DataFolder held, Func<string, IReadOnlyList<FileReport>, T> use)
    {
        var partial = Path.Combine(held.FullPath, Making);
        try
        {
            Delete();
            PrivateFile.CreateFolder(partial);
            return use(partial, Make(held.FullPath, partial));
        }
        catch (Exception e) when (CauseOf(e) is SqliteException || PrivateFile.IsWriteFailure(CauseOf(e)))
        {
            var why = CauseOf(e)!.Message;
            var bytes = Directory.GetFiles(held.FullPath, "*.db*").Sum(static file => new FileInfo(file).Length);
            throw new DataFolderException(
                $"{partial} cannot be written ({why}): a check and a repair copy the databases, and need as much free room as these "
                    + $"take, {bytes / 1e6:0.0} MB. Make room, or check a copy of the folder on another disk.", e);
        }
        finally
        {
            Delete();
        }

        static Exception? CauseOf(Exception e) => e is DataFolderException ? e.InnerException : e;

        void Delete()
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
    }

    private static List<FileReport> Make(string folder, string to)
    {
        var files = new List<FileReport>
        {
            MakeOne(Presence, () => PresenceFile.Open(Path.Combine(to, Presence)).Dispose(), damaged =>
            {
                using var file = PresenceFile.Open(Path.Combine(to, Presence));
                return new PresenceSalvage(damaged, file).Run();
            }),
            MakeOne(Users, () => SqliteUserDirectory.OpenFile(to).Dispose(), damaged => UsersSalvage.Run(damaged, to)),
        };
        if (SqliteFile.Had(Path.Combine(folder, SqliteConsumerStore.FileName)))
        {
            files.Add(MakeOne(
                SqliteConsumerStore.FileName,
                () => SqliteConsumerStore.OpenFile(to).Dispose(),
                damaged => SalvageConsumers(damaged, to)));
        }

        return files;

        FileReport MakeOne(string name, Action makeNew, Func<SqliteConnection, string?> salvage)
        {
            var (path, target) = (Path.Combine(folder, name), Path.Combine(to, name));
            var (damage, lost) = DamagedDatabase.Inspect(path);
            if (damage is null)
            {
                DataBackup.CopyDatabase(path, target);
                damage = QuickCheck(target);
                if (damage is null)
                    return new FileReport(name, null, null);
                DeleteAll(to, name);
            }

            makeNew();
            using var database = DamagedDatabase.Open(path, Path.Combine(to, name + ".damaged"), target);
            string?[] all = [salvage(database.Connection), lost];
            return new FileReport(name, damage, string.Join("; ", all.Where(static one => one is not null).DefaultIfEmpty("nothing")));
        }
    }

    private static void DeleteAll(string folder, string name)
    {
        foreach (var file in Directory.GetFiles(folder, name + "*"))
            File.Delete(file);
    }

    private static string? SalvageConsumers(SqliteConnection from, string folder)
    {
        using var file = SqliteConsumerStore.OpenFile(folder);
        using var connection = file.ConnectToWrite(cacheKibibytes: 256);
        var (kept, isWhole) = new TableSalvage(from, connection).Copy("document", ["key"], 2);
        // deletes documents that were read only in part
        SqliteFile.Execute(connection, "DELETE FROM document WHERE NOT json_valid(json)");
        file.Seal.Finish(connection);
        return isWhole ? null : $"some webhooks or consumers' positions ({kept} documents are kept)";
    }

    // finds pages that SQLite itself wrote wrongly, which have correct sums
    private static string? QuickCheck(string path)
    {
        using var connection = new SqliteConnection(
            new SqliteConnectionStringBuilder { DataSource = path, Mode = SqliteOpenMode.ReadWrite, Pooling = false }.ToString());
        connection.Open();
        SqliteFile.CheckpointOnClose(connection, false);
        return SqliteFile.QuickCheck(connection);
    }
}
