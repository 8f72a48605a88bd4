using System.Runtime.InteropServices;
using System.Text;

namespace Aglow.Benchmarks.Sockets;

/// <summary>
/// The messages of one of the servers over a WebSocket. Records look the same for all servers (<c>"user_id":42,"is_online":true</c>), so
/// the load generator has the same work for each.
/// </summary>
internal abstract class Dialect
{
    /// <summary>The dialect of a server, by its name.</summary>
    public static Dialect Of(string name) => name switch
    {
        Server.Aglow or Server.Before => new AglowDialect(),
        Server.Ws => new WsDialect(),
        Server.SignalR => new SignalRDialect(),
        Server.SocketIo => new SocketIoDialect(),
        _ => throw new UsageException($"there is no server \"{name}\": use {string.Join(", ", Server.All)}."),
    };

    /// <summary>The path of a socket; <paramref name="connection"/> is its user, if the server uses it.</summary>
    public abstract string Path(int connection);

    /// <summary>The first message after the upgrade.</summary>
    public virtual byte[]? Opening => null;

    /// <summary>Whether a connection may be used right after the upgrade, without a message of the server.</summary>
    public virtual bool IsOpenAtOnce => true;

    /// <summary>The message every ten seconds that keeps the connection alive; null if answers to pings are enough.</summary>
    public virtual byte[]? KeepAlive => null;

    /// <summary>The message that watches users.</summary>
    public abstract byte[] Watch(ReadOnlySpan<int> users);

    /// <summary>Whether changes are calls over HTTP; else they are messages over a socket.</summary>
    public virtual bool ChangesByHttp => false;

    /// <summary>The message or the call that users come online, or leave.</summary>
    public abstract byte[] Change(ReadOnlySpan<int> users, bool online);

    /// <summary>Handles a text without records: returns an answer to send, and whether the connection may be used from now on.</summary>
    public virtual byte[]? Receive(ReadOnlySpan<byte> text, out bool opens)
    {
        opens = false;
        return null;
    }

    protected static string List(ReadOnlySpan<int> users)
    {
        var list = new StringBuilder();
        foreach (var user in users)
            list.Append(list.Length == 0 ? "" : ",").Append(user);
        return list.ToString();
    }
}

/// <summary>Aglow's own messages. Changes are sent over HTTP.</summary>
internal sealed class AglowDialect : Dialect
{
    // a connected user is online, so the connections' own users are not watched
    public const int FirstOwner = 10_000_000;

    public override string Path(int connection) => $"/ws?user_id={FirstOwner + connection}";

    public override byte[] Watch(ReadOnlySpan<int> users) => Frames.WriteText($$"""{"type":"watch","users":[{{List(users)}}]}""");

    public override bool ChangesByHttp => true;

    public override byte[] Change(ReadOnlySpan<int> users, bool online)
    {
        var packed = MemoryMarshal.AsBytes(users);
        return
        [
            .. Encoding.ASCII.GetBytes(
                $"POST {(online ? "/heartbeat" : "/offline")} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/octet-stream\r\n"
                    + $"Content-Length: {packed.Length}\r\n\r\n"), .. packed,
        ];
    }
}

/// <summary>The bare Node server's messages.</summary>
internal sealed class WsDialect : Dialect
{
    public override string Path(int connection) => "/";

    public override byte[] Watch(ReadOnlySpan<int> users) => Frames.WriteText($$"""{"type":"watch","users":[{{List(users)}}]}""");

    public override byte[] Change(ReadOnlySpan<int> users, bool online) =>
        Frames.WriteText($$"""{"type":"{{(online ? "heartbeat" : "leave")}}","users":[{{List(users)}}]}""");
}

/// <summary>SignalR's hub protocol in JSON: texts that end with 0x1E, pings (type 6) in both directions.</summary>
internal sealed class SignalRDialect : Dialect
{
    public override string Path(int connection) => "/hub";

    public override byte[] Opening { get; } = Frames.WriteText("{\"protocol\":\"json\",\"version\":1}\u001e");

    public override bool IsOpenAtOnce => false;

    public override byte[] KeepAlive { get; } = Frames.WriteText("{\"type\":6}\u001e");

    public override byte[] Watch(ReadOnlySpan<int> users) => Invoke("Watch", users);

    public override byte[] Change(ReadOnlySpan<int> users, bool online) => Invoke(online ? "Heartbeat" : "Leave", users);

    public override byte[]? Receive(ReadOnlySpan<byte> text, out bool opens)
    {
        opens = text.StartsWith("{}"u8);
        if (text.IndexOf("\"type\":7"u8) >= 0 || text.IndexOf("\"error\""u8) >= 0)
            throw new BenchmarkException($"the SignalR server says {Encoding.UTF8.GetString(text)}");
        return null;
    }

    private static byte[] Invoke(string method, ReadOnlySpan<int> users) =>
        Frames.WriteText($$"""{"type":1,"target":"{{method}}","arguments":[[{{List(users)}}]]}""" + "\u001e");
}

/// <summary>Engine.IO 4 and Socket.IO 5 as text: 0 open, 40 connect, 42 event, 2 ping, 3 pong.</summary>
internal sealed class SocketIoDialect : Dialect
{
    private readonly byte[] _pong = Frames.WriteText("3");
    private readonly byte[] _connect = Frames.WriteText("40");

    public override string Path(int connection) => "/socket.io/?EIO=4&transport=websocket";

    public override bool IsOpenAtOnce => false;

    public override byte[] Watch(ReadOnlySpan<int> users) => Frames.WriteText($$"""42["watch",[{{List(users)}}]]""");

    public override byte[] Change(ReadOnlySpan<int> users, bool online) =>
        Frames.WriteText($$"""42["{{(online ? "heartbeat" : "leave")}}",[{{List(users)}}]]""");

    public override byte[]? Receive(ReadOnlySpan<byte> text, out bool opens)
    {
        opens = text.StartsWith("40"u8);
        return text is [(byte)'2'] ? _pong : text is [(byte)'0', ..] ? _connect : null;
    }
}
