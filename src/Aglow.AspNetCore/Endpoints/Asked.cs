using System.Buffers;
using System.Text;
using System.Text.Unicode;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.Routing;
using Microsoft.AspNetCore.WebUtilities;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>Reads what a request asks for in its path and query: users, a definition, pages.</summary>
internal static class Asked
{
    /// <summary>
    /// The user in the path, with <paramref name="fromEnd"/> segments behind it; or of <c>?user=</c>, where the path has none.
    /// </summary>
    /// <remarks>
    /// The web server decodes a path, but leaves an encoded slash (and bytes that are no UTF-8) as it was, so "a%2Fb" may mean two keys
    /// there. Where a percent sign is left, the path is read again as it was sent.
    /// </remarks>
    public static UserId User(HttpContext context, int fromEnd = 0)
    {
        if (context.GetRouteValue(Routes.UserParameter) is not string text)
            text = Text(context, Routes.UserParameter)
                ?? throw Problems.Malformed($"user is missing: send ?{Routes.UserParameter}=X, percent-encoded.");
        else if (text.Contains('%'))
            text = Decode(RawSegment(context, fromEnd));
        return UserId.TryParse(text, out var user)
            ? user
            : throw Problems.Malformed($"The user in the path or query is none: {Problems.AUser}. Percent-encode it.");
    }

    /// <summary>The definition asked for, or the default.</summary>
    public static Definition Definition(HttpContext context, Definitions definitions)
    {
        var name = Text(context, Routes.DefinitionQuery);
        return definitions.Find(name)
            ?? throw Problems.Malformed(
                $"There is no definition \"{Problems.Shorten(name!)}\". Ask for one of: {string.Join(", ", definitions.All.Select(static d => d.Name))}.");
    }

    /// <summary>A page's size.</summary>
    public static int Limit(HttpContext context, int most, int otherwise)
    {
        if (Text(context, Routes.LimitQuery) is not { } text)
            return otherwise;
        return int.TryParse(text, System.Globalization.NumberStyles.None, null, out var limit) && limit >= 1 && limit <= most
            ? limit
            : throw Problems.Malformed($"limit is {Problems.Shorten(text)}: send an integer from 1 to {most}.");
    }

    /// <summary>Where a page begins; null: at the first.</summary>
    public static string? Cursor(HttpContext context) => Text(context, Routes.CursorQuery);

    /// <summary>The problem of a cursor that this server did not give.</summary>
    public static ProblemException ForeignCursor() =>
        Problems.Malformed(
            "The cursor is not one that this server gave. Send the \"next\" of the page before, or none for the first page.");

    /// <summary>A query parameter, decoded; null where it is not given. Given twice it is refused.</summary>
    public static string? Text(HttpContext context, string name)
    {
        var query = context.Request.QueryString;
        if (!query.HasValue)
            return null;
        string? found = null;
        foreach (var pair in new QueryStringEnumerable(query.Value))
        {
            if (!pair.DecodeName().Span.SequenceEqual(name))
                continue;
            if (found is not null)
                throw Problems.Malformed($"{name} is given twice in the query: send it once.");
            found = DecodeQuery(pair.EncodedValue.ToString());
        }

        return found;
    }

    /// <summary>
    /// The users of <c>?ids=</c> (or of another parameter), <paramref name="most"/> at most, each with its text as given. Commas are split
    /// before decoding, so "%2C" is a comma inside an id.
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
                    throw Problems.TooManyUsers(most, $"at most {most}, or a batch of {Limits.ListedUsers} to POST {Routes.StatusBatch}");
                ids.Add(DecodeQuery(value[part].ToString()));
            }
        }

        return given ? ids : throw Problems.Malformed($"{name} is missing: send ?{name}=1,2,bob, each percent-encoded.");
    }

    private static string RawSegment(HttpContext context, int fromEnd)
    {
        var target = context.Features.Get<IHttpRequestFeature>()?.RawTarget ?? "";
        var query = target.IndexOf('?');
        var segments = (query < 0 ? target : target[..query]).TrimEnd('/').Split('/');
        return segments.Length > fromEnd ? segments[^(fromEnd + 1)] : "";
    }

    // Strict: "%zz" and bytes that are no UTF-8 are nobody's name.
    private static string Decode(string text) => TryDecode(text, out var decoded) ? decoded : throw NotDecodable();

    // As forms and URLSearchParams encode: a plus is a space, and %2B is a plus. In a path it is itself.
    private static string DecodeQuery(string text) => Decode(text.Replace('+', ' '));

    /// <summary>Decodes %XX, strictly; false where what comes of it is no text.</summary>
    public static bool TryDecode(string text, out string decoded)
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

    private static ProblemException NotDecodable() =>
        Problems.Malformed(
            "The path or query is not percent-encoded UTF-8. Encode each byte of a character that is not a letter or digit as %XX.");
}
