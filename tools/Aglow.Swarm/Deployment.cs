namespace Aglow.Swarm;

/// <summary>What the swarm asks of a deployment before a run.</summary>
internal static class Deployment
{
    /// <summary>
    /// Its promises, and its clock against ours. Every address must answer. <paramref name="probe"/> is a user ID that nobody in the run
    /// has.
    /// </summary>
    public static async Task<(Promises Promises, double UnixAtZero)> AskAsync(
        IReadOnlyList<Uri> urls, uint probe, SwarmClock clock, CancellationToken stop)
    {
        var promises = new Promises();
        var unixAtZero = clock.UnixAtZero;
        foreach (var url in urls)
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
