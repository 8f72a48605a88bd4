using System.Text;

namespace Aglow.Fuzz.Targets;

/// <summary>
/// Requests that name users by the indexes of other users, in every form and every call. None may read or change such a user.
/// A server that takes tokens gets each request with the token of a person, whose own ID may be such a number, too.
/// </summary>
internal sealed class GuessTarget(FuzzedServer server) : ConnectionTarget(server)
{
    private readonly FuzzedServer _server = server;

    public override string Name => _server.TakesTokens ? "guesses-with-tokens" : "guesses";

    public override string Feeds => $"every call, with indexes in the place of IDs{(_server.TakesTokens ? ", by people with tokens" : "")}";

    public override void Make(Dice dice, InputWriter input)
    {
        input.Add((byte)0);
        var guesses = new Dice(dice.Below(int.MaxValue), guesses: true);
        HttpTarget.Request(guesses, input, _server.TakesTokens ? $"Authorization: Bearer {FuzzTokens.Make(guesses)}\r\n" : "");
    }

    protected override int Judge(ReadOnlySpan<byte> bytes, bool isWhole)
    {
        // only the victims were last seen in that year
        if (bytes.IndexOf(Victims.Mark) is >= 0 and var at)
            throw new FindingException(
                $"somebody was read by their index: {Encoding.UTF8.GetString(bytes[at..Math.Min(bytes.Length, at + 80)])}");
        if (_server.Victims.WhyTouched() is { } why)
            throw new FindingException(why);
        return HttpAnswer.TryRead(ref bytes, isWhole, out var answer) ? answer.Status : 1;
    }
}
