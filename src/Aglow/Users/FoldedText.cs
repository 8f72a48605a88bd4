using System.Buffers;
using System.Text;

namespace Aglow.Users;

/// <summary>
/// Names as search sees them: simple case folding (to upper, then to lower: so that the three Greek sigmas are one), control
/// characters made alike so that they can separate fields.
/// </summary>
/// <remarks>Simple mapping only, character by character, whatever the machine's language: "STRASSE" does not find "Straße".</remarks>
internal static class FoldedText
{
    /// <summary>Stands between the fields of a user; no folded text holds it.</summary>
    public const byte Separator = (byte)'\n';

    private static readonly SearchValues<char> Controls = SearchValues.Create(string.Concat(Enumerable.Range(0, 0x20).Select(c => (char)c)));

    /// <summary>The folded form.</summary>
    public static string Fold(string text)
    {
        var folded = text.ToUpperInvariant().ToLowerInvariant();
        if (folded.AsSpan().ContainsAny(Controls))
            folded = string.Create(folded.Length, folded, static (to, from) =>
            {
                for (var i = 0; i < to.Length; i++)
                    to[i] = from[i] < ' ' ? '\uFFFD' : from[i];
            });
        return folded;
    }

    /// <summary>The folded form in UTF-8, appended to <paramref name="bytes"/>.</summary>
    public static void Fold(string text, ArrayBufferWriter<byte> bytes)
    {
        var span = bytes.GetSpan(text.Length);
        if (!text.AsSpan().ContainsAny(Controls) && Ascii.ToLower(text, span, out var written) == OperationStatus.Done)
            bytes.Advance(written);
        else
            Encoding.UTF8.GetBytes(Fold(text), bytes);
    }

    /// <summary>Replaces what is in <paramref name="bytes"/> by a user's fields, each after a separator; the display name only where it adds something.</summary>
    public static void FoldFields(string name, string? displayName, ArrayBufferWriter<byte> bytes)
    {
        bytes.ResetWrittenCount();
        bytes.Write([Separator]);
        Fold(name, bytes);
        if (string.IsNullOrEmpty(displayName))
            return;
        var end = bytes.WrittenCount;
        bytes.Write([Separator]);
        Fold(displayName, bytes);
        if (!bytes.WrittenSpan[..end].SequenceEqual(bytes.WrittenSpan[end..]))
            return;
        bytes.ResetWrittenCount();
        bytes.Write([Separator]);
        Fold(name, bytes);
    }
}
