using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Aglow.Model;

/// <summary>
/// The text, emoji and end of a claim, and their JSON for every record of the user. Immutable; equal if the values are equal.
/// </summary>
/// <param name="Text">At most <see cref="MaxTextBytes"/> bytes; null: none.</param>
/// <param name="Emoji">At most <see cref="MaxEmojiBytes"/> bytes; null: none.</param>
/// <param name="Until">The second at which the claim ends (store time); 0: never.</param>
public sealed record StatusDetails(string? Text, string? Emoji, uint Until)
{
    /// <summary>The longest text: twice a text message.</summary>
    public const int MaxTextBytes = 280;

    /// <summary>The longest emoji: a family of people with skin tones takes 41 bytes.</summary>
    public const int MaxEmojiBytes = 64;

    private readonly byte[] _json = Encode(Text, Emoji, Until);

    /// <summary>Its members in a presence record, each with a comma before it.</summary>
    internal ReadOnlySpan<byte> Json => _json;

    /// <summary>These three values; null if none is set.</summary>
    public static StatusDetails? Of(string? text, string? emoji, uint until) =>
        text is null && emoji is null && until == 0 ? null : new StatusDetails(text, emoji, until);

    /// <summary>Whether all values are equal.</summary>
    public bool Equals(StatusDetails? other) => other is not null && Until == other.Until && Text == other.Text && Emoji == other.Emoji;

    /// <inheritdoc/>
    public override int GetHashCode() => HashCode.Combine(Text, Emoji, Until);

    private static byte[] Encode(string? text, string? emoji, uint until)
    {
        var json = new StringBuilder();
        Append("text", text);
        Append("emoji", emoji);
        if (until != 0)
            json.Append($",\"until\":{Pulse.ToUnix(until)}");
        return Encoding.UTF8.GetBytes(json.ToString());

        void Append(string member, string? value)
        {
            if (value is not null)
                json.Append($",\"{member}\":\"{JsonEncodedText.Encode(value, JavaScriptEncoder.UnsafeRelaxedJsonEscaping)}\"");
        }
    }
}
