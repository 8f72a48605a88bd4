using System.CommandLine;
using System.CommandLine.Help;
using Aglow.Server;

// aglow-server serve [--urls …] [--data …] …     aglow-server backup DIR
EmbeddedSqlite.Use();
using var tooLarge = FileSizeLimit.Ignore();
// no RootCommand, which has the name of the file: aglow-server in one package, another in the tool
var commands = new Command("aglow", "Aglow: who is online, and when were they last seen.")
{
    new HelpOption(),
    new VersionOption(),
    ServeCommand.Create(),
    KeysCommand.Create(),
    BackupCommand.Create(),
    FolderCommands.CreateCheck(),
    FolderCommands.CreateRepair(),
    ChangesCommand.Create(),
    WebhooksCommand.Create(),
};

return await CommandLine.RunAsync(commands, args);
