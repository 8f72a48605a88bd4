using System.CommandLine;
using Aglow.Server;

// aglow-server serve [--urls …] [--data …] …
var commands = new RootCommand("Aglow: who is online, and when were they last seen.")
{
    ServeCommand.Create(),
    KeysCommand.Create(),
};

return await CommandLine.RunAsync(commands, args);
