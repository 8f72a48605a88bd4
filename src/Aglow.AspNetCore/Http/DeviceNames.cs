using System.Text;

namespace Aglow.AspNetCore.Http;

/// <summary>Checks devices as clients name them: an ID of their own, and a kind.</summary>
internal static class DeviceNames
{
    private const int MaxIdBytes = 64;

    private static readonly Dictionary<string, DeviceKind> Kinds = Enum.GetValues<DeviceKind>().ToDictionary(Device.NameOf);

    /// <summary>Checks an ID and kind, and returns their device; null if neither is given. Problems name the members as given.</summary>
    public static Device? DeviceOf(
        string? id, string? kind, string idName = Routes.DeviceIdQuery, string kindName = Routes.DeviceKindQuery)
    {
        if (id is null && kind is null)
            return null;
        if (id is not null && (id.Length == 0 || Encoding.UTF8.GetByteCount(id) > MaxIdBytes || id.Any(char.IsControl)))
            throw Problems.Malformed(
                $"{idName} is not 1 to {MaxIdBytes} bytes of printable text: send an id of your own, such as a UUID.");
        if (kind is null)
            return Device.Of(id, DeviceKind.Other);
        return Kinds.TryGetValue(kind, out var known)
            ? Device.Of(id, known)
            : throw Problems.Malformed($"{kindName} is \"{Problems.Shorten(kind)}\": send one of {string.Join(", ", Kinds.Keys)}.");
    }
}
