using System.Buffers;
using System.Buffers.Binary;
using System.Globalization;
using System.Net;
using System.Text;

namespace Aglow.AspNetCore.Proxies;

/// <summary>The kind of the first bytes of a proxy's connection.</summary>
internal enum ProxyHeaderKind
{
    /// <summary>The header is incomplete.</summary>
    Unfinished,

    /// <summary>Not a PROXY header.</summary>
    Wrong,

    /// <summary>The proxy's own connection, such as a health check: its address stays.</summary>
    Own,

    /// <summary>The connection of a client.</summary>
    Client,
}

/// <summary>
/// The header of the PROXY protocol, versions 1 and 2. A rule on bytes, no I/O.
/// </summary>
/// <remarks>
/// <code>
///   1   PROXY TCP4 203.0.113.7 10.0.0.5 51234 8080\r\n
///   2   \r\n\r\n\0\r\nQUIT\n | 0x20 own, 0x21 client | 0x11 IPv4, 0x21 IPv6 | length | source, destination, ports | more, ignored
/// </code>
/// </remarks>
internal readonly record struct ProxyHeader(ProxyHeaderKind Kind, long Length = 0, IPEndPoint? Client = null)
{
    // what the specification allows
    private const int MostBytesOfVersion1 = 107;
    private const int FixedBytesOfVersion2 = 16;

    // addresses take 36 bytes; the names and certificates that proxies add rarely exceed a kilobyte
    private const int MostBytesOfVersion2 = 4096;

    private static ReadOnlySpan<byte> Signature2 => "\r\n\r\n\0\r\nQUIT\n"u8;

    private static ReadOnlySpan<byte> Signature1 => "PROXY "u8;

    /// <summary>Reads a header from the first bytes of a connection.</summary>
    public static ProxyHeader Read(ReadOnlySequence<byte> buffer)
    {
        Span<byte> bytes = stackalloc byte[(int)Math.Min(buffer.Length, MostBytesOfVersion2)];
        buffer.Slice(0, bytes.Length).CopyTo(bytes);
        if (StartsAs(bytes, Signature1))
            return ReadVersion1(bytes);
        return StartsAs(bytes, Signature2) ? ReadVersion2(bytes) : new(ProxyHeaderKind.Wrong);
    }

    private static bool StartsAs(ReadOnlySpan<byte> bytes, ReadOnlySpan<byte> signature) =>
        bytes[..Math.Min(bytes.Length, signature.Length)].SequenceEqual(signature[..Math.Min(bytes.Length, signature.Length)]);

    private static ProxyHeader ReadVersion1(ReadOnlySpan<byte> bytes)
    {
        var end = bytes[..Math.Min(bytes.Length, MostBytesOfVersion1)].IndexOf("\r\n"u8);
        if (end < 0)
            return new(bytes.Length >= MostBytesOfVersion1 ? ProxyHeaderKind.Wrong : ProxyHeaderKind.Unfinished);
        var words = Encoding.Latin1.GetString(bytes[..end]).Split(' ');
        if (words is [_, "UNKNOWN", ..])
            return new(ProxyHeaderKind.Own, end + 2);
        return words is [_, "TCP4" or "TCP6", var source, var destination, var port, _]
            && IPAddress.TryParse(source, out var client)
            && IPAddress.TryParse(destination, out _)
            && ushort.TryParse(port, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
                ? new(ProxyHeaderKind.Client, end + 2, new IPEndPoint(client, number))
                : new(ProxyHeaderKind.Wrong);
    }

    private static ProxyHeader ReadVersion2(ReadOnlySpan<byte> bytes)
    {
        if (bytes.Length < FixedBytesOfVersion2)
            return new(ProxyHeaderKind.Unfinished);
        var (command, family) = (bytes[12], bytes[13]);
        var length = FixedBytesOfVersion2 + BinaryPrimitives.ReadUInt16BigEndian(bytes[14..]);
        if (command is not (0x20 or 0x21) || length > MostBytesOfVersion2)
            return new(ProxyHeaderKind.Wrong);
        if (bytes.Length < length)
            return new(ProxyHeaderKind.Unfinished);
        var addressBytes = family switch { 0x11 => 4, 0x21 => 16, _ => 0 };
        if (command == 0x20 || addressBytes == 0)
            return new(ProxyHeaderKind.Own, length);
        if (length < FixedBytesOfVersion2 + (2 * addressBytes) + 4)
            return new(ProxyHeaderKind.Wrong);
        var addresses = bytes[FixedBytesOfVersion2..];
        return new(
            ProxyHeaderKind.Client,
            length,
            new IPEndPoint(
                new IPAddress(addresses[..addressBytes]), BinaryPrimitives.ReadUInt16BigEndian(addresses[(2 * addressBytes)..])));
    }
}
