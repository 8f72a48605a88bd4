using Amazon.DynamoDBv2;
using Amazon.DynamoDBv2.Model;

namespace Aglow.Benchmarks.Baselines;

/// <summary>
/// (e) An item with a TTL in DynamoDB. By the manual, expired items are deleted within some days, so a reader must check the TTL itself.
/// The TTL only serves to delete them in the end.
/// </summary>
/// <remarks>
/// This runs on <c>dynalite</c>, an emulator that deletes nothing. It shows how the design works, not how fast DynamoDB is;
/// docs/capacity.md has the cost there.
/// </remarks>
internal sealed class DynamoItem(AmazonDynamoDBClient client, DynaliteServer server, TimeSpan lease) : PresenceDesign
{
    private const string Table = "presence";

    // the most items that a request may contain
    private const int MostWrites = 25, MostReads = 100;

    public override string Name => "item with TTL, DynamoDB (dynalite)";

    public override uint MostUsers => 20_000;

    public override double CpuSeconds() => server.CpuSeconds();

    public async Task CreateAsync()
    {
        await client.CreateTableAsync(new CreateTableRequest
        {
            TableName = Table,
            KeySchema = [new KeySchemaElement("user_id", KeyType.HASH)],
            AttributeDefinitions = [new AttributeDefinition("user_id", ScalarAttributeType.N)],
            BillingMode = BillingMode.PAY_PER_REQUEST,
        });
        while ((await client.DescribeTableAsync(Table)).Table.TableStatus != TableStatus.ACTIVE)
            await Task.Delay(20);
    }

    public override Task FillAsync(uint users) => HeartbeatAllAsync(users, MostWrites);

    public override async ValueTask HeartbeatAsync(uint user) => await client.PutItemAsync(Table, Item(user, Now));

    public override async ValueTask HeartbeatAsync(ReadOnlyMemory<uint> users)
    {
        var now = Now;
        foreach (var some in users.ToArray().Chunk(MostWrites))
        {
            var writes = some.Select(user => new WriteRequest(new PutRequest(Item(user, now)))).ToList();
            for (var left = new Dictionary<string, List<WriteRequest>> { [Table] = writes }; left is { Count: > 0 };)
                left = (await client.BatchWriteItemAsync(left)).UnprocessedItems;
        }
    }

    public override async ValueTask LeaveAsync(uint user) => await client.DeleteItemAsync(Table, Key(user));

    public override async ValueTask ReadAsync(ReadOnlyMemory<uint> users, Memory<Seen> seen)
    {
        var now = Now;
        var found = new Dictionary<uint, Seen>(users.Length);
        foreach (var some in users.ToArray().Chunk(MostReads))
        {
            var keys = new KeysAndAttributes { Keys = [.. some.Select(Key)] };
            for (var left = new Dictionary<string, KeysAndAttributes> { [Table] = keys }; left is { Count: > 0 };)
            {
                var answer = await client.BatchGetItemAsync(left);
                foreach (var item in answer.Responses[Table])
                    found[uint.Parse(item["user_id"].N)] = new Seen(now <= long.Parse(item["ttl"].N), long.Parse(item["last_heartbeat"].N));
                left = answer.UnprocessedKeys;
            }
        }

        for (var i = 0; i < users.Length; i++)
            seen.Span[i] = found.GetValueOrDefault(users.Span[i]);
    }

    public override async Task<long> CountAsync()
    {
        var count = 0L;
        Dictionary<string, AttributeValue>? after = null;
        do
        {
            var page = await client.ScanAsync(new ScanRequest(Table) { Select = Select.COUNT, ExclusiveStartKey = after });
            count += page.Count ?? 0;
            after = page.LastEvaluatedKey;
        }
        while (after is { Count: > 0 });
        return count;
    }

    public override Task<long> BytesAsync() => Task.FromResult(server.GrownBytes());

    public override ValueTask DisposeAsync()
    {
        client.Dispose();
        return default;
    }

    private static Dictionary<string, AttributeValue> Key(uint user) => new() { ["user_id"] = new() { N = $"{user}" } };

    private Dictionary<string, AttributeValue> Item(uint user, long now) => new()
    {
        ["user_id"] = new() { N = $"{user}" },
        ["last_heartbeat"] = new() { N = $"{now}" },
        ["ttl"] = new() { N = $"{now + (long)lease.TotalSeconds}" },
    };
}
