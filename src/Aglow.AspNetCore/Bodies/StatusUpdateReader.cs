using System.Text.Json;
using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Aglow.Users;

namespace Aglow.AspNetCore.Bodies;

/// <summary>Reads the body of a late heartbeat: <c>{"user_id": X, "timestamp": T}</c>.</summary>
internal static class StatusUpdateReader
{
    /// <summary>Reads the user into <paramref name="users"/>; returns the timestamp in seconds since 1970-01-01 UTC.</summary>
    public static long Read(ReadOnlySpan<byte> json, KeyCache known, UserBatch users)
    {
        var reader = new Utf8JsonReader(json);
        long? timestamp = null;
        try
        {
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject)
                throw Expected();
            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                if (reader.ValueTextEquals("user_id"u8))
                {
                    if (users.Count > 0)
                        throw Problems.Malformed("user_id is given twice in one object: send it once.");
                    reader.Read();
                    UsersBody.ReadUser(ref reader, known, users);
                }
                else if (reader.ValueTextEquals("timestamp"u8))
                {
                    if (timestamp is not null)
                        throw Problems.Malformed("timestamp is given twice in one object: send it once.");
                    reader.Read();
                    if (reader.TokenType != JsonTokenType.Number
                        || !reader.TryGetInt64(out var seconds)
                        || seconds < Pulse.EpochUnixSeconds)
                        throw Problems.Malformed(
                            $"timestamp is not a whole number of seconds since 1970-01-01 UTC from {Pulse.EpochUnixSeconds} "
                                + "(2020-01-01) on: send one, such as 1763763300.");
                    timestamp = seconds;
                }
                else
                {
                    throw Problems.UnknownMember(ref reader, "{\"user_id\": X, \"timestamp\": T}");
                }
            }

            reader.Read();
        }
        catch (JsonException wrong)
        {
            throw UsersBody.NotJson(wrong);
        }
        catch (InvalidOperationException)
        {
            // a member's name has half a surrogate pair
            throw Problems.NotJson("");
        }

        return users.Count == 1 && timestamp is { } at ? at : throw Expected();
    }

    /// <summary>The problem of a body of another form.</summary>
    public static ProblemException Expected() =>
        Problems.Malformed(
            $"The body is not a late heartbeat. Send {{\"user_id\": X, \"timestamp\": T}}: {Problems.AUser}; T is in seconds since "
                + "1970-01-01 UTC.");
}
