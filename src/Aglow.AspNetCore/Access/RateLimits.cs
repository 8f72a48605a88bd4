using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Aglow.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

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
/// How often who may call: by address, then by person or key, and how many users a key may register. A rate of 0 asks nothing.
/// </summary>
/// <remarks>On the way of every heartbeat: no lock and no memory (<see cref="RateBuckets"/>). Of an IPv6 address the first 64 bits count, which is what one customer has.</remarks>
internal sealed class RateLimits(AccessOptions options, TimeProvider time)
{
    private readonly RateBuckets? _people = Of(options.CallsPerUser, time);
    private readonly RateBuckets? _keys = Of(options.CallsPerKey, time);
    private readonly RateBuckets? _addresses = Of(options.CallsPerAddress, time);
    private readonly RateBuckets? _registrations = Of(options.RegistrationsPerKey, time);

    /// <summary>Whether nothing is limited before a call.</summary>
    public bool AreOff => _people is null && _keys is null && _addresses is null;

    /// <summary>Refuses an address that calls too often.</summary>
    public void RequireAddress(IPAddress? address)
    {
        if (!MayCall(address))
            throw Problems.TooManyCalls("this address", options.CallsPerAddress);
    }

    /// <summary>Whether an address calls no more than it may; counts it.</summary>
    public bool MayCall(IPAddress? address) => _addresses is null || address is null || _addresses.TryTake(HashOf(address));

    /// <summary>Refuses a caller who calls too often.</summary>
    public void RequireCaller(Caller? caller)
    {
        if (caller is null)
            return;
        if (caller.User is null)
        {
            if (_keys?.TryTake(HashOf(caller)) == false)
                throw Problems.TooManyCalls("this key", options.CallsPerKey);
        }
        else if (_people?.TryTake(HashOf(caller)) == false)
        {
            throw Problems.TooManyCalls("this user", options.CallsPerUser);
        }
    }

    /// <summary>Refuses a key that registers too many users at a time.</summary>
    public void RequireRegistrations(Caller? caller, int count)
    {
        if (_registrations is null || caller is null || caller.User is not null || count == 0)
            return;
        // a list that is larger than the bucket would never pass
        if (!_registrations.TryTake(HashOf(caller), (int)Math.Min(count, 2L * options.RegistrationsPerKey)))
            throw Problems.TooManyRegistrations(options.RegistrationsPerKey);
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

    // Hashes of this process: nobody can choose two names that meet.
    private static int HashOf(Caller caller) => StringComparer.Ordinal.GetHashCode(caller.Name);

    // The same for whatever Customer says is one, without making an object of it.
    private static int HashOf(IPAddress address)
    {
        Span<byte> bytes = stackalloc byte[16];
        address.TryWriteBytes(bytes, out var length);
        if (length == 4 || address.IsIPv4MappedToIPv6)
            return HashCode.Combine(MemoryMarshal.Read<uint>(bytes[(length - 4)..]));
        return HashCode.Combine(MemoryMarshal.Read<ulong>(bytes));
    }
}
