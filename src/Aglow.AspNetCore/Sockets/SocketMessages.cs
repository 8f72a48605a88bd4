using System.Text;
using System.Text.Json;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.Users;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

/// <summary>The result of handling a message.</summary>
internal enum SocketMessageOutcome
{
    /// <summary>Done, or answered with an error.</summary>
    Handled,

    /// <summary>The message is not JSON: the connection closes with 1007.</summary>
    NotJson,

    /// <summary>The device has left: the connection closes with 1000.</summary>
    Left,
}

/// <summary>
/// Handles the messages of a client on a socket: watch, unwatch, active, status, token, leave. Each message is one JSON object. A member
/// that its type does not accept is an error, which names the member.
/// </summary>
/// <remarks>
/// <code>
///   {"type":"watch","id":7,…}   ─►  {"type":"presence","id":7,…}     the snapshot
///   {"type":"token","id":7,…}   ─►  {"type":"token","id":7,…}
///   any other with an id        ─►  {"type":"ok","id":7}             done, and durable if the message changes stored data
///   any with an id, not done    ─►  {"type":"error","id":7,"status":503,"title":…,"detail":…}
/// </code>
/// Without an id, the server answers only a watch, a token, and errors. Answers queue while the client does not read
/// (<see cref="WatchHub.Reply"/>).
/// </remarks>
internal static class SocketMessages
{
    // characters: no definition has a longer name, so an error need not repeat a longer one
    private const int MostEchoed = 32;

    /// <summary>
    /// Writes an error. With an id, it answers that message. With a definition, it says that no definition has this name, so that the
    /// client can end its watches under it.
    /// </summary>
    public static byte[] Error(ProblemException problem, long? id = null, string? definition = null)
    {
        var answers = id is { } request ? $",\"id\":{request}" : "";
        var named = definition is null ? "" : $",\"definition\":\"{JsonEncodedText.Encode(definition)}\"";
        var (title, detail) = (JsonEncodedText.Encode(problem.Title), JsonEncodedText.Encode(problem.Message));
        return Encoding.UTF8.GetBytes(
            $"{{\"type\":\"error\"{answers},\"status\":{problem.Status},\"title\":\"{title}\",\"detail\":\"{detail}\"{named}}}");
    }

    public static async ValueTask<SocketMessageOutcome> HandleAsync(ReadOnlyMemory<byte> json, PresenceSocket socket, SocketHost host)
    {
        SocketMessage message;
        var named = 0;
        if (json.Span.StartsWith(RequestBodies.Utf8Mark))
            json = json[RequestBodies.Utf8Mark.Length..];
        try
        {
            socket.Pay(Cost.Call + Cost.Bytes(json.Length));
            message = SocketMessage.Read(json.Span, host.Presence.RequestedKeys, ref named);
        }
        catch (Exception e) when (e is JsonException or InvalidOperationException)
        {
            // InvalidOperationException: a member's name has half a surrogate pair
            return SocketMessageOutcome.NotJson;
        }
        catch (ProblemException problem)
        {
            host.Gate?.Note(problem, socket.Address);
            host.Hub.Reply(socket, Error(problem, SocketMessage.FindId(json.Span)));
            return SocketMessageOutcome.Handled;
        }
        finally
        {
            // reading the users costs time, even if the message is refused
            socket.Charge(named);
        }

        if (message.Type == "leave")
        {
            await LeaveAsync(message, socket, host);
            return SocketMessageOutcome.Left;
        }

        try
        {
            Pay(message, socket, named);
            await HandleAsync(message, socket, host);
        }
        catch (Exception failure) when (SocketRefusal.Of(failure) is { } problem)
        {
            host.Gate?.Note(problem, socket.Address);
            host.Hub.Reply(socket, Error(problem, message.Id));
        }

        return SocketMessageOutcome.Handled;
    }

    private static ValueTask HandleAsync(SocketMessage message, PresenceSocket socket, SocketHost host) => message.Type switch
    {
        "watch" => WatchAsync(message, socket, host),
        "unwatch" => UnwatchAsync(message, socket, host),
        "active" => ActiveAsync(message, socket, host),
        "status" => SetStatusAsync(message, socket, host),
        _ => RenewAsync(message, socket, host),
    };

    private static void Pay(SocketMessage message, PresenceSocket socket, int named)
    {
        try
        {
            socket.Pay(message.Type == "status" ? Cost.Write : Cost.Users(named));
        }
        catch
        {
            message.Users?.Dispose();
            throw;
        }
    }

    private static void Confirm(SocketMessage message, PresenceSocket socket, SocketHost host)
    {
        if (message.Id is { } id)
            host.Hub.Reply(socket, Encoding.UTF8.GetBytes($"{{\"type\":\"ok\",\"id\":{id}}}"));
    }

    private static async ValueTask LeaveAsync(SocketMessage message, PresenceSocket socket, SocketHost host)
    {
        if (await socket.LeaveAsync())
            Confirm(message, socket, host);
        else if (message.Id is { } id)
            host.Hub.Reply(socket, Error(Problems.StoreAway(), id));
    }

    private static async ValueTask ActiveAsync(SocketMessage message, PresenceSocket socket, SocketHost host)
    {
        await socket.EvidenceAsync(byPerson: true);
        // only a message with an id gets the error that the store is not available; otherwise the activity is written later
        if (message.Id is null)
            await host.HeartbeatAsync(socket.User, socket.Device, active: true);
        else
            await host.Presence.HeartbeatAsync(socket.User, socket.Device, active: true);
        Confirm(message, socket, host);
    }

    private static async ValueTask SetStatusAsync(SocketMessage message, PresenceSocket socket, SocketHost host)
    {
        var (source, claim) = (message.Claim ?? new ClaimBody()).ToClaim(host.Presence.Clock.Now);
        await socket.EvidenceAsync(byPerson: true);
        if (claim is null)
            await host.Presence.RemoveClaimAsync(socket.User, source);
        else if (!await host.Presence.SetClaimAsync(socket.User, claim))
            throw Problems.TooManySources();
        Confirm(message, socket, host);
    }

    // A newer token of the same person extends the connection until that token expires. A refused token changes nothing.
    private static async ValueTask RenewAsync(SocketMessage message, PresenceSocket socket, SocketHost host)
    {
        if (host.Tokens is not { } tokens)
            throw new NotInThisDeploymentException("This server takes no tokens, so none need be renewed.");
        var caller = await host.Gate!.CheckAsync(
            socket.Address,
            message.Token ?? throw Problems.Malformed("\"token\" is missing: send {\"type\":\"token\",\"token\":\"…\"}."));
        if (caller.User is not { } person || await host.Presence.FindAsync(person) != socket.User)
            throw new ProblemException(403, "Not yours", "The token is somebody else's. Open another connection with it.");
        Callers.RequireLive(host.Presence.Accounts.Of(socket.User), caller);
        socket.Renew(caller);
        var answers = message.Id is { } id ? $"\"id\":{id}," : "";
        host.Hub.Reply(
            socket,
            Encoding.UTF8.GetBytes(
                $"{{\"type\":\"token\",{answers}\"expires_in_seconds\":{(long)caller.Left(tokens.Now).TotalSeconds}}}"));
    }

    private static async ValueTask WatchAsync(SocketMessage message, PresenceSocket socket, SocketHost host)
    {
        if (FindDefinition(message, socket, host) is not { } definition)
            return;
        await socket.EvidenceAsync(byPerson: true);
        // registers no user: a key without an index is watched by its name
        await host.Presence.FindRequestedAsync(message.Users!);
        host.Hub.Watch(socket, message.Users!, definition, message.Id);
    }

    private static async ValueTask UnwatchAsync(SocketMessage message, PresenceSocket socket, SocketHost host)
    {
        if (FindDefinition(message, socket, host) is not { } definition)
            return;
        // clients send an unwatch without users to check the connection, which is not an action of the person
        await socket.EvidenceAsync(byPerson: message.Users!.Count > 0);
        await host.Presence.FindRequestedAsync(message.Users!);
        host.Hub.Unwatch(socket, message.Users!, definition);
        Confirm(message, socket, host);
    }

    // Null: sends an error as the answer, and disposes the users.
    private static Definition? FindDefinition(SocketMessage message, PresenceSocket socket, SocketHost host)
    {
        if (message.Users is not { } users)
            throw SocketMessage.Malformed("\"users\" is missing: send {\"type\":\"watch\",\"users\":[1,2,\"bob\"]}.");
        if (host.Presence.Definitions.Find(message.Definition) is { } definition)
            return definition;
        users.Dispose();
        var known = string.Join(", ", host.Presence.Definitions.All.Select(static d => d.Name));
        var problem = new ProblemException(StatusCodes.Status400BadRequest, "No such definition", $"\"definition\" is one of: {known}.");
        host.Hub.Reply(socket, Error(problem, message.Id, message.Definition is { Length: <= MostEchoed } requested ? requested : null));
        return null;
    }
}
