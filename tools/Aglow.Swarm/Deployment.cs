namespace Aglow.Swarm;

/// <summary>Queries a deployment before a run.</summary>
internal static class Deployment
{
    /// <summary>
    /// Reads the deployment's promises, and compares its clock with ours. Every address must answer. No user of the run may have the ID
    /// <paramref name="probe"/>.
    /// </summary>
    public static async Task<Promises> ReadAsync(
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
                promises = new Promises(lease, Heartbeat: heartbeat) { Unordered = urls.Count > 1 ? 1 : 0 };
                var ahead = await node.ClockAsync(probe, stop) is { } server ? server.Now - Math.Floor(clock.UnixAtZero + clock.Now) : 0;
                // a smaller difference may come from rounding
                if (Math.Abs(ahead) > 1)
                    unixAtZero = clock.UnixAtZero + ahead;
                await node.LeaveAsync(probe, stop);
            }
            catch (HttpRequestException failure)
            {
                throw new HttpRequestException(
                    $"no presence server answers at {url} ({failure.Message.ReplaceLineEndings(" ")}): "
                        + "start one with ./aglow serve, or give its address with --url.",
                    failure);
            }
        }

        return promises with { UnixAtZero = unixAtZero };
    }
}
