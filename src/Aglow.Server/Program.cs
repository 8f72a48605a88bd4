using System.CommandLine;
using Aglow.Server;

// aglow-server serve [--urls …] [--data …] …     aglow-server backup DIR
EmbeddedSqlite.Use();
var commands = new RootCommand("Aglow: who is online, and when were they last seen.")
{
    ServeCommand.Create(),
    KeysCommand.Create(),
    BackupCommand.Create(),
    FolderCommands.CreateCheck(),
    FolderCommands.CreateRepair(),
    ChangesCommand.Create(),
    WebhooksCommand.Create(),
};

return await CommandLine.RunAsync(commands, args);
