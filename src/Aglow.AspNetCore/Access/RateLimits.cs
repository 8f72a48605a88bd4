using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Aglow.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>How much a server takes of one caller, in calls (<see cref="Cost"/>); 0: as much as they send.</summary>
internal sealed record AccessOptions
{
    /// <summary>Calls a second of one person: 5,000 users looked up a second, which is less than a tenth of a core at worst.</summary>
    public int CallsPerUser { get; set; }

    /// <summary>Calls a second of one key: backends that send each heartbeat by itself have as many users as this in ten seconds.</summary>
    public int CallsPerKey { get; set; }

    /// <summary>Calls a second of one address, whoever they are of: offices and phone networks share one.</summary>
    public int CallsPerAddress { get; set; }

    /// <summary>New users a second that one key registers, or one address.</summary>
    public int RegistrationsPerKey { get; set; }
}

/// <summary>
/// What callers may spend: by address, then by person or key, and how many users they may register. A rate of 0 asks nothing.
/// </summary>
/// <remarks>On the way of every heartbeat: no lock and no memory (<see cref="RateBuckets"/>). Of an IPv6 address the first 64 bits count, which is what one customer has.</remarks>
internal sealed class RateLimits(AccessOptions options, TimeProvider time)
{
    /// <summary>New users a second that one person registers: themself, and contacts whom they follow, approve or block before those come.</summary>
    public const int RegistrationsPerPerson = 100;

    private readonly RateBuckets? _people = Of(options.CallsPerUser, time);
    private readonly RateBuckets? _keys = Of(options.CallsPerKey, time);
    private readonly RateBuckets? _addresses = Of(options.CallsPerAddress, time);
    private readonly RateBuckets? _registrations = Of(options.RegistrationsPerKey, time);
    private readonly RateBuckets? _ownRegistrations = Of(Math.Min(options.RegistrationsPerKey, RegistrationsPerPerson), time);

    /// <summary>Whether nothing is limited before a call.</summary>
    public bool AreOff => _people is null && _keys is null && _addresses is null;

    /// <summary>Takes a cost from an address. Null, or the problem that there is not enough.</summary>
    public ProblemException? Charge(IPAddress? address, int cost)
    {
        if (_addresses is null || address is null || cost == 0)
            return null;
        var wait = _addresses.SecondsToWait(HashOf(address), cost);
        return wait == 0 ? null : Problems.TooManyCalls("this address", _addresses.PerSecond, wait);
    }

    /// <summary>Takes a cost from a person or key. Null, or the problem that there is not enough.</summary>
    public ProblemException? Charge(Caller? caller, int cost)
    {
        if (caller is null || cost == 0)
            return null;
        var buckets = caller.User is null ? _keys : _people;
        var wait = buckets?.SecondsToWait(caller.Hash, cost) ?? 0;
        return wait == 0 ? null : Problems.TooManyCalls(caller.User is null ? "this key" : "this user", buckets!.PerSecond, wait);
    }

    /// <summary>Takes new users from who registers them, and from the address. Null, or the problem that they are too many at a time.</summary>
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

    private static RateBuckets? Of(int perSecond, TimeProvider time) => perSecond == 0 ? null : new RateBuckets(perSecond, time);

    // The same for whatever Customer says is one, without making an object of it.
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
