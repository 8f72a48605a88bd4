using System.Text;

namespace Aglow.AspNetCore.Proxies;

/// <summary>What one proxy says in the header <c>Forwarded</c> (RFC 7239). A rule on text, no I/O.</summary>
/// <remarks>
/// <code>
///   Forwarded: for=203.0.113.7;proto=https, for="[2001:db8::1]:4711"
/// </code>
/// A proxy adds its element on the right. If a client opens a quote that it does not close, the proxy's element would be part of the
/// client's text, so a line with such a quote is malformed as a whole.
/// </remarks>
/// <param name="For">The address from which the request came to the proxy, perhaps with a port; null: it is not given.</param>
/// <param name="Proto">The scheme of that request; null: it is not given.</param>
internal record struct ForwardedElement(string? For, string? Proto)
{
    private const string Blanks = " \t";
    private const string EndsOfText = " \t;,\"";

    /// <summary>The elements of all lines that have either, the nearest proxy's last; null: a line is malformed.</summary>
    public static List<ForwardedElement>? Read(IEnumerable<string?> lines)
    {
        var elements = new List<ForwardedElement>();
        foreach (var line in lines)
        {
            var rest = line.AsSpan().TrimStart(Blanks);
            var element = default(ForwardedElement);
            while (!rest.IsEmpty)
            {
                if (rest[0] is not (';' or ',') && !element.TryTakePair(ref rest))
                    return null;
                rest = rest.TrimStart(Blanks);
                if (rest is not ([] or [';' or ',', ..]))
                    return null;
                if (rest is not [';', ..])
                {
                    Add(element);
                    element = default;
                }

                rest = rest.IsEmpty ? rest : rest[1..].TrimStart(Blanks);
            }

            Add(element);
        }

        return elements;

        void Add(ForwardedElement element)
        {
            if (element != default)
                elements.Add(element);
        }
    }

    // Takes one pair from the front of the text. False: there is none, or the element has this name already.
    private bool TryTakePair(ref ReadOnlySpan<char> rest)
    {
        var equals = rest.IndexOf('=');
        if (equals <= 0 || rest[..equals].IndexOfAny(EndsOfText) >= 0)
            return false;
        var name = rest[..equals];
        rest = rest[(equals + 1)..];
        if (TakeValue(ref rest) is not { } value)
            return false;
        var isFor = name.Equals("for", StringComparison.OrdinalIgnoreCase);
        var isProto = name.Equals("proto", StringComparison.OrdinalIgnoreCase);
        if ((isFor && For is not null) || (isProto && Proto is not null))
            return false;
        this = isFor ? this with { For = value } : isProto ? this with { Proto = value } : this;
        return true;
    }

    private static string? TakeValue(ref ReadOnlySpan<char> rest)
    {
        if (rest is not ['"', ..])
        {
            var end = rest.IndexOfAny(EndsOfText);
            var text = end < 0 ? rest : rest[..end];
            rest = rest[text.Length..];
            return text.IsEmpty ? null : text.ToString();
        }

        var quoted = new StringBuilder();
        for (var i = 1; i < rest.Length; i++)
        {
            if (rest[i] == '"')
            {
                rest = rest[(i + 1)..];
                return quoted.ToString();
            }

            // a backslash quotes the next character
            if (rest[i] == '\\' && ++i == rest.Length)
                break;
            quoted.Append(rest[i]);
        }

        return null;
    }
}
