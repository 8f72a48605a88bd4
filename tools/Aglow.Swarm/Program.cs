// ./aglow swarm [--url …] [--people N] [--seconds S] …: simulated people whose true status is known. Read Truth and Judge first, which are
// the rules, and then Plan and Person.
using System.Runtime.InteropServices;
using Aglow.Swarm;

const int Usage = 2;
const int Interrupted = 130;

var parsed = SwarmOptions.Command(RunAsync).Parse(args);
if (parsed.Errors is [var wrong, ..])
    return Fail(Usage, $"{wrong.Message.TrimEnd('.')}. See aglow swarm --help.");
try
{
    return await parsed.InvokeAsync(new() { EnableDefaultExceptionHandler = false, ProcessTerminationTimeout = null });
}
catch (UsageException asked)
{
    return Fail(Usage, asked.Message);
}
catch (Exception failure) when (failure is HttpRequestException or IOException or System.Text.Json.JsonException
    or UnauthorizedAccessException or OperationCanceledException)
{
    return Fail(1, failure.Message);
}

static async Task<int> RunAsync(SwarmOptions options)
{
    using var stop = new CancellationTokenSource();
    using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, Stop);
    using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, Stop);
    var clock = new SwarmClock(TimeProvider.System);
    var promises = (await Deployment.ReadAsync(options.Urls, options.Probe, clock, stop.Token)) with { Away = options.AwaySeconds };
    if (options.IsDisturbed)
        promises = promises.Disturbed();
    using SwarmRun swarm = options.Bulk > 0 ? new BulkRun(options, clock, promises) : new PeopleRun(options, clock, promises);
    await View.ShowAsync(swarm, swarm.RunAsync(stop.Token));

    View.ShowEnd(swarm);
    if (options.Json is { } json)
        await File.WriteAllTextAsync(json, Summary.Json(swarm), CancellationToken.None);
    if (options.Report is { } report)
        await File.WriteAllTextAsync(report, HtmlReport.Of(swarm), CancellationToken.None);
    return swarm.Findings.Count > 0 ? 1 : stop.IsCancellationRequested ? Interrupted : swarm.Findings.Passed ? 0 : 1;

    void Stop(PosixSignalContext signal)
    {
        signal.Cancel = true;
        stop.Cancel();
    }
}

static int Fail(int code, string message)
{
    Console.Error.WriteLine($"aglow swarm: {message.ReplaceLineEndings(" ")}");
    return code;
}
