using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Caches the last <c>Authorization</c> header of a connection and its caller, so that the usual heartbeat does not hash its token.
/// </summary>
/// <remarks>
/// The key is the whole header, never the connection, because a load balancer sends the requests of many people over one connection.
/// Kestrel reuses the string of a header that repeats, so the usual comparison is of two references. Other headers are compared in constant
/// time. Threading: any thread, because requests of HTTP/2 share a connection.
/// </remarks>
internal sealed class LastCaller
{
    private volatile Entry? _last;

    /// <summary>The caller of this header, if it is the last one; null: ask <see cref="KnownCallers"/>.</summary>
    public Caller? Find(string header) => _last is { } last && IsSame(last.Header, header) ? last.Caller : null;

    public void Keep(string header, Caller caller) => _last = new Entry(header, caller);

    private static bool IsSame(string one, string other) => ReferenceEquals(one, other)
        || CryptographicOperations.FixedTimeEquals(MemoryMarshal.AsBytes(one.AsSpan()), MemoryMarshal.AsBytes(other.AsSpan()));

    private sealed record Entry(string Header, Caller Caller);
}
