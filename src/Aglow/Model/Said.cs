using System.Text;
using System.Text.Encodings.Web;
using System.Text.Json;

namespace Aglow.Model;

/// <summary>
/// What a claim says besides its status, and its JSON, which every record of the user carries. Immutable; equal where it reads alike.
/// </summary>
/// <param name="Text">At most <see cref="MaxTextBytes"/> bytes; null: none.</param>
/// <param name="Emoji">At most <see cref="MaxEmojiBytes"/> bytes; null: none.</param>
/// <param name="Until">The second at which it ends (store time); 0: never.</param>
public sealed record Said(string? Text, string? Emoji, uint Until)
{
    /// <summary>The longest text: twice a text message.</summary>
    public const int MaxTextBytes = 280;

    /// <summary>The longest emoji: a family of people with skin tones takes 41 bytes.</summary>
    public const int MaxEmojiBytes = 64;

    private readonly byte[] _json = Encode(Text, Emoji, Until);

    /// <summary>The members of a presence record, each with a comma before it.</summary>
    internal ReadOnlySpan<byte> Json => _json;

    /// <summary>These three; null where none of them is set.</summary>
    public static Said? Of(string? text, string? emoji, uint until) =>
        text is null && emoji is null && until == 0 ? null : new Said(text, emoji, until);

    /// <summary>Whether both read alike.</summary>
    public bool Equals(Said? other) => other is not null && Until == other.Until && Text == other.Text && Emoji == other.Emoji;

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
