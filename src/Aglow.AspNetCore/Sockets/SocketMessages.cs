using System.Text;
using System.Text.Json;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

/// <summary>What became of a message.</summary>
internal enum SocketMessageOutcome
{
    /// <summary>Done, or answered with an error.</summary>
    Handled,

    /// <summary>Not JSON: the connection closes with 1007.</summary>
    NotJson,

    /// <summary>The device is gone: the connection closes with 1000.</summary>
    Leave,
}

/// <summary>
/// What a client may say on a socket: watch, unwatch, active, status, token, leave. One JSON object a message; unknown members are ignored.
/// </summary>
internal static class SocketMessages
{
    // a definition's name has at most 32; what is longer need not come back in an error
    private const int MostEchoed = 32;

    public static byte[] TooManyMessages(int limit) =>
        Error("Too many messages", $"At most {limit} messages a second are read; this one and the rest of this second's were dropped.");

    /// <summary>An error; with a definition, it is of that name that there is none, so that a client can end what it watches under it.</summary>
    public static byte[] Error(string title, string detail, string? definition = null)
    {
        var named = definition is null ? "" : $",\"definition\":\"{JsonEncodedText.Encode(definition)}\"";
        return Encoding.UTF8.GetBytes($"{{\"type\":\"error\",\"title\":\"{JsonEncodedText.Encode(title)}\",\"detail\":\"{JsonEncodedText.Encode(detail)}\"{named}}}");
    }

    /// <summary>Reads one message and does what it says.</summary>
    public static async ValueTask<SocketMessageOutcome> HandleAsync(ReadOnlyMemory<byte> json, PresenceSocket socket, SocketHost host)
    {
        Message message;
        var named = 0;
        try
        {
            message = Message.Read(json.Span, host.Presence.KnownKeys, ref named);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // or a member's name with half a surrogate pair
            return SocketMessageOutcome.NotJson;
        }
        catch (ProblemException problem)
        {
            host.Hub.Tell(socket, Error(problem.Title, problem.Message));
            return SocketMessageOutcome.Handled;
        }
        finally
        {
            // to read them costs, whatever becomes of the message
            socket.Charge(named);
        }

        try
        {
            return await HandleAsync(message, socket, host);
        }
        catch (ProblemException problem)
        {
            host.Hub.Tell(socket, Error(problem.Title, problem.Message));
        }
        catch (StoreUnavailableException away)
        {
            host.Hub.Tell(socket, Error("Store away", away.Message));
        }
        catch (NotSupportedException missing)
        {
            host.Hub.Tell(socket, Error("Not in this deployment", missing.Message));
        }

        return SocketMessageOutcome.Handled;
    }

    private static async ValueTask<SocketMessageOutcome> HandleAsync(Message message, PresenceSocket socket, SocketHost host)
    {
        switch (message.Type)
        {
            case "watch" or "unwatch":
                await WatchAsync(message, socket, host);
                return SocketMessageOutcome.Handled;
            case "active":
                await socket.EvidenceAsync(byPerson: true);
                await host.HeartbeatAsync(socket.User, active: true);
                return SocketMessageOutcome.Handled;
            case "status":
                if (message.Status is not { } status || !ManualStatus.TryParse(Encoding.UTF8.GetBytes(status), out var kind))
                {
                    host.Hub.Tell(socket, Error("Malformed message", "\"status\" is one of \"auto\", \"online\", \"away\", \"busy\", \"offline\"."));
                    return SocketMessageOutcome.Handled;
                }

                await socket.EvidenceAsync(byPerson: true);
                await host.Presence.SetManualStatusAsync(socket.User, kind);
                return SocketMessageOutcome.Handled;
            case "token":
                await RenewAsync(message.Token, socket, host);
                return SocketMessageOutcome.Handled;
            case "leave":
                return SocketMessageOutcome.Leave;
            default:
                message.Users?.Dispose();
                host.Hub.Tell(socket, Error("Malformed message", "\"type\" is one of \"watch\", \"unwatch\", \"active\", \"status\", \"token\", \"leave\"."));
                return SocketMessageOutcome.Handled;
        }
    }

    // A newer token of the same person: the connection goes on until that one ends. One that is refused changes nothing.
    private static async ValueTask RenewAsync(string? token, PresenceSocket socket, SocketHost host)
    {
        if (host.Tokens is not { } tokens)
            throw new NotSupportedException("This server takes no tokens, so none need be renewed.");
        var caller = await tokens.CheckAsync(token ?? throw Problems.Malformed("\"token\" is missing: send {\"type\":\"token\",\"token\":\"…\"}."));
        if (caller.User is not { } person || await host.Presence.FindAsync(person) != socket.User)
            throw new ProblemException(403, "Not yours", "The token is somebody else's. Open another connection with it.");
        socket.Renew(caller);
        host.Hub.Tell(socket, Encoding.UTF8.GetBytes($"{{\"type\":\"token\",\"expires_in_seconds\":{(long)caller.Left(tokens.Now).TotalSeconds}}}"));
    }

    private static async ValueTask WatchAsync(Message message, PresenceSocket socket, SocketHost host)
    {
        if (message.Users is not { } users)
        {
            host.Hub.Tell(socket, Error("Malformed message", "\"users\" is missing: send {\"type\":\"watch\",\"users\":[1,2,\"bob\"]}."));
            return;
        }

        if (host.Presence.Definitions.Find(message.Definition) is not { } definition)
        {
            users.Dispose();
            var known = string.Join(", ", host.Presence.Definitions.All.Select(static d => d.Name));
            host.Hub.Tell(socket, Error("No such definition", $"\"definition\" is one of: {known}.", message.Definition is { Length: <= MostEchoed } asked ? asked : null));
            return;
        }

        await socket.EvidenceAsync(byPerson: true);
        // registers nobody: a key that has no number waits by its name
        await host.Presence.FindAsync(users);
        if (message.Type == "watch")
            host.Hub.Watch(socket, users, definition);
        else
            host.Hub.Unwatch(socket, users, definition);
    }

    private readonly record struct Message(string? Type, UserBatch? Users, string? Definition, string? Status, string? Token)
    {
        /// <summary>Reads a message; <paramref name="named"/> is how many users it names, or named until something was wrong with it.</summary>
        public static Message Read(ReadOnlySpan<byte> json, KeyCache known, ref int named)
        {
            var reader = new Utf8JsonReader(json);
            string? type = null, definition = null, status = null, token = null;
            UserBatch? users = null;
            try
            {
                reader.Read();
                if (reader.TokenType != JsonTokenType.StartObject)
                {
                    reader.Skip();
                    reader.Read();
                    throw Problems.Malformed("A message is a JSON object with a \"type\".");
                }

                while (reader.Read() && reader.TokenType == JsonTokenType.PropertyName)
                {
                    if (reader.ValueTextEquals("type"u8))
                        type = ReadText(ref reader, "type", type);
                    else if (reader.ValueTextEquals("definition"u8))
                        definition = ReadText(ref reader, "definition", definition);
                    else if (reader.ValueTextEquals("status"u8))
                        status = ReadText(ref reader, "status", status);
                    else if (reader.ValueTextEquals("token"u8))
                        token = ReadText(ref reader, "token", token);
                    else if (reader.ValueTextEquals("users"u8))
                        ReadUsers(ref reader, known, users = users is null ? new UserBatch() : throw Twice("users"));
                    else
                        reader.Skip();
                }

                // throws where anything follows
                reader.Read();
                named = users?.Count ?? 0;
                return new Message(type, users, definition, status, token);
            }
            catch
            {
                named = users?.Count ?? 0;
                users?.Dispose();
                throw;
            }
        }

        private static string? ReadText(ref Utf8JsonReader reader, string name, string? before)
        {
            if (before is not null)
                throw Twice(name);
            reader.Read();
            if (reader.TokenType is not (JsonTokenType.String or JsonTokenType.Null))
                throw Problems.Malformed($"\"{name}\" is text.");
            try
            {
                return reader.GetString();
            }
            catch (InvalidOperationException)
            {
                // half a surrogate pair
                throw Problems.Malformed($"\"{name}\" is not valid text: send whole characters in UTF-8.");
            }
        }

        private static ProblemException Twice(string name) => Problems.Malformed($"\"{name}\" is given twice in one message: send it once.");

        private static void ReadUsers(ref Utf8JsonReader reader, KeyCache known, UserBatch users)
        {
            reader.Read();
            if (reader.TokenType != JsonTokenType.StartArray)
                throw Problems.Malformed("\"users\" is a list of numbers and keys.");
            while (reader.Read() && reader.TokenType != JsonTokenType.EndArray)
            {
                // each is answered, also where it is the same one again
                if (users.Count == WatchHub.MaxWatches)
                    throw Problems.TooManyUsers(WatchHub.MaxWatches, "several messages");
                UsersBody.ReadUser(ref reader, known, users);
            }
        }
    }
}
