namespace Aglow.Plan;

/// <summary>The operator's prices in <c>prices.json</c>; examples until they are replaced.</summary>
/// <param name="AsOf">The date and the vendor.</param>
/// <param name="Currency">The currency of all numbers.</param>
/// <param name="NodeMonth">A node (<c>--node-cores</c>, <c>--node-memory</c>), per month.</param>
/// <param name="LoadBalancerMonth">A TCP load balancer, per month.</param>
/// <param name="RedisNodeMonth">A machine for one Redis server of your own, per month.</param>
/// <param name="ManagedRedisNodeMonth">The same as a managed service.</param>
/// <param name="DiskGbMonth">A gigabyte of disk, per month.</param>
/// <param name="EgressGb">A gigabyte of outgoing traffic.</param>
/// <param name="DynamodbMillionWrites">A million writes of an item of up to 1 KB, on demand.</param>
/// <param name="DynamodbMillionReads">A million reads of an item, on demand, eventually consistent (two a unit).</param>
/// <param name="DynamodbGbMonth">A gigabyte of items, per month.</param>
internal sealed record Prices(
    string AsOf,
    string Currency,
    double NodeMonth,
    double LoadBalancerMonth,
    double RedisNodeMonth,
    double ManagedRedisNodeMonth,
    double DiskGbMonth,
    double EgressGb,
    double DynamodbMillionWrites,
    double DynamodbMillionReads,
    double DynamodbGbMonth)
{
    public static Prices Load(string file)
    {
        var prices = JsonFile.Load<Prices>(file);
        var wrong = typeof(Prices).GetProperties().FirstOrDefault(
            p => p.GetValue(prices) is double price && (!double.IsFinite(price) || price < 0));
        return wrong is null
            ? prices
            : throw new UsageException(
                $"{file}: {System.Text.Json.JsonNamingPolicy.SnakeCaseLower.ConvertName(wrong.Name)} is {wrong.GetValue(prices)}: a "
                    + "price is a number from 0 up.");
    }
}
