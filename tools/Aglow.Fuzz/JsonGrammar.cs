namespace Aglow.Fuzz;

/// <summary>Makes JSON, both valid and invalid for the calls.</summary>
internal static class JsonGrammar
{
    private static readonly string[] Members =
    [
        "user_id", "user_ids", "active", "timestamp", "user_name", "display_name", "status", "type", "users", "definition", "token",
        "\\u0075ser_id", "USER_ID", "user_id\\u0000", "", "x",
    ];

    private static readonly string[] Words =
    [
        "auto", "online", "away", "busy", "offline", "watch", "unwatch", "active", "status", "leave", "chat", "reachable", "token", "tick",
        "Watch", "none such",
    ];

    /// <summary>Adds a body or message: mostly an object that a call accepts.</summary>
    public static void Document(Dice dice, InputWriter input)
    {
        switch (dice.Below(12))
        {
            case 0:
                Value(dice, input, 4);
                break;
            case 1:
                Deep(dice, input);
                break;
            case 2:
                input.Add("{\"user_id\":").Add(dice.Number()).Add("}");
                break;
            case 3:
                Users(dice, input.Add("{\"user_ids\":")).Add("}");
                break;
            case 4:
                input.Add("[{\"user_id\":");
                User(dice, input).Add("},{\"user_id\":");
                User(dice, input).Add("}]");
                break;
            case 5:
                Users(dice, input.Add("{\"type\":\"").Add(dice.Pick("watch", "unwatch")).Add("\",\"users\":"));
                if (dice.OneIn(3))
                    Text(dice, input.Add(",\"definition\":"), dice.Pick("chat", "active", "reachable", "none"));
                input.Add("}");
                break;
            case 6:
                input.Add("{\"type\":\"").Add(dice.Pick("active", "status", "leave", "token")).Add("\",\"status\":");
                Text(dice, input, dice.Pick(Words)).Add("}");
                break;
            case 7:
                Text(dice, input.Add("{\"user_name\":"), dice.Name());
                if (dice.OneIn(2))
                    Text(dice, input.Add(",\"display_name\":"), dice.Name());
                input.Add("}");
                break;
            case 8:
                User(dice, input.Add("{\"user_id\":")).Add(",\"timestamp\":").Add(dice.Number()).Add("}");
                break;
            case 9:
                Text(dice, input.Add("{\"status\":"), dice.Pick(Words)).Add("}");
                break;
            default:
                Object(dice, input, 3);
                break;
        }

        if (dice.OneIn(12))
            input.Add(dice.Pick(" ", "\n", "{}", ",", "\u0000", "\u00EF\u00BB\u00BF", "//", "]", "}"));
    }

    /// <summary>Adds a list of users.</summary>
    public static InputWriter Users(Dice dice, InputWriter input)
    {
        input.Add("[");
        for (var i = dice.OneIn(200) ? dice.Between(1000, 12_000) : dice.Below(6); i > 0; i--)
        {
            if (i > 100)
                input.Add("7");
            else
                User(dice, input);
            if (i > 1)
                input.Add(",");
        }

        return input.Add("]");
    }

    private static InputWriter User(Dice dice, InputWriter input) =>
        dice.OneIn(2) ? input.Add(dice.Number()) : Text(dice, input, dice.User());

    private static InputWriter Text(Dice dice, InputWriter input, string text)
    {
        input.Add("\"").Add(text);
        if (dice.OneIn(8))
            input.Add(
                dice.Pick("\\u0000", "\\ud800", "\\udc00\\ud800", "\\ud83d\\ude00", "\\n", "\\x", "\\", "\\u00", "\\\"", "\t", "\u0001"));
        return dice.OneIn(60) ? input : input.Add("\"");
    }

    private static void Value(Dice dice, InputWriter input, int depth)
    {
        switch (dice.Below(depth > 0 ? 8 : 5))
        {
            case 0:
                input.Add(dice.Number());
                break;
            case 1:
                Text(dice, input, dice.Name());
                break;
            case 2:
                Text(dice, input, dice.Pick(Words));
                break;
            case 3:
                input.Add(dice.Pick("true", "false", "null", "True", "nul", "undefined", ""));
                break;
            case 4:
                Users(dice, input);
                break;
            case 5:
                input.Add("[");
                Value(dice, input, depth - 1);
                input.Add(dice.Pick(",", ",,", ""));
                Value(dice, input, depth - 1);
                input.Add("]");
                break;
            default:
                Object(dice, input, depth - 1);
                break;
        }
    }

    private static void Object(Dice dice, InputWriter input, int depth)
    {
        input.Add("{");
        for (var i = dice.Below(5); i > 0; i--)
        {
            input.Add("\"").Add(dice.Pick(Members)).Add("\"").Add(dice.Pick(":", " : ", ":", ":", ":", ""));
            Value(dice, input, depth);
            if (i > 1 || dice.OneIn(20))
                input.Add(",");
        }

        input.Add(dice.OneIn(30) ? "" : "}");
    }

    private static void Deep(Dice dice, InputWriter input)
    {
        var (open, close) = dice.OneIn(2) ? ("[", "]") : ("{\"x\":", "}");
        var depth = dice.Pick(3, 62, 63, 64, 65, 300, 5000);
        for (var i = 0; i < depth; i++)
            input.Add(open);
        if (dice.OneIn(2))
            input.Add("1");
        for (var i = 0; i < depth && depth < 400; i++)
            input.Add(close);
    }
}
