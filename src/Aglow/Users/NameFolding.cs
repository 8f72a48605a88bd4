using System.Collections.Frozen;
using System.Globalization;
using System.Text;

namespace Aglow.Users;

/// <summary>
/// Folds names for comparison and search: case, width and Unicode form do not matter ("Ｊürg" = "jürg", however the ü was typed).
/// </summary>
/// <remarks>
/// The server runs without the system's language data, so the framework cannot normalize, and folds only simple mappings.
/// <c>folding.txt</c> maps each character to its folded form (NFKD of its full case folding); <c>tools/unicode/folding.py</c> writes it
/// from the Unicode data. Two names have the same key exactly if NFKC and case folding make them equal. There is one exception: the order
/// of several marks on one letter does not matter. The file is read at the first use. Any thread.
/// </remarks>
public static class NameFolding
{
    private const int HangulFirst = 0xAC00;
    private const int HangulLast = 0xD7A3;
    private const int HangulVowels = 21;
    private const int HangulTails = 28;

    private static readonly Lazy<FrozenDictionary<Rune, string>> Folded = new(Read);

    /// <summary>The form in which user names are unique.</summary>
    public static string ForUniqueness(string name) => Ascii.IsValid(name) ? name.ToLowerInvariant() : Fold(name, keepsAccents: true);

    /// <summary>
    /// The form in which names are searched: like <see cref="ForUniqueness"/>, but without accents. Control characters become U+FFFD.
    /// </summary>
    public static string ForSearch(string text) =>
        Ascii.IsValid(text) && !text.Any(char.IsControl) ? text.ToLowerInvariant() : Fold(text, keepsAccents: false);

    private static string Fold(string text, bool keepsAccents)
    {
        var folded = new StringBuilder(text.Length + 8);
        foreach (var rune in text.EnumerateRunes())
        {
            if (rune.Value is >= HangulFirst and <= HangulLast)
                AppendHangul(folded, rune.Value - HangulFirst);
            else if (rune.IsAscii)
                folded.Append(char.ToLowerInvariant((char)rune.Value));
            else
                folded.Append(Folded.Value.TryGetValue(rune, out var becomes) ? becomes : rune.ToString());
        }

        return keepsAccents ? OrderMarks(folded.ToString()) : WithoutAccents(folded.ToString());
    }

    private static void AppendHangul(StringBuilder folded, int syllable)
    {
        folded.Append((char)(0x1100 + (syllable / (HangulVowels * HangulTails))));
        folded.Append((char)(0x1161 + (syllable % (HangulVowels * HangulTails) / HangulTails)));
        if (syllable % HangulTails != 0)
            folded.Append((char)(0x11A7 + (syllable % HangulTails)));
    }

    private static string OrderMarks(string text)
    {
        var runes = text.EnumerateRunes().ToArray();
        for (var i = 0; i < runes.Length; i++)
        {
            var end = i;
            while (end < runes.Length && Rune.GetUnicodeCategory(runes[end]) == UnicodeCategory.NonSpacingMark)
                end++;
            if (end - i > 1)
                Array.Sort(runes, i, end - i);
            i = Math.Max(i, end - 1);
        }

        return string.Concat(runes);
    }

    private static string WithoutAccents(string text) =>
        string.Concat(text.Where(static c => !IsAccent(c)).Select(static c => char.IsControl(c) ? '\uFFFD' : c));

    // blocks of combining marks that no script needs for spelling
    private static bool IsAccent(char c) =>
        c is (>= '\u0300' and <= '\u036F') or (>= '\u1AB0' and <= '\u1AFF') or (>= '\u1DC0' and <= '\u1DFF') or (
            >= '\u20D0' and <= '\u20FF');

    private static FrozenDictionary<Rune, string> Read()
    {
        using var lines = new StreamReader(typeof(NameFolding).Assembly.GetManifestResourceStream("folding.txt")!, Encoding.UTF8);
        var folded = new Dictionary<Rune, string>(8_000);
        while (lines.ReadLine() is { } line)
        {
            Rune.DecodeFromUtf16(line, out var rune, out var length);
            folded.Add(rune, line[length..]);
        }

        return folded.ToFrozenDictionary();
    }
}
