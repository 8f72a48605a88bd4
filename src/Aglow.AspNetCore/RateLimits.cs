using System.Net;
using System.Net.Sockets;
using System.Threading.RateLimiting;

namespace Aglow.AspNetCore;

/// <summary>How much a server takes of one caller; 0: as much as they send.</summary>
internal sealed record AccessOptions
{
    /// <summary>Calls a second of one person: a heartbeat in ten seconds is all that must be, so this is for impatient people and broken apps.</summary>
    public int CallsPerUser { get; set; }

    /// <summary>Calls a second of one key: backends send in batches.</summary>
    public int CallsPerKey { get; set; }

    /// <summary>Calls a second of one address, whoever they are of: offices and phone networks share one.</summary>
    public int CallsPerAddress { get; set; }

    /// <summary>New users a second that one key registers.</summary>
    public int RegistrationsPerKey { get; set; }
}

/// <summary>
/// Rates, by the framework's own token buckets: a second's worth at once, twice that after a pause.
/// </summary>
/// <remarks>
/// Counted are callers and addresses (of IPv6 the first 64 bits, which is what one customer has). The framework forgets a bucket ten seconds after it is full again, so they are
/// bounded by who calls. Where a rate is 0 nothing is asked.
/// </remarks>
internal sealed class RateLimits(AccessOptions options) : IDisposable
{
    private readonly PartitionedRateLimiter<string>? _callers =
        options.CallsPerUser + options.CallsPerKey == 0 ? null : ByName(Buckets<string>(options.CallsPerUser), Buckets<string>(options.CallsPerKey));

    private readonly PartitionedRateLimiter<IPAddress>? _addresses = options.CallsPerAddress == 0 ? null : ByAddress(Buckets<IPAddress>(options.CallsPerAddress));

    private readonly PartitionedRateLimiter<string>? _registrations =
        options.RegistrationsPerKey == 0 ? null : ByName(Buckets<string>(options.RegistrationsPerKey), Buckets<string>(options.RegistrationsPerKey));

    /// <summary>Whether nothing is limited before a call.</summary>
    public bool AreOff => _callers is null && _addresses is null;

    /// <summary>Refuses an address that calls too often.</summary>
    public void RequireAddress(IPAddress? address)
    {
        if (!MayCall(address))
            throw Problems.TooManyCalls("this address", options.CallsPerAddress);
    }

    /// <summary>Whether an address calls no more than it may; counts it.</summary>
    public bool MayCall(IPAddress? address)
    {
        if (_addresses is null || address is null)
            return true;
        using var lease = _addresses.AttemptAcquire(address);
        return lease.IsAcquired;
    }

    /// <summary>Refuses a caller who calls too often.</summary>
    public void RequireCaller(Caller? caller)
    {
        if (_callers is null || caller is null)
            return;
        using var lease = _callers.AttemptAcquire(caller.Name);
        if (!lease.IsAcquired)
            throw caller.User is null ? Problems.TooManyCalls("this key", options.CallsPerKey) : Problems.TooManyCalls("this user", options.CallsPerUser);
    }

    /// <summary>Refuses a key that registers too many users at a time.</summary>
    public void RequireRegistrations(Caller? caller, int count)
    {
        if (_registrations is null || caller is null || caller.User is not null || count == 0)
            return;
        // a list that is larger than the bucket would never pass
        using var lease = _registrations.AttemptAcquire(caller.Name, Math.Min(count, 2 * options.RegistrationsPerKey));
        if (!lease.IsAcquired)
            throw Problems.TooManyRegistrations(options.RegistrationsPerKey);
    }

    public void Dispose()
    {
        _callers?.Dispose();
        _addresses?.Dispose();
        _registrations?.Dispose();
    }

    /// <summary>An address as one customer has it.</summary>
    public static IPAddress Customer(IPAddress address)
    {
        if (address.AddressFamily != AddressFamily.InterNetworkV6)
            return address;
        if (address.IsIPv4MappedToIPv6)
            return address.MapToIPv4();
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out _);
        bytes[8..].Clear();
        return new IPAddress(bytes);
    }

    private static PartitionedRateLimiter<string> ByName(Func<string, RateLimiter>? ofUsers, Func<string, RateLimiter>? ofKeys) =>
        PartitionedRateLimiter.Create<string, string>(name => Bucket(name, name.StartsWith("key ", StringComparison.Ordinal) ? ofKeys : ofUsers), StringComparer.Ordinal);

    private static PartitionedRateLimiter<IPAddress> ByAddress(Func<IPAddress, RateLimiter>? buckets) =>
        PartitionedRateLimiter.Create<IPAddress, IPAddress>(address => Bucket(Customer(address), buckets));

    private static RateLimitPartition<TKey> Bucket<TKey>(TKey key, Func<TKey, RateLimiter>? buckets) =>
        buckets is null ? RateLimitPartition.GetNoLimiter(key) : RateLimitPartition.Get(key, buckets);

    // One for all calls, and not one made at each as GetTokenBucketLimiter takes. Null: no limit. The partitions' timer refills the buckets.
    private static Func<TKey, RateLimiter>? Buckets<TKey>(int perSecond) => perSecond == 0 ? null : _ => new TokenBucketRateLimiter(new TokenBucketRateLimiterOptions
    {
        TokenLimit = 2 * perSecond,
        TokensPerPeriod = perSecond,
        ReplenishmentPeriod = TimeSpan.FromSeconds(1),
        QueueLimit = 0,
        AutoReplenishment = false,
    });
}
