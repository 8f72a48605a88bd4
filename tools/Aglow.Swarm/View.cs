using Spectre.Console;

namespace Aglow.Swarm;

/// <summary>Shows a run: a live table on a terminal, plain lines elsewhere, a table at the end.</summary>
internal static class View
{
    private const double LineEvery = 5;
    private const double RefreshEvery = 0.5;
    private const int ViolationsShown = 20;

    /// <summary>Shows the run until it is over.</summary>
    public static async Task ShowAsync(SwarmRun swarm, Task run)
    {
        if (Console.IsOutputRedirected)
            await ShowLinesAsync(swarm, run);
        else
            await AnsiConsole.Live(Live(swarm)).AutoClear(true).StartAsync(context => RefreshAsync(swarm, context, run));
        await run;
    }

    /// <summary>The result.</summary>
    public static void ShowEnd(SwarmRun swarm)
    {
        var (findings, measures) = (swarm.Findings, swarm.Measures);
        foreach (var violation in findings.Violations.Take(ViolationsShown))
            Console.WriteLine(violation);
        if (findings.Count > ViolationsShown)
            Console.WriteLine(
                $"… and {findings.Count - ViolationsShown} more; the JSON has the first {findings.Violations.Count}.");

        var table = new Table()
            .Border(Console.IsOutputRedirected ? TableBorder.Ascii : TableBorder.Rounded)
            .AddColumn("checked")
            .AddColumn(new TableColumn("count").RightAligned())
            .AddColumn("of it, one answer only");
        table.AddRow("statuses read", Number(findings.Read), Number(findings.ReadDecisive));
        table.AddRow("records told to watchers", Number(findings.Received), Number(findings.ReceivedDecisive));
        table.AddRow("changes told in time", Number(findings.ChangesInTime), "");
        foreach (var (kind, count) in findings.ByKind)
            table.AddRow(count == 0 ? kind : $"[red]{kind}[/]", count == 0 ? "0" : $"[red]{Number(count)}[/]", "");
        // a redirected output has no colours
        var console = Console.IsOutputRedirected
            ? AnsiConsole.Create(new AnsiConsoleSettings { Ansi = AnsiSupport.No, ColorSystem = ColorSystemSupport.NoColors })
            : AnsiConsole.Console;
        console.Write(table);

        foreach (var ledger in swarm.Ledgers)
            Console.WriteLine(
                $"{ledger.Name}: {Number(ledger.Count)} changes, {Number(ledger.Repeated)} of them again, {Number(ledger.Gaps)} gaps");

        if (measures.Claims > 0)
            Console.WriteLine($"{Number(measures.Claims)} changes of claims");
        foreach (var latency in LatencyLine.Of(swarm).Where(static l => l.Count > 0))
            Console.WriteLine(
                $"{latency.What}: p50 {latency.P50Ms} ms, p99 {latency.P99Ms} ms, max {latency.MaxMs} ms ({Number(latency.Count)})");
        if (swarm.Servers.SteadyCpuPercent is { } cpu)
            Console.WriteLine(
                $"servers: {cpu} % of one core over {swarm.Servers.SteadySeconds} s, {swarm.Servers.Megabytes:#,0} MB at the end");
        Console.WriteLine(
            $"{Number(measures.Connects)} sockets opened, {Number(measures.Heartbeats)} heartbeats over HTTP, "
                + $"{Number(measures.AccountChanges)} changes of accounts, {Number(measures.Transitions)} transitions, "
                + $"{Number(measures.Deliveries)} deliveries, {Number(measures.Errors)} "
                + $"errors{(measures.Errors > 0 ? $" (the last: {measures.LastError})" : "")}");
        Console.WriteLine(
            $"{findings.Outcome} ({swarm.Who}, {swarm.Seconds} s, seed {swarm.Options.Seed}).");
    }

    private static async Task RefreshAsync(SwarmRun swarm, LiveDisplayContext context, Task run)
    {
        while (await Task.WhenAny(run, swarm.Clock.DelayAsync(RefreshEvery, CancellationToken.None)) != run)
            context.UpdateTarget(Live(swarm));
    }

    private static async Task ShowLinesAsync(SwarmRun swarm, Task run)
    {
        while (await Task.WhenAny(run, swarm.Clock.DelayAsync(LineEvery, CancellationToken.None)) != run)
        {
            if (swarm.Samples.LastOrDefault() is not { } now)
            {
                Console.WriteLine($"{swarm.Clock.Now,6:0} s  {swarm.Preparing}");
            }
            else
            {
                Console.WriteLine(
                    $"{now.At,6:0} s  online {Number(now.Online)}, {Number((long)now.Heartbeats)} heartbeats/s, {now.Transitions:0} "
                        + $"transitions/s, {now.Deliveries:0} deliveries/s, "
                    + $"told online p50 {now.NoticeP50Ms:0} ms p99 {now.NoticeP99Ms:0} ms, {Number(now.Errors)} errors, "
                    + $"{Number(swarm.Findings.Read + swarm.Findings.Received)} checked, {Number(now.Violations)} violations");
            }
        }
    }

    private static Panel Live(SwarmRun swarm)
    {
        if (swarm.Samples.LastOrDefault() is not { } now)
            return new Panel(new Text($"{swarm.Preparing} …")).Header(" aglow swarm ").RoundedBorder();
        var grid = new Grid().AddColumn().AddColumn(new GridColumn().RightAligned());
        grid.AddRow("online", $"[green]{Number(swarm.Online)}[/] of {swarm.LookedAt}");
        grid.AddRow("heartbeats/s", Number((long)now.Heartbeats));
        grid.AddRow("transitions/s", $"{now.Transitions:0}");
        grid.AddRow("deliveries/s", $"{now.Deliveries:0}");
        grid.AddRow("told online, p50 and p99", $"{now.NoticeP50Ms:0} and {now.NoticeP99Ms:0} ms");
        grid.AddRow("heartbeat acknowledged, p99", $"{now.HeartbeatP99Ms:0.0} ms");
        if (now.ServersCpuPercent is { } cpu)
            grid.AddRow("servers", $"{cpu:0} % of one core, {now.ServersMegabytes:#,0} MB");
        grid.AddRow("errors", swarm.Measures.Errors == 0 ? "0" : $"[yellow]{Number(swarm.Measures.Errors)}[/]");
        grid.AddRow("checked", Number(swarm.Findings.Read + swarm.Findings.Received));
        grid.AddRow("violations", swarm.Findings.Count == 0 ? "[green]0[/]" : $"[red]{Number(swarm.Findings.Count)}[/]");
        var done = Math.Clamp((swarm.Clock.Now - swarm.BeganAt) / swarm.Options.Seconds, 0, 1);
        var bar = (int)(done * 30);
        grid.AddRow(
            $"[blue]{new string('━', bar)}[/][grey]{new string('━', 30 - bar)}[/]",
            $"{swarm.Clock.Now - swarm.BeganAt:0} of {swarm.Options.Seconds:0} s");
        return new Panel(grid).Header(" aglow swarm ").RoundedBorder();
    }

    public static string Number(long number) => number.ToString("#,0");
}
