// ./aglow plan [--active 5m] [--registered 1b] …: the needs and the cost of a deployment. Read Capacity first: it is the whole model.
using Aglow.Plan;

const int Usage = 2;

var parsed = new PlanCommand().Create(Run).Parse(args);
if (parsed.Errors is [var wrong, ..])
    return Fail(wrong.Message.TrimEnd('.') + ". See aglow plan --help.");
try
{
    return parsed.Invoke(new() { EnableDefaultExceptionHandler = false });
}
catch (UsageException asked)
{
    return Fail(asked.Message);
}

static int Run(PlanOptions options)
{
    Console.Write(Report.Of(options));
    return 0;
}

static int Fail(string message)
{
    Console.Error.WriteLine($"aglow plan: {message.ReplaceLineEndings(" ")}");
    return Usage;
}
