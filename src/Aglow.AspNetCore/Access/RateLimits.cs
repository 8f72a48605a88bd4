using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;

namespace Aglow.AspNetCore.Access;

/// <summary>How much a server accepts from one caller, in calls (<see cref="Cost"/>); 0: no limit.</summary>
internal sealed record AccessOptions
{
    /// <summary>
    /// Calls per second of one person. 50, the server's default with tokens, allow 5,000 users looked up per second: at most a tenth of a
    /// core.
    /// </summary>
    public int CallsPerUser { get; set; }

    /// <summary>
    /// Calls per second of one key. If each user's heartbeat is a call of its own, every 10 s, this rate serves ten times as many users.
    /// </summary>
    public int CallsPerKey { get; set; }

    /// <summary>Calls per second of one address, from all its callers: offices and phone networks share an address.</summary>
    public int CallsPerAddress { get; set; }

    /// <summary>New users per second that one key, or one address, may register.</summary>
    public int RegistrationsPerKey { get; set; }
}

/// <summary>
/// Limits what callers spend, by address and by person or key, and how many users they register. A rate of 0 means no limit.
/// </summary>
/// <remarks>
/// Every heartbeat passes here, so it takes no lock and allocates nothing (<see cref="RateBuckets"/>). Only the first 64 bits of an IPv6
/// address count, because one customer has that many addresses.
/// </remarks>
internal sealed class RateLimits(AccessOptions options, TimeProvider time)
{
    /// <summary>
    /// New users per second that one person may register: themself, and contacts whom they follow, approve or block before those contacts
    /// first connect.
    /// </summary>
    public const int RegistrationsPerPerson = 100;

    private readonly RateBuckets? _people = Of(options.CallsPerUser, time);
    private readonly RateBuckets? _keys = Of(options.CallsPerKey, time);
    private readonly RateBuckets? _addresses = Of(options.CallsPerAddress, time);
    private readonly RateBuckets? _registrations = Of(options.RegistrationsPerKey, time);
    private readonly RateBuckets? _ownRegistrations = Of(Math.Min(options.RegistrationsPerKey, RegistrationsPerPerson), time);

    /// <summary>Whether nothing is limited before a call.</summary>
    public bool AreOff => _people is null && _keys is null && _addresses is null;

    /// <summary>Takes a cost from an address's bucket. Returns null, or the problem that the bucket has too little.</summary>
    public ProblemException? Charge(IPAddress? address, int cost)
    {
        if (_addresses is null || address is null || cost == 0)
            return null;
        var wait = _addresses.SecondsToWait(HashOf(address), cost);
        return wait == 0 ? null : Problems.TooManyCalls("this address", _addresses.PerSecond, wait);
    }

    /// <summary>Takes a cost from the bucket of a person or key. Returns null, or the problem that the bucket has too little.</summary>
    public ProblemException? Charge(Caller? caller, int cost)
    {
        if (caller is null || cost == 0)
            return null;
        var buckets = caller.User is null ? _keys : _people;
        var wait = buckets?.SecondsToWait(caller.Hash, cost) ?? 0;
        return wait == 0 ? null : Problems.TooManyCalls(caller.User is null ? "this key" : "this user", buckets!.PerSecond, wait);
    }

    /// <summary>
    /// Takes new users from the buckets of the caller and of the address. Returns null, or the problem that there are too many at a time.
    /// </summary>
    public ProblemException? ChargeRegistrations(Caller? caller, IPAddress? address, int count)
    {
        if (caller is null || count == 0)
            return null;
        var buckets = caller.User is null ? _registrations : _ownRegistrations;
        var wait = buckets?.SecondsToWait(caller.Hash, count) ?? 0;
        if (wait != 0)
            return Problems.TooManyRegistrations(caller.User is null ? "this key" : "this user", buckets!.PerSecond, wait);
        wait = address is null ? 0 : _registrations?.SecondsToWait(HashOf(address), count) ?? 0;
        return wait == 0 ? null : Problems.TooManyRegistrations("this address", _registrations!.PerSecond, wait);
    }

    /// <summary>The part of an address that stands for one customer: an IPv4 address, or the first 64 bits of an IPv6 address.</summary>
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

    private static RateBuckets? Of(int perSecond, TimeProvider time) => perSecond == 0 ? null : new RateBuckets(perSecond, time);

    // Equal for all addresses of one Customer, without allocating an object.
    internal static int HashOf(IPAddress? address)
    {
        if (address is null)
            return 0;
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var length);
        if (length == 4 || address.IsIPv4MappedToIPv6)
            return HashCode.Combine(MemoryMarshal.Read<uint>(bytes[(length - 4)..]));
        return HashCode.Combine(MemoryMarshal.Read<ulong>(bytes));
    }
}
