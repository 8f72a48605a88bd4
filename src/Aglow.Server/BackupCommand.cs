using System.CommandLine;
using System.Diagnostics;
using Aglow.Durable;
using Aglow.Model;
using Aglow.Storage;

namespace Aglow.Server;

/// <summary><c>backup DIR</c>: copies the data folder, even while a server uses it.</summary>
internal static class BackupCommand
{
    private const string DataFlag = "--data";

    public static Command Create()
    {
        var to = new Argument<string>("to") { Description = "The folder to create; it must not exist.", HelpName = "DIR" };
        var data = new Option<string>(DataFlag)
        {
            Description = "The data folder to copy; default: the folder of serve.",
            HelpName = "DIR",
        };
        var command = new Command("backup", "Copies the data folder of the embedded store, even while its server runs.") { to, data };
        command.SetAction(parsed => Run(parsed.GetValue(data), parsed.GetValue(to)!));
        return command;
    }

    private static int Run(string? data, string to)
    {
        try
        {
            var flags = new Dictionary<string, string>(StringComparer.Ordinal);
            if (data is not null)
                flags[DataFlag] = data;
            var began = Stopwatch.GetTimestamp();
            var bytes = DataBackup.Copy(ServeSettings.Read(flags).Presence.DataDirectory, to);
            Console.WriteLine(
                $"{bytes / 1e6:0.0} MB copied to {Path.GetFullPath(to)} in {Stopwatch.GetElapsedTime(began).TotalSeconds:0.0} s. To "
                    + "restore it, start a server with --data on a copy of that folder.");
            return CommandLine.Fine;
        }
        catch (UsageException wrong)
        {
            return CommandLine.Fail(CommandLine.Usage, wrong.Message);
        }
        catch (DataFolderException failure)
        {
            return CommandLine.Fail(CommandLine.Failed, failure.Message);
        }
    }
}
