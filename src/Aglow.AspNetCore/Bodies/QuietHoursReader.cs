using System.Text.Json;

namespace Aglow.AspNetCore.Bodies;

/// <summary>Reads a body of <c>PUT /users/{user}/quiet-hours</c>.</summary>
internal static class QuietHoursReader
{
    public const string Example =
        "{\"days\": [\"mon\", \"tue\", \"wed\", \"thu\", \"fri\"], \"from\": \"22:00\", \"to\": \"07:00\", \"time_zone\": "
            + "\"Europe/Berlin\"}";

    private const int AllDays = 0x7F;

    private static readonly string[] Members = [JsonNames.Days, JsonNames.From, JsonNames.To, JsonNames.TimeZone];

    public static QuietHours Read(ReadOnlySpan<byte> json) => MemberReader.ReadObject(json, Example, static (ref Utf8JsonReader reader) =>
    {
        int? days = null;
        string? from = null, to = null, zone = null;
        var given = 0;
        while (MemberReader.Next(ref reader, Members, Example, ref given) is { } member)
        {
            if (member == JsonNames.Days)
                days = ReadDays(ref reader);
            else if (member == JsonNames.From)
                from = MemberReader.Text(ref reader, member, Example);
            else if (member == JsonNames.To)
                to = MemberReader.Text(ref reader, member, Example);
            else
                zone = MemberReader.Text(ref reader, member, Example);
        }

        var (begins, ends) = (Time(from, JsonNames.From), Time(to, JsonNames.To));
        if (zone is null)
            throw Problems.Malformed($"time_zone is missing. Send {Example}.");
        if (begins == ends)
            throw Problems.Impossible(
                "from and to are the same time: send two times. An end that is earlier than the beginning is on the next day.");
        return QuietHours.Create(days ?? AllDays, begins, ends, zone)
            ?? throw Problems.Impossible(
                $"time_zone is \"{Problems.Shorten(zone)}\", which this server does not know: send a name of the IANA database, such as "
                    + "\"Europe/Berlin\".");
    });

    private static int ReadDays(ref Utf8JsonReader reader)
    {
        var days = 0;
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Problems.Malformed($"days is not a list. Send {Example}, or leave days out for every day.");
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            var name = reader.TokenType == JsonTokenType.String ? MemberReader.Text(ref reader, JsonNames.Days) : "";
            days |= QuietHours.DayOf(name) is var day and >= 0
                ? 1 << day
                : throw Problems.Malformed(
                    $"\"{Problems.Shorten(name)}\" in days is not a day: send some of \"mon\", \"tue\", \"wed\", \"thu\", \"fri\", "
                        + "\"sat\", \"sun\".");
        }

        return days != 0 ? days : throw Problems.Malformed("days is empty: send at least one day, or leave it out for every day.");
    }

    private static TimeOnly Time(string? text, string member)
    {
        if (text is null)
            throw Problems.Malformed($"{member} is missing. Send {Example}.");
        return QuietHours.TryTime(text, out var time)
            ? time
            : throw Problems.Malformed($"{member} is \"{Problems.Shorten(text)}\": send hours and minutes from \"00:00\" to \"23:59\".");
    }
}
