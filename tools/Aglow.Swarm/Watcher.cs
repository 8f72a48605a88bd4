
namespace Aglow.Swarm;

/// <summary>A socket that watches the same users for the whole run, and reconnects after a loss.</summary>
internal sealed class Watcher(SwarmRun swarm, Node node, uint user, uint[] users, double delay)
{
    public async Task RunAsync(CancellationToken stop)
    {
        await swarm.Clock.DelayAsync(delay, stop);
        while (true)
        {
            await swarm.TryAsync(() => WatchAsync(stop), stop);
            await swarm.Clock.DelayAsync(1, stop);
        }
    }

    private async Task WatchAsync(CancellationToken stop)
    {
        using var connection = await SocketConnection.OpenAsync(node.Address, user, stop);
        swarm.Measures.Connects.Add();
        using var watches = swarm.Listen($"user {user} at {node.Address.Authority}");
        await connection.SendAsync($"{{\"type\":\"watch\",\"users\":[{string.Join(',', users)}]}}", stop);
        while (true)
        {
            var (kind, payload) = await connection.ReadAsync(stop);
            if (kind == FrameKind.Close)
                throw new IOException("the server closed the connection");
            if (kind == FrameKind.Ping)
                await connection.PongAsync(payload, stop);
            else if (kind == FrameKind.Text && watches.Receive(payload, swarm.Clock.Now) == "error")
                swarm.Measures.CountError(new IOException(System.Text.Encoding.UTF8.GetString(payload.Span)));
        }
    }
}
