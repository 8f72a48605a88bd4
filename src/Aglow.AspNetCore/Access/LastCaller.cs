using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// The <c>Authorization</c> header that came last on a connection, and whom it stands for. It spares the usual heartbeat a hash of its
/// token.
/// </summary>
/// <remarks>
/// The key is the whole header, never the connection: a balancer sends the requests of many people over one. Kestrel gives the same string
/// again if a header repeats, so the usual comparison is of two references. Others take the same time wherever they differ. Any thread:
/// requests of HTTP/2 share a connection.
/// </remarks>
internal sealed class LastCaller
{
    private volatile Entry? _last;

    /// <summary>Whom this header stands for, if it is the last one; null: ask <see cref="KnownCallers"/>.</summary>
    public Caller? Find(string header) => _last is { } last && IsSame(last.Header, header) ? last.Caller : null;

    /// <summary>The last header, and whom it stands for.</summary>
    public void Keep(string header, Caller caller) => _last = new Entry(header, caller);

    private static bool IsSame(string one, string other) => ReferenceEquals(one, other)
        || CryptographicOperations.FixedTimeEquals(MemoryMarshal.AsBytes(one.AsSpan()), MemoryMarshal.AsBytes(other.AsSpan()));

    private sealed record Entry(string Header, Caller Caller);
}
