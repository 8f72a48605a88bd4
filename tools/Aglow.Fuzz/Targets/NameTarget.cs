using System.Globalization;
using System.Text;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Aglow.Users;
using Microsoft.AspNetCore.Http;

namespace Aglow.Fuzz.Targets;

/// <summary>User IDs in a query: the same text must mean the same user everywhere, and be returned unchanged.</summary>
internal sealed class NameTarget : RuleTarget
{
    private static readonly CursorSeal Seal = new("a secret of tests"u8[..16].ToArray());

    private readonly DefaultHttpContext _context = new();

    public override string Name => "names";

    public override string Feeds => "UserId, RequestParameters, cursors, PresenceRecord";

    public override int PerTurn => 2 * 1024;

    public override void Make(Dice dice, InputWriter input)
    {
        input.Add((byte)0);
        for (var i = dice.Below(4); i >= 0; i--)
        {
            input.Add(i == 0 ? "ids=" : dice.Pick("ids=", "limit=", "definition=", "cursor=", "users=", "&", "=", ""));
            for (var j = dice.Below(4); j >= 0; j--)
                input.Add(dice.OneIn(2) ? Uri.EscapeDataString(dice.User()) : dice.User()).Add(j > 0 ? "," : "");
            input.Add(i > 0 ? "&" : "");
        }
    }

    public override int Run(ReadOnlyMemory<byte> input)
    {
        // in the form in which the web server passes it; it refuses a target that is not ASCII
        var query = "?" + Encoding.Latin1.GetString(Cut.Body(input).Span);
        if (!Ascii.IsValid(query))
            return 0;
        _context.Request.QueryString = new QueryString(query);
        var behaviour = 1;
        try
        {
            foreach (var id in RequestParameters.Ids(_context))
                behaviour = (behaviour * 5) + Judge(id);
            behaviour = (behaviour * 3) + RequestParameters.Limit(_context, 100, 20).CompareTo(20);
            if (RequestParameters.Cursor(_context) is { } cursor)
                behaviour = (behaviour * 3) + Place(cursor);
            return behaviour;
        }
        catch (ProblemException problem) when (problem.Status is 400 or 413)
        {
            return (behaviour * 1009) + problem.Message.Length;
        }
    }

    private static int Judge(string text)
    {
        var bytes = Encoding.UTF8.GetBytes(text);
        var isNumber = UserId.TryParseNumber(bytes, out var number);
        var canonical = uint.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var plain)
            && plain < UserId.FirstDirectoryNumber
            && plain.ToString() == text;
        if (isNumber != canonical || (isNumber && number != plain))
            throw new FindingException($"the number {text} is read as {number}");
        if (!UserId.TryParse(text, out var user))
        {
            return bytes.Length is > 0 and <= UserId.MaxKeyBytes
                && !text.Any(char.IsControl) ? throw new FindingException($"the name {text} is refused") : 1;
        }

        if (user.ToString() != text || user.Key is null != isNumber || (user.Key is not null && !UserId.IsKey(bytes)))
            throw new FindingException($"the name {text} is read as {user}");
        var json = new byte[(bytes.Length * 2) + 2];
        var length = PresenceRecord.WriteKey(json, bytes);
        if (System.Text.Json.JsonDocument.Parse(json.AsMemory(0, length)).RootElement.GetString() != text)
            throw new FindingException($"{text} does not come back from JSON");
        return user.Key is null ? 2 : 3;
    }

    private static int Place(string cursor)
    {
        if (Seal.Open(cursor, "/online") is not null)
            throw new FindingException($"the forged cursor {cursor} is taken");
        try
        {
            SearchPlace.Open(Seal, cursor, "bob");
        }
        catch (FormatException)
        {
            return 1;
        }

        throw new FindingException($"the forged cursor {cursor} is taken for a search");
    }
}
