using System.CommandLine;
using System.Diagnostics;
using Aglow.Durable;

namespace Aglow.Server;

/// <summary><c>backup DIR</c>: copies the data folder, even while a server uses it.</summary>
internal static class BackupCommand
{
    public static Command Create()
    {
        var to = new Argument<string>("to") { Description = "The folder to create; it must not exist.", HelpName = "DIR" };
        var data = CommandLine.Data();
        var command = new Command("backup", "Copies the data folder of the embedded store, even while its server runs.") { to, data };
        command.SetAction(parsed =>
        {
            var began = Stopwatch.GetTimestamp();
            var copy = parsed.GetRequiredValue(to);
            var bytes = DataBackup.Copy(CommandLine.FolderOf(parsed, data), copy);
            Console.WriteLine(
                $"{bytes / 1e6:0.0} MB copied to {Path.GetFullPath(copy)} in {Stopwatch.GetElapsedTime(began).TotalSeconds:0.0} s. To "
                    + "restore it, start a server with --data on a copy of that folder.");
        });
        return command;
    }
}
