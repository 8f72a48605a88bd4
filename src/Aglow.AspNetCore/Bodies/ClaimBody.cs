using System.Numerics;
using System.Text;
using System.Text.Json;

namespace Aglow.AspNetCore.Bodies;

/// <summary>
/// Reads a claim about a user: the body of <c>PUT /users/{user}/status</c>, or a socket's <c>status</c> message.
/// </summary>
/// <remarks>A refusal is a problem that names the member: 400 for malformed input, 422 for input that cannot be fulfilled.</remarks>
internal sealed class ClaimBody
{
    public const string Example =
        "{\"status\": \"auto\", \"online\", \"away\", \"busy\" or \"offline\", and where you like \"text\", \"emoji\", \"until\": T or "
            + "\"for_seconds\": N, \"source\", \"priority\"}";

    // the last second that a word can hold
    private static readonly long LastUntil = Pulse.ToUnix(Pulse.SecondMask - 1)!.Value;

    private static readonly string[] Members =
        [JsonNames.Status, JsonNames.Text, JsonNames.Emoji, JsonNames.Until, JsonNames.ForSeconds, JsonNames.Source, JsonNames.Priority];

    private readonly string?[] _texts = new string?[Members.Length];
    private readonly long?[] _numbers = new long?[Members.Length];
    private int _given;

    /// <summary>The first member that the body has; null if it has none.</summary>
    public string? FirstGiven => _given == 0 ? null : Members[BitOperations.TrailingZeroCount(_given)];

    /// <summary>The members that a message may have.</summary>
    public static IReadOnlyList<string> Names => Members;

    public static ClaimBody Read(ReadOnlySpan<byte> json) => MemberReader.ReadObject(json, Example, static (ref Utf8JsonReader reader) =>
    {
        var claim = new ClaimBody();
        while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
        {
            if (!claim.TryRead(ref reader))
                throw Problems.UnknownMember(ref reader, Example);
        }

        return claim;
    });

    /// <summary>Reads the member at the reader's position; false if claims have no such member.</summary>
    public bool TryRead(ref Utf8JsonReader reader)
    {
        if (MemberReader.Find(ref reader, Members, ref _given) is not { } name)
            return false;
        var member = Array.IndexOf(Members, name);
        if (reader.TokenType == JsonTokenType.Null)
            return true;
        if (name is JsonNames.Until or JsonNames.ForSeconds or JsonNames.Priority)
        {
            _numbers[member] = reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var number)
                ? number
                : throw Problems.Malformed($"{name} is not an integer. Send {Example}.");
        }
        else
        {
            _texts[member] = MemberReader.Text(ref reader, name, Example);
        }

        return true;
    }

    /// <summary>
    /// The claim at a second, and its source. The claim is null if the body removes the claim of that source: the status auto, and nothing
    /// else.
    /// </summary>
    public (string Source, Claim? Claim) ToClaim(uint now)
    {
        var status = Status();
        var source = Source(Text(JsonNames.Source) ?? Claim.UserSource);
        var text = Detail(JsonNames.Text, StatusDetails.MaxTextBytes);
        var emoji = Detail(JsonNames.Emoji, StatusDetails.MaxEmojiBytes);
        var until = Until(now);
        var priority = Number(JsonNames.Priority) ?? 0;
        if (priority is < int.MinValue or > int.MaxValue)
            throw Problems.Malformed(
                $"priority is {priority}: send an integer from {int.MinValue} to {int.MaxValue}, 0 where you leave it out.");
        var details = StatusDetails.Of(text, emoji, until);
        return (
            source,
            status == ClaimStatus.Auto && details is null && priority == 0 ? null : new Claim(source, status, details, (int)priority));
    }

    /// <summary>Returns the name of a source that callers may set; refuses any other.</summary>
    public static string Source(string source)
    {
        if (source == Claim.QuietHoursSource)
            throw Problems.Impossible($"The source {source} is the server's own. PUT and DELETE {Routes.QuietHours} set and remove it.");
        return source.Length > 0 && Encoding.UTF8.GetByteCount(source) <= Claim.MaxSourceBytes && !source.Any(char.IsControl)
            ? source
            : throw Problems.Malformed(
                $"source is not a name: send 1 to {Claim.MaxSourceBytes} bytes of UTF-8 without control characters, such as \"calendar\".");
    }

    private ClaimStatus Status()
    {
        var word = Text(JsonNames.Status) ?? throw Problems.Malformed($"status is missing. Send {Example}.");
        return Claim.TryParse(Encoding.UTF8.GetBytes(word), out var status)
            ? status
            : throw Problems.Malformed(
                $"status is \"{Problems.Shorten(word)}\": send one of \"auto\", \"online\", \"away\", \"busy\", \"offline\".");
    }

    private string? Detail(string member, int most)
    {
        if (Text(member) is not { Length: > 0 } text)
            return null;
        var bytes = Encoding.UTF8.GetByteCount(text);
        if (bytes > most)
            throw Problems.Malformed($"{member} has {bytes} bytes of UTF-8: send at most {most}.");
        return text.Any(char.IsControl) ? throw Problems.Malformed($"{member} has control characters: send text on one line.") : text;
    }

    private uint Until(uint now)
    {
        var at = (long)Pulse.EpochUnixSeconds + now;
        var (until, forSeconds) = (Number(JsonNames.Until), Number(JsonNames.ForSeconds));
        if (until is not null && forSeconds is not null)
            throw Problems.Malformed("until and for_seconds are both given: send one of them.");
        if (forSeconds is < 1)
            throw Problems.Malformed(
                $"for_seconds is {forSeconds}: send an integer from 1 on, or leave it out for a status without an end.");
        if (forSeconds is { } seconds)
            until = seconds <= LastUntil ? at + seconds : long.MaxValue;
        if (until is null)
            return 0;
        if (until <= at)
            throw Problems.Impossible(
                $"until is {until}, and now is {at}: send a later second (since 1970-01-01 UTC), or leave it out for a status without "
                    + "an end.");
        if (until > LastUntil)
            throw Problems.Impossible(
                $"The end is later than {LastUntil} (in 2088): send an earlier one, or leave it out for a status without an end.");
        return Pulse.FromUnix(until.Value);
    }

    private string? Text(string member) => _texts[Array.IndexOf(Members, member)];

    private long? Number(string member) => _numbers[Array.IndexOf(Members, member)];
}
