// ./aglow fuzz [--seconds S] [--seed K] …: hostile input for every reader of the server. Read Target first, then FuzzRun. Targets/ has one
// file per reader. ./aglow fuzz damage flips bytes of a data folder: see DamageRun.
using System.Runtime.InteropServices;
using Aglow.Fuzz;
using Aglow.Fuzz.Damage;
using Aglow.Server;

const int Usage = 2;

var commands = FuzzCommand.Create(RunAsync);
commands.Add(DamageCommand.Create());
var parsed = commands.Parse(args);
if (parsed.Errors is [var wrong, ..])
    return Fail($"{wrong.Message.TrimEnd('.')}. See aglow fuzz --help.");
try
{
    return await parsed.InvokeAsync(new() { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
}
catch (UsageException asked)
{
    return Fail(asked.Message);
}

static async Task<int> RunAsync(FuzzOptions options)
{
    using var stop = new CancellationTokenSource();
    // reports the findings so far, even after an interrupt
    using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    var report = await FuzzRun.RunAsync(options, Console.Out, stop.Token);
    await Console.Out.WriteLineAsync(report.ToString());
    return report.IsClean ? 0 : 1;

    void Stop(PosixSignalContext signal)
    {
        signal.Cancel = true;
        stop.Cancel();
    }
}

static int Fail(string message)
{
    Console.Error.WriteLine($"aglow fuzz: {message.ReplaceLineEndings(" ")}");
    return Usage;
}
