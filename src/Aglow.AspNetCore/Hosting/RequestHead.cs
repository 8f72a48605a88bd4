using System.Buffers;

namespace Aglow.AspNetCore.Hosting;

/// <summary>Whether the first bytes of a connection are the beginning of an HTTP/1 request whose head is to be waited for. A rule on bytes, no I/O.</summary>
internal static class RequestHead
{
    /// <summary>A longer head is not waited for.</summary>
    public const int MaxBytes = 8 * 1024;

    /// <summary>What whoever never finishes one is told.</summary>
    public static readonly byte[] TooSlow = [.. "HTTP/1.1 408 Request Timeout\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"u8];

    /// <summary>
    /// Whether there may be a head that is not whole yet: nothing so far, or a method's first letter and no empty line within <see cref="MaxBytes"/>. What cannot be a request, such as the
    /// first byte of TLS, is not waited for.
    /// </summary>
    public static bool IsUnfinished(ReadOnlySequence<byte> buffer)
    {
        if (buffer.IsEmpty)
            return true;
        if (buffer.Length > MaxBytes || !char.IsAsciiLetterUpper((char)buffer.FirstSpan[0]))
            return false;
        // lines that end without a carriage return count as well: they are the web server's to refuse
        var reader = new SequenceReader<byte>(buffer);
        while (reader.TryAdvanceTo((byte)'\n'))
        {
            reader.IsNext((byte)'\r', advancePast: true);
            if (reader.IsNext((byte)'\n'))
                return false;
        }

        return true;
    }
}
