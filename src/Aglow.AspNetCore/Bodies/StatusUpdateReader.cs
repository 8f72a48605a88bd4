using System.Text.Json;
using Aglow.Users;

namespace Aglow.AspNetCore.Bodies;

/// <summary>Reads the body of a late heartbeat: <c>{"user_id": X, "timestamp": T}</c>.</summary>
internal static class StatusUpdateReader
{
    private const string Example = "{\"user_id\": X, \"timestamp\": T}";

    private static readonly string[] Members = [JsonNames.UserId, "timestamp"];

    /// <summary>Reads the user into <paramref name="users"/>; returns the timestamp in seconds since 1970-01-01 UTC.</summary>
    public static long Read(ReadOnlySpan<byte> json, KeyCache known, UserBatch users)
    {
        var timestamp = MemberReader.ReadObject(json, Example, (ref Utf8JsonReader reader) =>
        {
            long? at = null;
            var given = 0;
            while (MemberReader.Next(ref reader, Members, Example, ref given) is { } member)
            {
                if (member == JsonNames.UserId)
                    UsersBody.ReadUser(ref reader, known, users);
                else if (reader.TokenType == JsonTokenType.Number
                    && reader.TryGetInt64(out var seconds)
                    && seconds >= Pulse.EpochUnixSeconds)
                    at = seconds;
                else
                    throw Problems.Malformed(
                        $"timestamp is not a whole number of seconds since 1970-01-01 UTC from {Pulse.EpochUnixSeconds} "
                            + "(2020-01-01) on: send one, such as 1763763300.");
            }

            return at;
        });
        return users.Count == 1 ? timestamp ?? throw Expected() : throw Expected();
    }

    /// <summary>The problem of a body of another form.</summary>
    public static ProblemException Expected() =>
        Problems.Malformed(
            $"The body is not a late heartbeat. Send {Example}: {Problems.AUser}; T is in seconds since 1970-01-01 UTC.");
}
