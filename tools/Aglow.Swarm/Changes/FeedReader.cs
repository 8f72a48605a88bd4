namespace Aglow.Swarm.Changes;

/// <summary>A backend that follows <c>GET /changes</c>, at any node that answers.</summary>
internal sealed class FeedReader(SwarmRun swarm, Ledger ledger)
{
    private string _after = "latest";

    /// <summary>Begins at the end of the feed.</summary>
    public async Task BeginAsync(CancellationToken stop) => _after = (await swarm.Nodes[0].ChangesAsync("latest", 0, stop)).Next;

    /// <summary>Reads until the run ends.</summary>
    public async Task RunAsync(CancellationToken stop)
    {
        for (var turn = 0; ; turn++)
        {
            var node = swarm.Nodes[turn % swarm.Nodes.Count];
            while (await swarm.TryAsync(() => ReadAsync(node, stop), stop))
            {
            }

            await swarm.Clock.DelayAsync(0.5, stop);
        }
    }

    private async Task ReadAsync(Node node, CancellationToken stop)
    {
        var page = await node.ChangesAsync(_after, 5, stop);
        if (page.IsGap)
            ledger.Gaps.Add();
        foreach (var change in page.Changes)
            ledger.Receive(change);
        _after = page.Next;
    }
}
