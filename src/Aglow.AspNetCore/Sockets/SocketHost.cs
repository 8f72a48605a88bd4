using System.Buffers;
using System.IO.Pipelines;
using System.Net;
using System.Text;
using Aglow.AspNetCore.Access;
using Aglow.Heartbeats;
using Aglow.Storage;
using Aglow.Users;
using Aglow.Watching;

namespace Aglow.AspNetCore.Sockets;

/// <summary>The client at the other end of a socket.</summary>
/// <param name="Caller">The caller whose credential opened it; null if the server takes no tokens.</param>
/// <param name="Address">The address whose rate limit it counts against.</param>
/// <param name="Device">The device that it is from.</param>
/// <param name="Session">The application's sign-in behind it; null if there is none.</param>
internal sealed record Client(Caller? Caller, IPAddress? Address, Device Device, AppSession? Session = null);

/// <summary>A socket that may open: its user and client. The user's first heartbeat is already written.</summary>
internal sealed record Arrival(UserId Who, uint User, Client Client);

/// <summary>
/// The state that all sockets of a node share. It also opens each socket: user, first heartbeat, welcome, saved subscriptions.
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
        TickInterval = TimeSpan.FromSeconds(options.PingSeconds);
        presence.Bus.Subscribe((kind, users) =>
        {
            if (kind == TransitionKind.LeftEverywhere)
                Sockets.NoteLeave(users);
            else if (kind is TransitionKind.Left or TransitionKind.DeviceLeft)
                Contradict(users);
            else if (kind == TransitionKind.Disconnected)
                EndAll(users);
        });
        presence.DeviceLeaves += Sockets.NoteLeave;
        presence.Accounts.Changed += OnAccountChanged;
        // streams that the person of a new key opened before see as a stranger, and miss changes of the account
        presence.KeyRegistered += (key, _) => EndAll(Sockets.Unknown(key).Select(static one => one.Connection));
        if (tokens is not null)
            tokens.Revoked += caller => EndAll(Sockets.Of(caller));
    }

    /// <summary>The gate that charges messages; null in tests of a socket alone.</summary>
    public Gate? Gate { get; }

    /// <summary>The callers whose tokens were checked; null if the server takes no tokens.</summary>
    public KnownCallers? Tokens { get; }

    public PresenceService Presence { get; }

    public WatchHub Hub => Presence.Watchers;

    public LocalSockets Sockets { get; } = new();

    /// <summary>The budget in which the bytes of incomplete messages are counted.</summary>
    public CallMemory Memory { get; init; } = CallMemory.Shared;

    /// <summary>The buffer in which the hub's loop composes a frame. There is one loop, so one buffer is enough.</summary>
    public ArrayBufferWriter<byte> Frame { get; } = new(64 * 1024);

    /// <summary>The frames that are sent every <see cref="TickInterval"/>.</summary>
    public byte[] PingAndTick { get; } = [.. Encoded(SocketOpcode.Ping, default), .. Encoded(SocketOpcode.Text, "{\"type\":\"tick\"}"u8)];

    /// <summary>The interval between two pings of a socket.</summary>
    public TimeSpan TickInterval { get; }

    /// <summary>How many messages of one connection are handled per second.</summary>
    public int MaxMessagesPerSecond => _options.MaxMessagesPerSecond;

    public Origins Origins { get; }

    /// <summary>
    /// Writes the first heartbeat of a connection, because a connected user is online. Also registers a new key, and counts the connection.
    /// If it throws, the socket must not open.
    /// </summary>
    /// <exception cref="ProblemException">The user has too many connections, may not connect, or cannot be admitted.</exception>
    public async ValueTask<Arrival> ArriveAsync(UserId who, Client client)
    {
        if (who.Key is not null && !Presence.HasDirectory)
            throw new NotInThisDeploymentException(
                "This deployment has no user directory, so user IDs are integers. Connect with one from 0 to 2147483647.");
        var user = await Presence.FindAsync(who);
        if (user == UserId.Nobody)
        {
            Gate?.ChargeRegistrations(client.Caller, client.Address, 1);
            user = await Presence.RegisterAsync(who);
        }

        var account = Presence.Accounts.Of(user);
        Callers.RequireLive(account, client.Caller);
        Callers.RequireLiveSignIn(account, client.Session?.SignedInAt);
        if (!Sockets.TryEnter(user, _options.MaxConnectionsPerUser))
            throw Problems.TooManyConnections(_options.MaxConnectionsPerUser);
        var admission = Admission.Unknown;
        try
        {
            admission = await Presence.HeartbeatAsync(user, client.Device);
            return admission == Admission.Accepted
                ? new Arrival(who, user, client)
                : throw Problems.Of(admission, who.ToString(), _options);
        }
        catch (StoreUnavailableException away) when (away.IsHandedOver)
        {
            // This node cannot write the user's words, and soon sends the client to another node. If no node can write, the user can at
            // least watch others here.
            admission = Admission.Accepted;
            return new Arrival(who, user, client);
        }
        finally
        {
            if (admission != Admission.Accepted)
                Sockets.Exit(user);
        }
    }

    /// <summary>Runs a socket until it ends. Its handshake is done, and <see cref="ArriveAsync"/> has admitted its user.</summary>
    public async Task RunAsync(PipeReader input, SocketOutput output, Arrival arrival)
    {
        var socket = new PresenceSocket(input, output, arrival.User, this, arrival.Client);
        Hub.Open(socket, Welcome(arrival.Who, arrival.Client.Caller));
        Begin(socket, arrival.Client.Caller);
        try
        {
            await socket.RunAsync(WatchSubscriptionsAsync(socket));
        }
        finally
        {
            Sockets.Remove(socket);
        }
    }

    /// <summary>Adds a connection that the hub has opened. From now on, it ends if the account or the credential becomes invalid.</summary>
    public void Begin(WatchConnection connection, Caller? caller)
    {
        Sockets.Add(connection, caller);
        // the account or the credential may have changed between the check and now
        if (CloseOf(Presence.Accounts.Of(connection.User), caller) is { } code)
            End(connection, code);
        else if (caller?.IsGoodAt(Tokens!.Now) == false)
            End(connection, SocketClose.TokenEnded);
        else if (LocalSockets.IsUnknown(connection, caller))
            EndIfKnown(connection, caller!);
    }

    /// <summary>
    /// Ends a connection if its person had no index when it was opened and has one now. The client reconnects, and the new connection has
    /// the person's index.
    /// </summary>
    public void EndIfKnown(WatchConnection connection, Caller caller) =>
        Presence.Background.LetGo("streams of newly registered people", EndIfKnownAsync(connection, caller));

    private async Task EndIfKnownAsync(WatchConnection connection, Caller caller)
    {
        try
        {
            if (await Presence.FindAsync(caller.User!.Value) != UserId.Nobody)
                End(connection, SocketClose.TokenEnded);
        }
        catch (StoreUnavailableException)
        {
            // the next tick or change of an account tries again
        }
    }

    private void EndAll(ReadOnlySpan<uint> users)
    {
        foreach (var user in users)
            EndAll(Sockets.Of(user));
    }

    private void EndAll(IEnumerable<WatchConnection> connections)
    {
        foreach (var connection in connections)
            End(connection, SocketClose.TokenEnded);
    }

    // The close code if the user's account forbids the connection; null: it may stay open.
    private static int? CloseOf(Account account, Caller? caller) =>
        account.IsDisabled ? SocketClose.NotAllowed
        : caller is null || !account.Revokes(caller.IssuedAt) ? null
        : account.IsDeleted ? SocketClose.NotAllowed : SocketClose.TokenEnded;

    // A user was disabled, signed out everywhere or deleted: ends their open connections, and undoes heartbeats that came over them since.
    private void OnAccountChanged(uint user, Account was, Account account)
    {
        var isOver = account.RevokedAt != was.RevokedAt;
        if (!account.IsDisabled && !isOver)
            return;
        var open = Sockets.Of(user);
        foreach (var connection in open)
            End(connection, account.IsDisabled || account.IsDeleted ? SocketClose.NotAllowed : SocketClose.TokenEnded);
        if (open.Count > 0 && isOver)
            Presence.Background.LetGo("sign-out of connections", EndAsync(user, account.IsDeleted));
        // another node may have given the ID its index
        foreach (var (connection, caller) in Sockets.Unknown())
            EndIfKnown(connection, caller);
    }

    // Ends a connection because of its account or its credential. Nothing that its client sends from now on counts.
    private void End(WatchConnection connection, int code)
    {
        (connection as IDeviceConnection)?.Ignore();
        Hub.End(connection, code);
    }

    private async Task EndAsync(uint user, bool isDeleted)
    {
        try
        {
            await Presence.EndAsync(user, isDeleted);
        }
        catch (StoreUnavailableException)
        {
            // without the leave, the lease expires
        }
    }

    /// <summary>
    /// Writes a heartbeat because something arrived from a device. Without an action of the person, it writes at most one a second, and
    /// none after the user left on all devices.
    /// </summary>
    /// <param name="user">The user of the device.</param>
    /// <param name="device">The device.</param>
    /// <param name="byPerson">Whether the person did something. Then it always writes, and a user who left on all devices is back.</param>
    /// <param name="last">The second of the last heartbeat of this connection.</param>
    public ValueTask EvidenceAsync(uint user, Device device, bool byPerson, ref uint last)
    {
        // compares seconds of store time, which words hold, because seconds of another clock begin at other moments
        var now = Presence.Clock.Now;
        if (byPerson)
            Sockets.Revive(user);
        else if (now == last || Sockets.HasLeft(user))
            return default;
        last = now;
        Sockets.Revive(user, device);
        return HeartbeatAsync(user, device);
    }

    /// <summary>
    /// Writes a heartbeat. Ignores that the store is not available: the hub reports that to all clients, the next pong, within one
    /// interval, writes again, and activity waits in memory.
    /// </summary>
    public async ValueTask HeartbeatAsync(uint user, Device device, bool active = false)
    {
        try
        {
            await Presence.HeartbeatAsync(user, device, active);
        }
        catch (StoreUnavailableException)
        {
            // as above
        }
    }

    /// <summary>
    /// Lets a device leave because one of its connections ends, unless the device has another connection on this node. False: the store is
    /// not available.
    /// </summary>
    /// <param name="user">The user of the device.</param>
    /// <param name="device">The device.</param>
    /// <param name="mayReturn">Whether the connection closed without a leave message, so that the page may only be reloading.</param>
    public async ValueTask<bool> LeaveAsync(uint user, Device device, bool mayReturn = false)
    {
        var others = Sockets.Present(user, device);
        var isLast = Sockets.Exit(user);
        if (Sockets.Has(user, device) || (!isLast && !Sockets.HasOther(user, device)))
            return true;
        try
        {
            await (mayReturn ? Presence.LeaveForNowAsync(user, device, others) : Presence.LeaveAsync(user, device, others));
            return true;
        }
        catch (StoreUnavailableException)
        {
            // not durable yet: the engine retries in the background, and otherwise the lease expires
            return false;
        }
    }

    // A device of a user left on another node, but the user has a socket here, so they are still online. The heartbeat is written twice,
    // because this node's clock may be slightly behind the clock of the leave.
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

    private async Task WatchSubscriptionsAsync(PresenceSocket socket)
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
                if (UserId.OfIndex(followed[i], names[i]) is not { } id)
                    continue;
                if (id.Key is null || !users.TryAdd(Encoding.UTF8.GetBytes(id.Key), Presence.KnownKeys))
                    users.Add(followed[i]);
            }

            await Presence.FindAsync(users);
            Hub.Watch(socket, users, Presence.Definitions.Default);
        }
        catch (StoreUnavailableException away)
        {
            Hub.Send(
                socket,
                SocketMessages.Error(
                    new ProblemException(StatusCodes.Status503ServiceUnavailable, "Subscriptions not read", away.Message)));
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
            $"{{\"type\":\"welcome\",\"user_id\":{id},\"offline_after_seconds\":{_options.LeaseSeconds},"
                + $"\"tick_seconds\":{_options.PingSeconds}{left}}}");
    }
}
