using System.Net;

namespace Aglow.Redis;

/// <summary>One server that has slots, and since when it is away.</summary>
internal sealed class RedisShard(EndPoint endpoint)
{
    /// <summary>The timestamp of its first failure since it last worked; 0: it works.</summary>
    public long AwaySince;

    /// <summary>The timestamp of its last good answer.</summary>
    public long AnsweredAt;

    /// <summary>Commands that wait for an answer.</summary>
    public int Owed;

    /// <summary>The timestamp at which the first of them was sent.</summary>
    public long OwedSince;

    /// <summary>Ends when the answers that are owed now are no longer waited for; then it is another one.</summary>
    public TaskCompletionSource GivenUp = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>Whether it was away when that was last checked.</summary>
    public bool IsKnownAway;

    /// <summary>Where it listens.</summary>
    public EndPoint Endpoint { get; } = endpoint;

    /// <summary>Where it listens, as people write it.</summary>
    public string Name { get; } = RedisAddress.Name(endpoint);

    /// <summary>Held while it is told that the shard is back, so that no answer of the shard reaches a caller before that.</summary>
    public Lock Gate { get; } = new();

    /// <summary>Why it is away.</summary>
    public string Reason { get; set; } = "";

    /// <summary>Whether it was logged that it is away.</summary>
    public bool IsSaidAway { get; set; }

    /// <summary>When it was last probed.</summary>
    public long ProbedAt { get; set; }

    /// <summary>The probe that is under way.</summary>
    public Task Probe { get; set; } = Task.CompletedTask;
}
