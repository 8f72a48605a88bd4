using Aglow.Changes;
using Aglow.Durable;
using Aglow.Files;
using Aglow.Sqlite;
using Aglow.Storage;
using Aglow.Users;
using Microsoft.Data.Sqlite;

namespace Aglow.Repair;

/// <summary>The report on one file of a data folder.</summary>
/// <param name="File">Its name.</param>
/// <param name="Damage">What is wrong with it; null: nothing.</param>
/// <param name="Lost">What a repair loses of it; null: nothing.</param>
public sealed record FileReport(string File, string? Damage, string? Lost);

/// <summary>
/// Checks a data folder that no server uses, and makes a new folder of its good data. The old folder is only renamed, never changed.
/// </summary>
public static class FolderRepair
{
    private const string Presence = PresenceFile.FileName;
    private const string Users = SqliteUserDirectory.FileName;

    /// <summary>Checks every byte of the databases, and says what a repair would lose.</summary>
    /// <exception cref="DataFolderException">It is not a data folder, or it is in use.</exception>
    public static IReadOnlyList<FileReport> Check(string folder)
    {
        using var held = Hold(folder);
        var partial = Scratch(held);
        try
        {
            return Make(held.FullPath, partial);
        }
        finally
        {
            Directory.Delete(partial, recursive: true);
        }
    }

    /// <summary>
    /// Replaces the folder by one with its good data, and keeps the damaged one beside it. Does nothing if nothing is damaged.
    /// </summary>
    /// <param name="folder">The data folder.</param>
    /// <param name="now">The time, for the name of the damaged folder.</param>
    /// <returns>The report on each file, and the path of the damaged folder.</returns>
    /// <exception cref="DataFolderException">It is not a data folder, it is in use, or the disk is full.</exception>
    public static (IReadOnlyList<FileReport> Files, string? Damaged) Run(string folder, DateTimeOffset now)
    {
        using var held = Hold(folder);
        var partial = Scratch(held);
        try
        {
            var files = Make(held.FullPath, partial);
            if (files.All(static file => file.Damage is null))
                return (files, null);
            foreach (var other in Directory.GetFiles(held.FullPath).Where(static file => Path.GetExtension(file) == ".json"))
                DataBackup.CopyFile(other, Path.Combine(partial, Path.GetFileName(other)), long.MaxValue);
            var damaged = $"{held.FullPath}.damaged-{now:yyyyMMdd-HHmmss}";
            Directory.Move(held.FullPath, damaged);
            Directory.Move(partial, held.FullPath);
            return (files, damaged);
        }
        finally
        {
            if (Directory.Exists(partial))
                Directory.Delete(partial, recursive: true);
        }
    }

    private static DataFolder Hold(string folder)
    {
        var full = Path.TrimEndingDirectorySeparator(Path.GetFullPath(folder));
        return File.Exists(Path.Combine(full, Presence)) || File.Exists(Path.Combine(full, Users))
            ? DataFolder.Open(full)
            : throw new DataFolderException($"{full} is not a data folder: name one with --data.");
    }

    private static string Scratch(DataFolder held)
    {
        var partial = held.FullPath + ".repaired";
        if (Directory.Exists(partial))
            Directory.Delete(partial, recursive: true);
        PrivateFile.CreateFolder(partial);
        return partial;
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
                foreach (var copy in Directory.GetFiles(to, name + "*"))
                    File.Delete(copy);
            }

            makeNew();
            using var database = DamagedDatabase.Open(path, Path.Combine(to, name + ".damaged"), target);
            string?[] all = [salvage(database.Connection), lost];
            return new FileReport(name, damage, string.Join("; ", all.Where(static one => one is not null).DefaultIfEmpty("nothing")));
        }
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
