using System.Buffers;
using System.Text;
using System.Text.Unicode;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.WebUtilities;

namespace Aglow.AspNetCore.Http;

/// <summary>Reads the path and query of a request: users, a definition, pages.</summary>
internal static class RequestParameters
{
    /// <summary>
    /// The user in the path, with <paramref name="fromEnd"/> segments behind it. If the path has none, or <see cref="Routes.UserInQuery"/>
    /// in its place, the user in <c>?user=</c>.
    /// </summary>
    /// <remarks>
    /// Kestrel decodes a path, but not an encoded slash or bytes that are not UTF-8. So "a%2Fb" in a decoded path may mean two keys. If a
    /// percent sign is left, this reads the path again as it was sent.
    /// </remarks>
    public static UserId User(HttpContext context, int fromEnd = 0)
    {
        var requested = Text(context, Routes.UserParameter);
        if (context.GetRouteValue(Routes.UserParameter) is not string text)
            text = requested ?? throw Problems.Malformed($"user is missing: send ?{Routes.UserParameter}=X, percent-encoded.");
        else if (requested is not null)
            text = text == Routes.UserInQuery ? requested : throw Problems.UserTwice();
        else if (text.Contains('%'))
            text = Decode(RawSegment(context, fromEnd));
        return UserId.TryParse(text, out var user)
            ? user
            : throw Problems.Malformed($"The path or query has no valid user: {Problems.AUser}. Percent-encode it.");
    }

    /// <summary>The definition that the query names, or the default.</summary>
    public static Definition Definition(HttpContext context, Definitions definitions)
    {
        var name = Text(context, Routes.DefinitionQuery);
        return definitions.Find(name)
            ?? throw Problems.Malformed(
                $"There is no definition \"{Problems.Shorten(name!)}\". Ask for one of: "
                    + $"{string.Join(", ", definitions.All.Select(static d => d.Name))}.");
    }

    public static int Limit(HttpContext context, int most, int otherwise) => Integer(context, Routes.LimitQuery, 1, most, otherwise);

    /// <summary>An integer from <paramref name="least"/> to <paramref name="most"/>.</summary>
    public static int Integer(HttpContext context, string name, int least, int most, int otherwise)
    {
        if (Text(context, name) is not { } text)
            return otherwise;
        return int.TryParse(text, System.Globalization.NumberStyles.None, null, out var number) && number >= least && number <= most
            ? number
            : throw Problems.Malformed($"{name} is {Problems.Shorten(text)}: send an integer from {least} to {most}.");
    }

    /// <summary>The cursor of a page; null: the first page.</summary>
    public static string? Cursor(HttpContext context) => Text(context, Routes.CursorQuery);

    /// <summary>Reads the page at the cursor, or the first page; refuses a cursor that this server did not create.</summary>
    public static async ValueTask<T> PageAsync<T>(HttpContext context, Func<string?, ValueTask<T>> read)
    {
        try
        {
            return await read(Cursor(context));
        }
        catch (FormatException)
        {
            throw ForeignCursor();
        }
    }

    /// <summary>The problem of a cursor that this server did not create.</summary>
    public static ProblemException ForeignCursor() =>
        Problems.Malformed(
            "The cursor is not one of this list. Send the \"next\" of its page before, or none for the first page.");

    /// <summary>A query parameter, decoded; null if it is not given. Refuses a parameter that is given twice.</summary>
    public static string? Text(HttpContext context, string name) => Text(context.Request.QueryString.Value, name);

    /// <summary>The same for a raw query, with or without its question mark; a problem names it as <paramref name="place"/>.</summary>
    public static string? Text(string? query, string name, string place = "path or query")
    {
        if (string.IsNullOrEmpty(query))
            return null;
        string? found = null;
        foreach (var pair in new QueryStringEnumerable(query))
        {
            if (!pair.DecodeName().Span.SequenceEqual(name))
                continue;
            if (found is not null)
                throw Problems.Malformed($"{name} is given twice in the query: send it once.");
            found = DecodeQuery(pair.EncodedValue.ToString(), place);
        }

        return found;
    }

    /// <summary>The problem of a raw query that has another parameter than these; null if it has none.</summary>
    public static ProblemException? Unknown(string query, string[] known)
    {
        foreach (var pair in new QueryStringEnumerable(query))
        {
            var name = pair.DecodeName();
            var isKnown = false;
            foreach (var one in known)
                isKnown |= name.Span.SequenceEqual(one);
            if (isKnown)
                continue;
            var instead = known.Length == 0 ? "Send none" : $"Send any of: {string.Join(", ", known)}";
            return Problems.Malformed($"\"{Problems.Shorten(name.ToString())}\" is not a query parameter of this call. {instead}.");
        }

        return null;
    }

    /// <summary>
    /// The users in <c>?ids=</c> (or another parameter), each with its text as given; at most <paramref name="most"/>. The text is split at
    /// commas before it is decoded, so "%2C" is a comma inside an id.
    /// </summary>
    public static List<string> Ids(HttpContext context, string name = Routes.IdsQuery, int most = Limits.QueriedUsers)
    {
        var ids = new List<string>();
        var given = false;
        foreach (var pair in new QueryStringEnumerable(context.Request.QueryString.Value))
        {
            if (!pair.DecodeName().Span.SequenceEqual(name))
                continue;
            given = true;
            var value = pair.EncodedValue.Span;
            foreach (var part in value.Split(','))
            {
                if (ids.Count == most)
                    throw Problems.TooManyUsers(
                        most,
                        most < Limits.ListedUsers
                            ? $"at most {most}, or a batch of {Limits.ListedUsers} to POST {Routes.StatusBatch}"
                            : $"several calls of at most {most}");
                ids.Add(DecodeQuery(value[part].ToString()));
            }
        }

        return given ? ids : throw Problems.Malformed($"{name} is missing: send ?{name}=1,2,bob, each percent-encoded.");
    }

    /// <summary>
    /// Refuses a path with a segment "." or "..". Kestrel removes them, so that /users/./status would be about the user "status", and
    /// /users/. a search.
    /// </summary>
    public static void RequireNoDots(HttpContext context)
    {
        var path = RawPath(context);
        // the usual path, such as /heartbeat, has neither
        if (!path.ContainsAny('.', '%'))
            return;
        foreach (var part in path.Split('/'))
        {
            if (IsDots(path[part]))
                throw Problems.DotsInPath();
        }
    }

    // "." or "..", each dot as itself or as %2E
    private static bool IsDots(ReadOnlySpan<char> segment)
    {
        var dots = 0;
        for (; !segment.IsEmpty; dots++)
        {
            if (segment[0] == '.')
                segment = segment[1..];
            else if (segment.StartsWith("%2e", StringComparison.OrdinalIgnoreCase))
                segment = segment[3..];
            else
                return false;
        }

        return dots is 1 or 2;
    }

    private static string RawSegment(HttpContext context, int fromEnd)
    {
        var segments = RawPath(context).TrimEnd('/').ToString().Split('/');
        return segments.Length > fromEnd ? segments[^(fromEnd + 1)] : "";
    }

    private static ReadOnlySpan<char> RawPath(HttpContext context)
    {
        var target = (context.Features.Get<IHttpRequestFeature>()?.RawTarget ?? "").AsSpan();
        var query = target.IndexOf('?');
        return query < 0 ? target : target[..query];
    }

    // Strict: refuses "%zz" and bytes that are not UTF-8, because no ID has them.
    private static string Decode(string text, string place = "path or query") => TryDecode(text, out var decoded)
        ? decoded
        : throw Problems.Malformed(
            $"The {place} is not percent-encoded UTF-8. Encode each byte of a character that is not a letter or digit as %XX.");

    // As forms and URLSearchParams encode a query: a plus is a space, and %2B is a plus. In a path, a plus is a plus.
    private static string DecodeQuery(string text, string place = "path or query") => Decode(text.Replace('+', ' '), place);

    // False: the encoding is wrong, or the bytes are not UTF-8.
    private static bool TryDecode(string text, out string decoded)
    {
        decoded = text;
        if (!text.Contains('%'))
            return true;
        var bytes = Encoding.UTF8.GetBytes(text);
        var length = 0;
        for (var i = 0; i < bytes.Length; i++)
        {
            if (bytes[i] == (byte)'%')
            {
                if (Convert.FromHexString(
                    bytes.AsSpan(i + 1, Math.Min(2, bytes.Length - i - 1)),
                    bytes.AsSpan(length, 1),
                    out _,
                    out var count) != OperationStatus.Done
                    || count != 1)
                    return false;
                length++;
                i += 2;
            }
            else
            {
                bytes[length++] = bytes[i];
            }
        }

        if (!Utf8.IsValid(bytes.AsSpan(0, length)))
            return false;
        decoded = Encoding.UTF8.GetString(bytes, 0, length);
        return true;
    }
}
