using System.CommandLine;
using Aglow.Server;

// aglow-server serve [--urls …] [--data …] …     aglow-server backup DIR     aglow-server sbom
var commands = new RootCommand("Aglow: who is online, and when were they last seen.")
{
    ServeCommand.Create(),
    KeysCommand.Create(),
    BackupCommand.Create(),
    SbomCommand.Create(),
};

return await CommandLine.RunAsync(commands, args);
