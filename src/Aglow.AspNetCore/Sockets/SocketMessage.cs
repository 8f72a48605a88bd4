using System.Text.Json;
using Aglow.AspNetCore.Bodies;
using Aglow.Users;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

/// <summary>One message of a client, read and checked. Only members that its type accepts are set.</summary>
internal readonly record struct SocketMessage(string Type, long? Id, UserBatch? Users, string? Definition, ClaimBody? Claim, string? Token)
{
    /// <summary>The highest id: 2^53 - 1, the largest integer that JSON parsers of all languages read exactly.</summary>
    public const long MaxId = 9_007_199_254_740_991;

    private const string Example = "{\"type\": \"watch\", \"users\": [1, 2, \"bob\"]}";

    private const string TypeName = "type";
    private const string IdName = "id";
    private const string UsersName = "users";
    private const string DefinitionName = "definition";
    private const string TokenName = "token";

    // those of claims, which a status message has, are read by ClaimBody
    private static readonly string[] Members = [TypeName, IdName, UsersName, DefinitionName, TokenName];
    private static readonly string[] WatchMembers = [UsersName, DefinitionName];
    private static readonly string[] StatusMembers = [.. ClaimBody.Names];
    private static readonly string[] TokenMembers = [TokenName];

    public static ProblemException Malformed(string detail) => new(StatusCodes.Status400BadRequest, "Malformed message", detail);

    /// <summary>Reads a message; <paramref name="named"/> is how many users it names, or how many were read before an error.</summary>
    /// <exception cref="ProblemException">The message is JSON, but not valid.</exception>
    /// <exception cref="JsonException">The message is not JSON.</exception>
    public static SocketMessage Read(ReadOnlySpan<byte> json, KeyCache known, ref int named)
    {
        var reader = new Utf8JsonReader(json);
        string? type = null, definition = null, token = null, unknown = null;
        var given = 0;
        long? id = null;
        UserBatch? users = null;
        ClaimBody? claim = null;
        try
        {
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartObject)
            {
                reader.Skip();
                reader.Read();
                throw Malformed("A message is a JSON object with a \"type\".");
            }

            while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
            {
                switch (MemberReader.Find(ref reader, Members, ref given))
                {
                    case TypeName:
                        type = MemberReader.TextOrNull(ref reader, TypeName, Example);
                        break;
                    case IdName:
                        id = ReadId(ref reader);
                        break;
                    case DefinitionName:
                        definition = MemberReader.TextOrNull(ref reader, DefinitionName, Example);
                        break;
                    case TokenName:
                        token = MemberReader.TextOrNull(ref reader, TokenName, Example);
                        break;
                    case UsersName:
                        ReadUsers(ref reader, known, users = new UserBatch());
                        break;
                    default:
                        if (!(claim ??= new ClaimBody()).TryRead(ref reader))
                            SkipUnknown(ref reader, ref unknown);
                        break;
                }
            }

            // throws if anything follows
            reader.Read();
            var message = new SocketMessage(type ?? "", id, users, definition, claim, token);
            message.Check(given, unknown);
            named = users?.Count ?? 0;
            return message;
        }
        catch
        {
            named = users?.Count ?? 0;
            users?.Dispose();
            throw;
        }
    }

    /// <summary>The id of an invalid message, so that the error can answer it; null if it has none.</summary>
    public static long? FindId(ReadOnlySpan<byte> json)
    {
        var reader = new Utf8JsonReader(json);
        try
        {
            while (reader.Read())
            {
                if (reader.TokenType == JsonTokenType.PropertyName && reader.CurrentDepth == 1 && reader.ValueTextEquals(IdName))
                    return reader.Read() ? ReadId(ref reader) : null;
            }
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException or ProblemException)
        {
            // without a readable id, the error names no message
        }

        return null;
    }

    private void Check(int given, string? unknown)
    {
        string[] takes = Type switch
        {
            "watch" or "unwatch" => WatchMembers,
            "status" => StatusMembers,
            "token" => TokenMembers,
            "active" or "leave" => [],
            _ => throw Malformed("\"type\" must be one of \"watch\", \"unwatch\", \"active\", \"status\", \"token\", \"leave\"."),
        };
        if ((unknown ?? Stray(given, takes)) is { } stray)
        {
            var known = string.Join(", ", takes.Prepend(IdName).Prepend(TypeName));
            throw Malformed($"\"{Problems.Shorten(stray)}\" is not a member of a message of type \"{Type}\", which takes: {known}.");
        }
    }

    // The first member that this type does not accept, but other types do.
    private string? Stray(int given, string[] takes)
    {
        for (var at = Array.IndexOf(Members, IdName) + 1; at < Members.Length; at++)
        {
            if ((given & (1 << at)) != 0 && !takes.Contains(Members[at]))
                return Members[at];
        }

        return Claim?.FirstGiven is { } ofClaim && !takes.Contains(ofClaim) ? ofClaim : null;
    }

    private static void SkipUnknown(ref Utf8JsonReader reader, ref string? unknown)
    {
        unknown ??= reader.GetString();
        reader.Skip();
    }

    private static long? ReadId(ref Utf8JsonReader reader)
    {
        if (reader.TokenType == JsonTokenType.Null)
            return null;
        return reader.TokenType == JsonTokenType.Number && reader.TryGetInt64(out var id) && id is >= 0 and <= MaxId
            ? id
            : throw Malformed($"\"{IdName}\" is an integer from 0 to {MaxId}, a different one for each message that has no answer yet.");
    }

    private static void ReadUsers(ref Utf8JsonReader reader, KeyCache known, UserBatch users)
    {
        if (reader.TokenType != JsonTokenType.StartArray)
            throw Problems.Malformed("\"users\" must be a list of user IDs.");
        while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
        {
            // repeated users count, too, because each entry gets an answer
            if (users.Count == WatchHub.MaxWatches)
                throw Problems.TooManyUsers(WatchHub.MaxWatches, "several messages");
            UsersBody.ReadUser(ref reader, known, users);
        }
    }
}
