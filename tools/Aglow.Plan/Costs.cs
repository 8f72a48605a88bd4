namespace Aglow.Plan;

/// <summary>One way to run a deployment, and its cost per month.</summary>
internal sealed record Choice(string Name, Term Month, string Note)
{
    private const double SecondsAMonth = 730 * 3600;

    // the names and values of an item, and the 100 bytes that are billed per item
    private const double ItemBytes = 150;

    /// <summary>Lists all possible ways.</summary>
    public static IReadOnlyList<Choice> Of(Demand demand, Capacity plan, Prices prices)
    {
        var node = Term.Of("node a month", prices.NodeMonth);
        var balancer = Term.Of("load balancer a month", prices.LoadBalancerMonth);
        var egress = (plan.Egress * 1e6 / 8.0 * SecondsAMonth / 1e9 * Term.Of("price a GB out", prices.EgressGb)).As("egress");
        var nodes = ((plan.Nodes * node) + balancer).As("nodes");
        var choices = new List<Choice>();
        if (plan.FitsOneNode)
        {
            choices.Add(
                new(
                    "one node, embedded",
                    node + (plan.Disk.As("disk GB") * Term.Of("price a GB of disk", prices.DiskGbMonth)) + egress,
                    "a restart is an outage of a second; 99.99 % wants two machines"));
        }

        choices.Add(
            new(
                $"{Term.Show(plan.Nodes.Value)} nodes, {Term.Show(plan.RedisServers.Value)} Redis servers of one's own",
                nodes + (plan.RedisServers * Term.Of("Redis machine a month", prices.RedisNodeMonth)) + egress,
                "somebody runs the Redis"));
        choices.Add(
            new(
                $"{Term.Show(plan.Nodes.Value)} nodes, {Term.Show(plan.RedisServers.Value)} managed Redis servers",
                nodes + (plan.RedisServers * Term.Of("managed Redis a month", prices.ManagedRedisNodeMonth)) + egress,
                "somebody else runs the Redis"));
        choices.Add(new(
            $"{Term.Show(plan.Nodes.Value)} nodes, DynamoDB on demand: an item a user, a write a heartbeat",
            nodes
                + (plan.Heartbeats * SecondsAMonth / 1e6 * Term.Of("price a million writes", prices.DynamodbMillionWrites))
                + (plan.Deliveries * SecondsAMonth / 1e6 * Term.Of("price a million reads", prices.DynamodbMillionReads))
                + (Term.Of("registered", demand.Registered) * ItemBytes / 1e9 * Term.Of("price a GB of items", prices.DynamodbGbMonth))
                + egress,
            "no one runs anything, and there are no notices of changes: watchers would poll (a read for each delivery is counted, the "
                + "least there can be)"));
        return choices;
    }
}
