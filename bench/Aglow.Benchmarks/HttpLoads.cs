using System.Buffers.Text;
using System.Runtime.InteropServices;
using Aglow.Model;

namespace Aglow.Benchmarks;

/// <summary>One user's heartbeat per request, or the same request to an endpoint that does nothing.</summary>
internal sealed class OneHeartbeat(People people, bool nothing) : Load
{
    private int _next;

    public override string Name => nothing ? "POST /nothing" : "POST /heartbeat, one user";

    public override void Send(Connection connection)
    {
        var length = connection.Head("POST", nothing ? "/nothing" : "/heartbeat", "application/json", 20);
        var body = connection.Request.AsSpan(connection.BodyAt);
        "{\"user_id\":"u8.CopyTo(body);
        Utf8Formatter.TryFormat(people.Next(ref _next, 1)[0], body[11..], out _);
        body[19] = (byte)'}';
        connection.Send(length);
    }

    public override int Receive(Connection connection)
    {
        var body = connection.ReceiveHttp();
        if (nothing ? !body.IsEmpty : !body.StartsWith("{\"status\":\"success\""u8))
            throw new BenchmarkException($"an unexpected answer of {body.Length} bytes.");
        return 1;
    }

    public override void Check(Connection connection, DateTimeOffset began)
    {
        if (!nothing)
            Statuses.ExpectSeen(connection, people.Before(_next, 1000), began);
    }
}

/// <summary>A heartbeat of the connection's own user.</summary>
internal sealed class OwnHeartbeat : Load
{
    public override string Name => "POST /heartbeat, one's own";

    public override void Send(Connection connection)
    {
        var body = $"{{\"user_id\":{connection.User}}}";
        var length = connection.Head("POST", "/heartbeat", "application/json", body.Length);
        System.Text.Encoding.ASCII.GetBytes(body, connection.Request.AsSpan(connection.BodyAt));
        connection.Send(length);
    }

    public override int Receive(Connection connection) => connection.ReceiveHttp().StartsWith("{\"status\":\"success\""u8)
        ? 1
        : throw new BenchmarkException("a heartbeat was not accepted.");
}

/// <summary>Packed heartbeats.</summary>
internal sealed class PackedHeartbeats(People people, int batch) : Load
{
    private readonly byte[] _expected = System.Text.Encoding.ASCII.GetBytes($"{{\"status\":\"success\",\"accepted\":{batch}}}");
    private int _next;

    public override string Name => $"POST /heartbeat, {batch:#,0} packed";

    public override void Send(Connection connection)
    {
        var length = connection.Head("POST", "/heartbeat", "application/octet-stream", batch * 4);
        MemoryMarshal.AsBytes(people.Next(ref _next, batch)).CopyTo(connection.Request.AsSpan(connection.BodyAt));
        connection.Send(length);
    }

    public override int Receive(Connection connection)
    {
        if (!connection.ReceiveHttp().SequenceEqual(_expected))
            throw new BenchmarkException("packed heartbeats were not all accepted.");
        return batch;
    }

    public override void Check(Connection connection, DateTimeOffset began) =>
        Statuses.ExpectSeen(connection, people.Before(_next, 100_000), began);
}

/// <summary>Statuses in batches, in one of the forms of request.</summary>
internal sealed class Statuses(People people, int batch, Statuses.Form form) : Load
{
    private int _next;

    /// <summary>The forms of a batch.</summary>
    public enum Form
    {
        /// <summary><c>[{"user_id":X},…]</c></summary>
        Objects,

        /// <summary><c>{"user_ids":[X,…]}</c></summary>
        List,

        /// <summary>Four bytes per user, in the request and in the answer.</summary>
        Packed,
    }

    public override string Name =>
        $"POST /status/batch, {batch:#,0} {(form == Form.Packed ? "packed" : form == Form.List ? "as JSON list" : "as JSON objects")}";

    public override void Send(Connection connection)
    {
        var users = people.Next(ref _next, batch);
        var length = form switch
        {
            Form.Packed => Packed(connection, users),
            Form.List => List(connection, users),
            _ => Objects(connection, users),
        };
        connection.Send(length);
    }

    public override int Receive(Connection connection)
    {
        var body = connection.ReceiveHttp();
        var online = form == Form.Packed
            ? MemoryMarshal.Cast<byte, int>(body).ToArray().Count(int.IsNegative)
            : body.Count("\"is_online\":true"u8);
        if (online != batch)
            throw new BenchmarkException($"{online} of {batch} users were shown online.");
        return batch;
    }

    /// <summary>Reads when these users were last seen, and expects that it was after the beginning of a leg.</summary>
    public static void ExpectSeen(Connection connection, ReadOnlySpan<uint> users, DateTimeOffset since)
    {
        connection.Send(Packed(connection, users));
        // the server's clock counts from its start, so it may differ from ours by a second
        var oldest = Pulse.FromUnix(since.ToUnixTimeSeconds()) - 1;
        var seen = 0;
        foreach (var word in MemoryMarshal.Cast<byte, uint>(connection.ReceiveHttp()))
            seen += Pulse.Left(word) && Pulse.Second(word) >= oldest ? 1 : 0;
        if (seen != users.Length)
            throw new BenchmarkException($"of {users.Length} users with a heartbeat, {users.Length - seen} were not seen.");
    }

    private static int Packed(Connection connection, ReadOnlySpan<uint> users)
    {
        var length = connection.Head("POST", "/status/batch", "application/octet-stream", users.Length * 4);
        MemoryMarshal.AsBytes(users).CopyTo(connection.Request.AsSpan(connection.BodyAt));
        return length;
    }

    private static int List(Connection connection, ReadOnlySpan<uint> users)
    {
        var length = connection.Head("POST", "/status/batch", "application/json", 14 + (users.Length * 9));
        var at = connection.Request.AsSpan(connection.BodyAt);
        "{\"user_ids\":["u8.CopyTo(at);
        at = at[13..];
        foreach (var user in users)
        {
            Utf8Formatter.TryFormat(user, at, out _);
            at[8] = (byte)',';
            at = at[9..];
        }

        // replaces the last comma
        "]}"u8.CopyTo(connection.Request.AsSpan(length - 2));
        return length;
    }

    private static int Objects(Connection connection, ReadOnlySpan<uint> users)
    {
        var length = connection.Head("POST", "/status/batch", "application/json", 1 + (users.Length * 21));
        var at = connection.Request.AsSpan(connection.BodyAt);
        at[0] = (byte)'[';
        at = at[1..];
        foreach (var user in users)
        {
            "{\"user_id\":"u8.CopyTo(at);
            Utf8Formatter.TryFormat(user, at[11..], out _);
            "},"u8.CopyTo(at[19..]);
            at = at[21..];
        }

        connection.Request[length - 1] = (byte)']';
        return length;
    }
}

/// <summary>One status per request, twenty in a row, as people's apps do it.</summary>
internal sealed class SingleStatuses(People people, int count) : Load
{
    private int _next;

    public override string Name => $"GET /status/ID, {count} times";

    public override void Send(Connection connection) => SendRequest(connection);

    public override int Receive(Connection connection)
    {
        for (var i = 0; i < count; i++)
        {
            if (connection.ReceiveHttp().IndexOf("\"is_online\":true"u8) < 0)
                throw new BenchmarkException("a user was not shown online.");
            if (i + 1 < count)
                SendRequest(connection);
        }

        return 1;
    }

    private void SendRequest(Connection connection) =>
        connection.Send(connection.Head("GET", $"/status/{people.Next(ref _next, 1)[0]}", contentType: null, 0));
}

/// <summary>A batch of twenty as one operation, with the time of each batch.</summary>
internal sealed class OneBatch(People people, int count) : Load
{
    private readonly Statuses _batch = new(people, count, Statuses.Form.Objects);
    private long _sentAt;

    public List<double> Milliseconds { get; } = [];

    public override string Name => $"POST /status/batch, {count} at once";

    public override void Begin() => Milliseconds.Clear();

    public override void Send(Connection connection)
    {
        _sentAt = System.Diagnostics.Stopwatch.GetTimestamp();
        _batch.Send(connection);
    }

    public override int Receive(Connection connection)
    {
        _batch.Receive(connection);
        Milliseconds.Add(System.Diagnostics.Stopwatch.GetElapsedTime(_sentAt).TotalMilliseconds);
        return 1;
    }
}
