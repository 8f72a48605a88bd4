using System.Buffers.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Aglow.Model;

/// <summary>
/// The only encoder of presence records.
/// </summary>
/// <remarks>
/// <code>
/// {"user_id":42,"is_online":true,"status":"online","last_seen":1763763300,"text":"In a call","emoji":"📞","until":1763766000,
///  "active_at":1763763280}
/// </code>
/// UTF-8, no spaces, members in this order. Written by hand, because callers ask for millions of statuses a second: about 30 ns, no
/// allocation.
/// </remarks>
public static class PresenceRecord
{
    // the bytes of a record without the user's ID and the claim's text
    private const int MaxBytesOfRest = 200;

    /// <summary>The most bytes of an integer ID, quoted or not.</summary>
    public const int MaxNumberBytes = 12;

    /// <summary>The most bytes of a record besides the user's ID.</summary>
    public static int MaxBytesBesideId(Presence presence) => MaxBytesOfRest + (presence.Details?.Json.Length ?? 0);

    /// <summary>
    /// Writes a record; returns its length. <paramref name="idJson"/> is already JSON: a number, or a quoted and escaped string.
    /// </summary>
    public static int Write(Span<byte> into, ReadOnlySpan<byte> idJson, Presence presence)
    {
        var length = Put(into, 0, "{\"user_id\":"u8);
        length = Put(into, length, idJson);
        length = Put(into, length, presence.Status switch
        {
            PresenceStatus.Online => ",\"is_online\":true,\"status\":\"online\",\"last_seen\":"u8,
            PresenceStatus.Away => ",\"is_online\":true,\"status\":\"away\",\"last_seen\":"u8,
            PresenceStatus.Busy => ",\"is_online\":true,\"status\":\"busy\",\"last_seen\":"u8,
            _ => ",\"is_online\":false,\"status\":\"offline\",\"last_seen\":"u8,
        });
        if (Pulse.ToUnix(presence.LastSeen) is { } lastSeen)
        {
            Utf8Formatter.TryFormat(lastSeen, into[length..], out var digits);
            length += digits;
        }
        else
        {
            length = Put(into, length, "null"u8);
        }

        if (presence.About != LastSeenAbout.Unknown)
        {
            length = Put(into, length, presence.About switch
            {
                LastSeenAbout.Recently => ",\"last_seen_about\":\"recently\""u8,
                LastSeenAbout.ThisWeek => ",\"last_seen_about\":\"this week\""u8,
                LastSeenAbout.ThisMonth => ",\"last_seen_about\":\"this month\""u8,
                _ => ",\"last_seen_about\":\"long ago\""u8,
            });
        }

        if (presence.Details is { } details)
            length = Put(into, length, details.Json);
        if (presence.Devices != DeviceKinds.None)
            length = PutDevices(into, length, presence.Devices);
        if (Pulse.ToUnix(presence.ActiveAt) is { } activeAt)
        {
            length = Put(into, length, ",\"active_at\":"u8);
            Utf8Formatter.TryFormat(activeAt, into[length..], out var digits);
            length += digits;
        }

        into[length++] = (byte)'}';
        return length;
    }

    /// <summary>Writes a number as JSON; returns its length.</summary>
    public static int WriteNumber(Span<byte> into, uint number)
    {
        Utf8Formatter.TryFormat(number, into, out var length);
        return length;
    }

    /// <summary>
    /// Writes a key as a JSON string; returns its length. Needs twice the key's bytes plus two. Keys hold no control characters, so only
    /// quotes and backslashes need an escape.
    /// </summary>
    public static int WriteKey(Span<byte> into, ReadOnlySpan<byte> key)
    {
        into[0] = (byte)'"';
        var length = 1;
        while (key.IndexOfAny((byte)'"', (byte)'\\') is >= 0 and var special)
        {
            length = Put(into, length, key[..special]);
            into[length++] = (byte)'\\';
            into[length++] = key[special];
            key = key[(special + 1)..];
        }

        length = Put(into, length, key);
        into[length++] = (byte)'"';
        return length;
    }

    /// <summary>Text as a JSON string with its quotes.</summary>
    public static byte[] Quote(ReadOnlySpan<byte> text) => [(byte)'"', .. JsonEncodedText.Encode(text).EncodedUtf8Bytes, (byte)'"'];

    /// <summary>The length of <see cref="Quote"/>.</summary>
    internal static int QuotedBytes(ReadOnlySpan<byte> text) =>
        JavaScriptEncoder.Default.FindFirstCharacterToEncodeUtf8(text) < 0 ? text.Length + 2 : Quote(text).Length;

    private static int PutDevices(Span<byte> into, int at, DeviceKinds devices)
    {
        at = Put(into, at, ",\"devices\":["u8);
        if (devices.HasFlag(DeviceKinds.Desktop))
            at = Put(into, at, "\"desktop\","u8);
        if (devices.HasFlag(DeviceKinds.Mobile))
            at = Put(into, at, "\"mobile\","u8);
        if (devices.HasFlag(DeviceKinds.Web))
            at = Put(into, at, "\"web\","u8);
        if (devices.HasFlag(DeviceKinds.Other))
            at = Put(into, at, "\"other\","u8);
        into[at - 1] = (byte)']';
        return at;
    }

    private static int Put(Span<byte> into, int at, ReadOnlySpan<byte> text)
    {
        text.CopyTo(into[at..]);
        return at + text.Length;
    }
}
