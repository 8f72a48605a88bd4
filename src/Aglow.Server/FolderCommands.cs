using System.CommandLine;
using Aglow.Repair;
using Aglow.Storage;

namespace Aglow.Server;

/// <summary><c>check</c> finds damage in a data folder; <c>repair --keep-what-is-good</c> makes a folder of the good data.</summary>
internal static class FolderCommands
{
    private const string KeepFlag = "--keep-what-is-good";

    public static Command CreateCheck()
    {
        var data = CommandLine.Data();
        var check = new Command(
            "check",
            "Checks every byte of the data folder, and says what a repair would lose. No server may run on it. Exit code 1: it is damaged.")
        {
            data,
        };
        check.SetAction(parsed =>
        {
            var folder = CommandLine.FolderOf(parsed, data);
            var files = FolderRepair.Check(folder);
            Report(files);
            var keys = CheckKeys(folder);
            return keys && files.All(static file => file.Damage is null) ? CommandLine.Fine : CommandLine.Failed;
        });
        return check;
    }

    public static Command CreateRepair()
    {
        var data = CommandLine.Data();
        var keep = new Option<bool>(KeepFlag)
        {
            Description = "Replaces damaged databases by new ones with all good data, and keeps the damaged ones in a folder below.",
        };
        var repair = new Command(
            "repair", "Saves the good data of a damaged folder that has no backup. No server may run on it.") { data, keep };
        repair.SetAction(parsed =>
        {
            var folder = CommandLine.FolderOf(parsed, data);
            if (!parsed.GetValue(keep))
                throw new UsageException($"A repair loses damaged data: confirm with {KeepFlag}. aglow check lists the damage.");
            var (files, damaged) = FolderRepair.Run(folder, TimeProvider.System.GetUtcNow());
            Report(files);
            Console.WriteLine(damaged is null
                ? "The databases are whole, so nothing was changed."
                : $"{Path.GetFullPath(folder)} can be served again. The damaged databases are in {damaged}: "
                    + "keep them until you are sure that nothing is missing.");
            return CheckKeys(folder) ? CommandLine.Fine : CommandLine.Failed;
        });
        return repair;
    }

    private static void Report(IReadOnlyList<FileReport> files)
    {
        foreach (var file in files)
        {
            Console.WriteLine(file.Damage is null
                ? $"{file.File}: good"
                : $"{file.File}: damaged ({file.Damage}). A repair loses: {file.Lost}.");
        }
    }

    private static bool CheckKeys(string folder)
    {
        try
        {
            new ApiKeys(folder).Read();
            return true;
        }
        catch (DataFolderException damage)
        {
            Console.WriteLine($"keys.json: {damage.Message}");
            return false;
        }
    }
}
