// aglow serve …     aglow swarm …     aglow plan …: the tool runs one of three programs, each of which reads its own command line.
const string Server = "aglow-server";

(string Command, string Program, string Description)[] others =
[
    ("swarm", "aglow-swarm", "Simulates people against a server and checks every answer."),
    ("plan", "aglow-plan", "Works out what a deployment needs and costs."),
];

var other = Array.Find(others, other => args is [var command, ..] && command == other.Command);
var code = AppDomain.CurrentDomain.ExecuteAssemblyByName(other.Program ?? Server, other.Program is null ? args : args[1..]);
if (args is [] or ["--help" or "-h" or "-?"])
{
    // the server's help has listed its own commands
    foreach (var (command, _, description) in others)
        Console.WriteLine($"  {command,-9} {description}");
}

return code;
