using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.Heartbeats;
using Aglow.Model;
using Aglow.Storage;
using Aglow.Watching;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Sockets;

/// <summary>Who is at the other end of a socket.</summary>
/// <param name="Caller">Whose credential opened it; null where none are taken.</param>
/// <param name="Address">Whose address pays for it.</param>
/// <param name="Device">The device that it is from.</param>
/// <param name="Left">How long the application's sign-in behind it lasts; null where there is none.</param>
internal sealed record Client(Caller? Caller, IPAddress? Address, Device Device, Func<TimeSpan>? Left = null);

/// <summary>A socket that may open: whose it is, and their first heartbeat is written.</summary>
internal sealed record Arrival(UserId Who, uint User, Client Client);

/// <summary>
/// What the sockets of a node share, and how one begins: who it is, the first heartbeat, the welcome, the saved subscriptions.
/// </summary>
internal sealed class SocketHost
{
    private readonly AglowOptions _options;

    public SocketHost(PresenceService presence, AglowOptions options, KnownCallers? tokens, Gate? gate)
    {
        Gate = gate;
        Tokens = tokens;
        Presence = presence;
        _options = options;
        Origins = new Origins(options);
        TickInterval = TimeSpan.FromSeconds(options.HeartbeatSeconds);
        presence.Bus.Subscribe((kind, users) =>
        {
            if (kind == TransitionKind.LeftEverywhere)
                Sockets.HearLeft(users);
            else if (kind is TransitionKind.Left or TransitionKind.DeviceLeft)
                Contradict(users);
            else if (kind == TransitionKind.Disconnected)
                Disconnect(users);
        });
        presence.Accounts.Changed += HearAccount;
        presence.KeyRegistered += HearRegistered;
        if (tokens is not null)
            tokens.Revoked += HearRevoked;
    }

    /// <summary>Where messages are paid for; null in tests of a socket alone.</summary>
    public Gate? Gate { get; }

    public AglowOptions Options => _options;

    /// <summary>Those whose tokens were checked; null where none are taken.</summary>
    public KnownCallers? Tokens { get; }

    public PresenceService Presence { get; }

    public WatchHub Hub => Presence.Watchers;

    public LocalSockets Sockets { get; } = new();

    /// <summary>Where what is kept of messages that are not whole is counted.</summary>
    public CallMemory Memory { get; init; } = CallMemory.Shared;

    /// <summary>Where the hub's loop composes a frame: one loop, one buffer.</summary>
    public ArrayBufferWriter<byte> Frame { get; } = new(64 * 1024);

    /// <summary>The frames that are sent every <see cref="TickInterval"/>.</summary>
    public byte[] PingAndTick { get; } = [.. Encoded(SocketOpcode.Ping, default), .. Encoded(SocketOpcode.Text, "{\"type\":\"tick\"}"u8)];

    /// <summary>How often a socket is pinged.</summary>
    public TimeSpan TickInterval { get; }

    /// <summary>Messages read of a connection in a second.</summary>
    public int MaxMessagesPerSecond => _options.MaxMessagesPerSecond;

    /// <summary>Whose pages may connect.</summary>
    public Origins Origins { get; }

    /// <summary>
    /// The first heartbeat of a connection: connecting is being online. Registers a key, and takes one of the user's places for connections; what is not accepted must
    /// not be connected.
    /// </summary>
    /// <exception cref="ProblemException">The user has all the connections that one may have, may not connect, or cannot be taken.</exception>
    public async ValueTask<Arrival> ArriveAsync(UserId who, Client client)
    {
        if (who.Key is not null && !Presence.HasDirectory)
            throw new NotSupportedException("This deployment has no user directory, so user IDs are integers. Connect with one from 0 to 2147483647.");
        var user = await Presence.FindAsync(who);
        if (user == UserId.Nobody)
        {
            Gate?.ChargeRegistrations(client.Caller, client.Address, 1);
            user = await Presence.RegisterAsync(who);
        }

        Callers.RequireLive(Presence.Accounts.Of(user), client.Caller);
        if (!Sockets.TryEnter(user, _options.MaxConnectionsPerUser))
            throw Problems.TooManyConnections(_options.MaxConnectionsPerUser);
        var admission = Admission.Unknown;
        try
        {
            admission = await Presence.HeartbeatAsync(user, client.Device);
            return admission == Admission.Accepted ? new Arrival(who, user, client) : throw Problems.Of(admission, who.ToString(), _options);
        }
        catch (StoreUnavailableException away) when (away.IsHandedOver)
        {
            // where no node can write, its users still watch others; this one sends it on, and hears it when words can be written
            admission = Admission.Accepted;
            return new Arrival(who, user, client);
        }
        finally
        {
            if (admission != Admission.Accepted)
                Sockets.Exit(user);
        }
    }

    /// <summary>Runs a socket over a transport whose handshake is done, until it ends. Its user has arrived (<see cref="ArriveAsync"/>).</summary>
    public async Task RunAsync(PipeReader input, SocketOutput output, Arrival arrival)
    {
        var socket = new PresenceSocket(input, output, arrival.User, this, arrival.Client);
        Hub.Open(socket, Welcome(arrival.Who, arrival.Client.Caller));
        Begin(socket, arrival.Client.Caller);
        try
        {
            await WatchSubscriptionsAsync(socket);
            await socket.RunAsync();
        }
        finally
        {
            Sockets.Remove(socket);
        }
    }

    /// <summary>A connection that the hub knows is open: from now on it hears what becomes of its caller.</summary>
    public void Begin(WatchConnection connection, Caller? caller)
    {
        Sockets.Add(connection, caller);
        // the account or the credential may have changed between the check and now
        if (CloseOf(Presence.Accounts.Of(connection.User), caller) is { } code)
            Hub.End(connection, code);
        else if (caller?.IsGoodAt(Tokens!.Now) == false)
            Hub.End(connection, SocketClose.TokenEnded);
        else if (LocalSockets.IsUnknown(connection, caller))
            EndIfKnown(connection, caller!);
    }

    /// <summary>Ends a connection whose person had no index when it was opened, and has one by now: their client opens another, which is theirs.</summary>
    public void EndIfKnown(WatchConnection connection, Caller caller) =>
        Presence.Background.LetGo("streams of people who came", EndIfKnownAsync(connection, caller));

    private async Task EndIfKnownAsync(WatchConnection connection, Caller caller)
    {
        try
        {
            if (await Presence.FindAsync(caller.User!.Value) != UserId.Nobody)
                Hub.End(connection, SocketClose.TokenEnded);
        }
        catch (StoreUnavailableException)
        {
            // it is asked again
        }
    }

    // A key was revoked: its connections end.
    private void HearRevoked(Caller caller)
    {
        foreach (var connection in Sockets.Of(caller))
            Hub.End(connection, SocketClose.TokenEnded);
    }

    // Somebody came for the first time here: a stream of theirs saw as a stranger, and did not hear of their account.
    private void HearRegistered(string key, uint user)
    {
        foreach (var (connection, _) in Sockets.Unknown(key))
            Hub.End(connection, SocketClose.TokenEnded);
    }

    private void Disconnect(ReadOnlySpan<uint> users)
    {
        foreach (var user in users)
        {
            foreach (var connection in Sockets.Of(user))
                Hub.End(connection, SocketClose.TokenEnded);
        }
    }

    // With which code a connection is closed that its user's account forbids; null: it may stay.
    private static int? CloseOf(Account account, Caller? caller) =>
        account.IsDisabled ? SocketClose.NotAllowed
        : caller is null || !account.Revokes(caller.IssuedAt) ? null
        : account.IsDeleted ? SocketClose.NotAllowed : SocketClose.TokenEnded;

    // A user was disabled, signed out everywhere or deleted: connections that are open now end, and what they heard since is undone.
    private void HearAccount(uint user, Account was, Account account)
    {
        var isOver = account.RevokedAt != was.RevokedAt;
        if (!account.IsDisabled && !isOver)
            return;
        var open = Sockets.Of(user);
        foreach (var connection in open)
            Hub.End(connection, account.IsDisabled || account.IsDeleted ? SocketClose.NotAllowed : SocketClose.TokenEnded);
        if (open.Count > 0 && isOver)
            Presence.Background.LetGo("sign-out of connections", EndAsync(user, account.IsDeleted));
        // another node may have given the ID its index
        foreach (var (connection, caller) in Sockets.Unknown())
            EndIfKnown(connection, caller);
    }

    private async Task EndAsync(uint user, bool isDeleted)
    {
        try
        {
            await Presence.EndAsync(user, isDeleted);
        }
        catch (StoreUnavailableException)
        {
            // the lease ends it
        }
    }

    /// <summary>
    /// Something came from a device: at most once a second it is written as a heartbeat, unless the user left on all devices since.
    /// </summary>
    /// <param name="user">Whose device it is.</param>
    /// <param name="device">The device.</param>
    /// <param name="byPerson">Whether the person did it: then they are back.</param>
    /// <param name="last">The second of the last heartbeat of this connection.</param>
    public ValueTask EvidenceAsync(uint user, Device device, bool byPerson, ref uint last)
    {
        // the second that a word would hold: one word a second is enough, and seconds of another clock begin at other moments
        var now = Presence.Clock.Now;
        if (byPerson)
            Sockets.Revive(user);
        else if (now == last || Sockets.HasLeft(user))
            return default;
        last = now;
        return HeartbeatAsync(user, device);
    }

    /// <summary>A heartbeat from evidence; where the store is away nobody can heartbeat, and the hub says so.</summary>
    public async ValueTask HeartbeatAsync(uint user, Device device, bool active = false)
    {
        try
        {
            await Presence.HeartbeatAsync(user, device, active);
        }
        catch (StoreUnavailableException)
        {
            // the next evidence is written in an interval
        }
    }

    /// <summary>A goodbye on one socket: that of its device, if it was the user's last here. False: the store is away.</summary>
    /// <param name="user">Whose device it is.</param>
    /// <param name="device">The device.</param>
    /// <param name="mayReturn">Whether nobody said goodbye, but the connection closed: its page may be loaded again.</param>
    public async ValueTask<bool> LeaveAsync(uint user, Device device, bool mayReturn = false)
    {
        // with a nameless or the same device's socket open here, nothing has left
        var others = Sockets.Present(user, device);
        if (!Sockets.Exit(user) && others.Count == 0)
            return true;
        try
        {
            await (mayReturn ? Presence.LeaveForNowAsync(user, device, others) : Presence.LeaveAsync(user, device, others));
            return true;
        }
        catch (StoreUnavailableException)
        {
            // not durable yet; it is tried again in the background, and the lease ends it otherwise
            return false;
        }
    }

    // A device of a user said goodbye on another node, and a socket is open here: they are still there. Twice, since this node's clock may be a moment behind
    // the goodbye's.
    private void Contradict(ReadOnlySpan<uint> users)
    {
        foreach (var user in users)
        {
            foreach (var device in Sockets.Present(user))
                Presence.Background.LetGo("heartbeats against goodbyes", ContradictAsync(user, device));
        }
    }

    private async Task ContradictAsync(uint user, Device device)
    {
        await HeartbeatAsync(user, device);
        await Task.Delay(TimeSpan.FromMilliseconds(500), Presence.Clock.Time);
        if (Sockets.Present(user).Contains(device))
            await HeartbeatAsync(user, device);
    }

    private async ValueTask WatchSubscriptionsAsync(PresenceSocket socket)
    {
        if (!Presence.HasDirectory)
            return;
        try
        {
            var followed = await Presence.SubscriptionsAsync(socket.User);
            if (followed.Length == 0)
                return;
            var names = new string?[followed.Length];
            await Presence.FindIdsAsync(followed, names, ofOneself: true);
            var users = new UserBatch(followed.Length);
            for (var i = 0; i < followed.Length; i++)
            {
                if (names[i] is not { } name || !users.TryAdd(Encoding.UTF8.GetBytes(name), Presence.KnownKeys))
                    users.Add(followed[i]);
            }

            await Presence.FindAsync(users);
            Hub.Watch(socket, users, Presence.Definitions.Default);
        }
        catch (StoreUnavailableException away)
        {
            Hub.Tell(socket, SocketMessages.Error(new ProblemException(StatusCodes.Status503ServiceUnavailable, "Subscriptions not read", away.Message)));
        }
    }

    private static byte[] Encoded(SocketOpcode opcode, ReadOnlySpan<byte> payload)
    {
        var frame = new ArrayBufferWriter<byte>();
        SocketFrame.Write(frame, opcode, payload);
        return frame.WrittenSpan.ToArray();
    }

    private byte[] Welcome(UserId who, Caller? caller)
    {
        var id = who.Key is { } key ? Encoding.UTF8.GetString(PresenceRecord.Quote(Encoding.UTF8.GetBytes(key))) : who.ToString();
        var left = caller?.ExpiresAt is null ? "" : $",\"expires_in_seconds\":{(long)caller.Left(Tokens!.Now).TotalSeconds}";
        return Encoding.UTF8.GetBytes(
            $"{{\"type\":\"welcome\",\"user_id\":{id},\"offline_after_seconds\":{_options.LeaseSeconds},\"tick_seconds\":{_options.HeartbeatSeconds}{left}}}");
    }
}
