using System.Text.Json;

namespace Aglow.Swarm;

/// <summary>A run of people from its beginning to its reports. True: nothing was wrong, and something was checked.</summary>
internal static class PeopleRun
{
    public static async Task<bool> RunAsync(SwarmOptions options, CancellationToken stop)
    {
        var clock = new SwarmClock(TimeProvider.System);
        var (promises, unixAtZero) = await AskAsync(options, clock, stop);
        using var swarm = new SwarmRun(options, clock, promises, unixAtZero);
        using (var watched = CancellationTokenSource.CreateLinkedTokenSource(stop))
        {
            var view = View.ShowAsync(swarm, watched.Token);
            await swarm.RunAsync(stop);
            await watched.CancelAsync();
            await view;
        }

        var summary = Summary.Of(swarm);
        View.ShowEnd(swarm, summary);
        if (options.Json is { } json)
            await File.WriteAllTextAsync(json, JsonSerializer.Serialize(summary, Summary.Json), CancellationToken.None);
        if (options.Report is { } report)
            await File.WriteAllTextAsync(report, HtmlReport.Of(summary), CancellationToken.None);
        return summary.Passed;
    }

    /// <summary>What the deployment promises, and its clock against ours; every address must answer.</summary>
    public static async Task<(Promises Promises, double UnixAtZero)> AskAsync(SwarmOptions options, SwarmClock clock, CancellationToken stop)
    {
        // a number of its own, so that nobody's truth begins with our question
        var probe = options.First + (uint)options.People;
        var promises = new Promises();
        var unixAtZero = clock.UnixAtZero;
        foreach (var url in options.Urls)
        {
            using var node = new Node(url);
            try
            {
                var (heartbeat, lease) = await node.HeartbeatAsync(probe, stop);
                promises = new Promises(lease, Heartbeat: heartbeat);
                var ahead = await node.ClockAsync(probe, stop) is { } server ? server.Now - Math.Floor(clock.UnixAtZero + clock.Now) : 0;
                // within a second it may be the rounding
                if (Math.Abs(ahead) > 1)
                    unixAtZero = clock.UnixAtZero + ahead;
                await node.LeaveAsync(probe, stop);
            }
            catch (HttpRequestException failure)
            {
                throw new HttpRequestException($"no presence server answers at {url} ({failure.Message.ReplaceLineEndings(" ")}): start one with ./aglow serve, or give its address with --url.", failure);
            }
        }

        return (promises, unixAtZero);
    }
}
