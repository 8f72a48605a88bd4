using System.Buffers.Text;
using Aglow.Model;
using StackExchange.Redis;

namespace Aglow.Benchmarks;

/// <summary>Runs our own Redis on a free port. By default without persistence, which is its fastest setting.</summary>
internal sealed class RedisServer(Child child, int port) : IDisposable
{
    private ConnectionMultiplexer? _client;

    public int Port => port;

    public int Process => child.Process.Id;

    public static async Task<RedisServer> StartAsync(int cores, string folder, bool durable = false, params string[] flags)
    {
        var port = Programs.FreePort();
        var child = Child.Start(
            Programs.Find("redis-server", "redis-server"), cores, [
                "--port", $"{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly", durable ? "yes" : "no", "--appendfsync",
                "everysec", "--dir", folder, "--loglevel", "warning", .. flags]);
        await Programs.UntilAsync("redis-server", child, () => new Connection(port).Dispose());
        return new RedisServer(child, port);
    }

    /// <summary>The version, for the record.</summary>
    public string Version()
    {
        using var connection = new Connection(Port);
        "INFO server\r\n"u8.CopyTo(connection.Request);
        connection.Send(13);
        var info = System.Text.Encoding.ASCII.GetString(connection.ReceiveLines(5));
        return info.Split('\n').First(l => l.StartsWith("redis_version:", StringComparison.Ordinal))[14..].Trim();
    }

    /// <summary>The usual client, whose connection all callers share.</summary>
    public async Task<IDatabase> ConnectAsync() =>
        (_client ??= await ConnectionMultiplexer.ConnectAsync($"127.0.0.1:{Port},allowAdmin=true")).GetDatabase();

    /// <summary>A number from the server's <c>INFO</c>, by its section and name.</summary>
    public async Task<long> InfoAsync(string section, string name)
    {
        var info = (string)(await (await ConnectAsync()).ExecuteAsync("INFO", section))!;
        return long.Parse(info.Split('\n').First(l => l.StartsWith(name + ":", StringComparison.Ordinal))[(name.Length + 1)..].Trim());
    }

    public void Dispose()
    {
        _client?.Dispose();
        child.Dispose();
    }
}

/// <summary>Writes commands in Redis's protocol into a connection's buffer.</summary>
internal ref struct Resp(Span<byte> to)
{
    private readonly Span<byte> _to = to;

    public int Length { get; private set; }

    public void Array(int count) => Line((byte)'*', count);

    public void Text(scoped ReadOnlySpan<byte> text)
    {
        Line((byte)'$', text.Length);
        text.CopyTo(_to[Length..]);
        Length += text.Length;
        End();
    }

    /// <summary>Writes a text that ends with a number.</summary>
    public void Text(scoped ReadOnlySpan<byte> before, uint number)
    {
        Span<byte> text = stackalloc byte[24];
        before.CopyTo(text);
        Utf8Formatter.TryFormat(number, text[before.Length..], out var digits);
        Text(text[..(before.Length + digits)]);
    }

    /// <summary>Writes the key of a user's page.</summary>
    public void Page(uint user) => Text("p:"u8, (uint)PageLayout.Page(user));

    /// <summary>Writes <c>SET u32 #SLOT WORD</c>, a part of <c>BITFIELD</c>.</summary>
    public void Set(uint user, uint word)
    {
        Text("SET"u8);
        Slot(user);
        Text(""u8, word);
    }

    /// <summary>Writes <c>GET u32 #SLOT</c>, a part of <c>BITFIELD</c>.</summary>
    public void Get(uint user)
    {
        Text("GET"u8);
        Slot(user);
    }

    private void Slot(uint user)
    {
        Text("u32"u8);
        Text("#"u8, (uint)PageLayout.Slot(user));
    }

    private void Line(byte kind, int number)
    {
        _to[Length++] = kind;
        Utf8Formatter.TryFormat(number, _to[Length..], out var digits);
        Length += digits;
        End();
    }

    private void End()
    {
        _to[Length++] = (byte)'\r';
        _to[Length++] = (byte)'\n';
    }
}

/// <summary>
/// <c>SET hb:ID SECOND EX 3600</c>, pipelined. It uses an hour instead of 30 s so that every SET overwrites, as in steady state with a
/// heartbeat every ten seconds. The first SET of a key costs Redis 1.7 times as much.
/// </summary>
internal sealed class RedisSets(People people, int pipelined) : Load
{
    private int _next;
    private uint _second = 1_700_000_000;

    public override string Name => $"Redis SET EX, pipelined by {pipelined}";

    public override void Begin() => _second++;

    public override void Send(Connection connection)
    {
        var resp = new Resp(connection.Request);
        foreach (var user in people.Next(ref _next, pipelined))
        {
            resp.Array(5);
            resp.Text("SET"u8);
            resp.Text("hb:"u8, user);
            resp.Text(""u8, _second);
            resp.Text("EX"u8);
            resp.Text("3600"u8);
        }

        connection.Send(resp.Length);
    }

    public override int Receive(Connection connection)
    {
        var answer = connection.ReceiveBytes(pipelined * 5);
        if (answer.Count("+OK\r\n"u8) != pipelined)
            throw new BenchmarkException("Redis refused a SET.");
        return pipelined;
    }

    public override void Check(Connection connection, DateTimeOffset began)
    {
        var users = people.Before(_next, 1000);
        for (var i = 0; i < users.Length; i += 100)
        {
            var some = users.Slice(i, Math.Min(100, users.Length - i));
            connection.Send(RedisGets.Write(connection, some));
            var answer = connection.ReceiveLines(1 + (2 * some.Length));
            if (answer.Count(System.Text.Encoding.ASCII.GetBytes($"{_second}\r\n")) != some.Length)
                throw new BenchmarkException("a SET went missing in Redis.");
        }
    }
}

/// <summary><c>BITFIELD p:PAGE SET u32 #SLOT WORD …</c> with many words per command, all of one page: the best layout in Redis.</summary>
internal sealed class RedisBitfields : Load
{
    private readonly uint[] _users;
    private readonly int _words;
    private int _next;
    private uint _second = 200_000_000;

    public RedisBitfields(People people, int words)
    {
        _words = words;
        // the same users, page by page, one command for each page in turn
        var position = 0;
        var commands = people.Next(ref position, people.Count).ToArray()
            .GroupBy(PageLayout.Page)
            .SelectMany(page => page.Chunk(words).Where(chunk => chunk.Length == words))
            .ToArray();
        new Random(3).Shuffle(commands);
        _users = [.. commands.SelectMany(command => command)];
    }

    public override string Name => $"Redis BITFIELD SET, {_words} words a command";

    public override void Begin() => _second++;

    public override void Send(Connection connection)
    {
        if (_next == _users.Length)
            _next = 0;
        var users = _users.AsSpan(_next, _words);
        _next += _words;
        var resp = new Resp(connection.Request);
        resp.Array(2 + (4 * _words));
        resp.Text("BITFIELD"u8);
        resp.Page(users[0]);
        foreach (var user in users)
            resp.Set(user, _second);
        connection.Send(resp.Length);
    }

    public override int Receive(Connection connection)
    {
        if (!connection.ReceiveLines(_words + 1).StartsWith("*"u8))
            throw new BenchmarkException("Redis refused a BITFIELD.");
        return _words;
    }

    public override void Check(Connection connection, DateTimeOffset began)
    {
        var user = _users[_next - 1];
        var resp = new Resp(connection.Request);
        resp.Array(5);
        resp.Text("BITFIELD"u8);
        resp.Page(user);
        resp.Get(user);
        connection.Send(resp.Length);
        if (!connection.ReceiveLines(2).EndsWith(System.Text.Encoding.ASCII.GetBytes($":{_second}\r\n")))
            throw new BenchmarkException("a BITFIELD SET went missing in Redis.");
    }
}

/// <summary><c>BITFIELD p:PAGE SET u32 #SLOT WORD</c>, one heartbeat a command, pipelined.</summary>
internal sealed class RedisSingleBitfields(People people, int pipelined) : Load
{
    private int _next;
    private uint _second = 200_000_000;

    public override string Name => $"Redis BITFIELD SET, a word a command, pipelined by {pipelined}";

    public override void Begin() => _second++;

    public override void Send(Connection connection)
    {
        var resp = new Resp(connection.Request);
        foreach (var user in people.Next(ref _next, pipelined))
        {
            resp.Array(6);
            resp.Text("BITFIELD"u8);
            resp.Page(user);
            resp.Set(user, _second);
        }

        connection.Send(resp.Length);
    }

    public override int Receive(Connection connection)
    {
        if (connection.ReceiveLines(2 * pipelined).Count("*1\r\n:"u8) != pipelined)
            throw new BenchmarkException("Redis refused a BITFIELD.");
        return pipelined;
    }
}

/// <summary><c>BITFIELD_RO p:PAGE GET u32 #SLOT …</c>: random users, one command per page, as nodes read them.</summary>
internal sealed class RedisBitfieldGets(People people, int users) : Load
{
    // per connection, the lines of the answer: one per command and one per word
    private readonly Dictionary<Connection, int> _lines = [];
    private int _next;

    public override string Name => $"Redis BITFIELD_RO GET, {users} users by page";

    public override void Send(Connection connection)
    {
        var resp = new Resp(connection.Request);
        var lines = users;
        foreach (var page in people.Next(ref _next, users).ToArray().GroupBy(PageLayout.Page))
        {
            var words = page.ToArray();
            resp.Array(2 + (3 * words.Length));
            resp.Text("BITFIELD_RO"u8);
            resp.Page(words[0]);
            foreach (var user in words)
                resp.Get(user);
            lines++;
        }

        _lines[connection] = lines;
        connection.Send(resp.Length);
    }

    public override int Receive(Connection connection)
    {
        // users who were never written read as 0
        var answer = connection.ReceiveLines(_lines[connection]);
        if (answer.Count("\n:"u8) != users || answer.IndexOf(":0\r"u8) >= 0)
            throw new BenchmarkException("Redis did not know a user.");
        return users;
    }
}

/// <summary>
/// <c>GETRANGE p:PAGE FIRST LAST</c>: the four bytes of a word, one command each. Tested as a replacement of BITFIELD_RO for users who
/// rarely share a page.
/// </summary>
internal sealed class RedisRanges(People people, int users) : Load
{
    private int _next;

    public override string Name => $"Redis GETRANGE, {users} users, a command each";

    public override void Send(Connection connection)
    {
        var resp = new Resp(connection.Request);
        foreach (var user in people.Next(ref _next, users))
        {
            resp.Array(4);
            resp.Text("GETRANGE"u8);
            resp.Page(user);
            resp.Text(""u8, (uint)PageLayout.Slot(user) * 4);
            resp.Text(""u8, ((uint)PageLayout.Slot(user) * 4) + 3);
        }

        connection.Send(resp.Length);
    }

    public override int Receive(Connection connection)
    {
        // $4, and four arbitrary bytes
        var answer = connection.ReceiveBytes(users * 10);
        for (var i = 0; i < users; i++)
        {
            if (!answer[(i * 10)..].StartsWith("$4\r\n"u8))
                throw new BenchmarkException("Redis did not know a user.");
        }

        return users;
    }
}

/// <summary><c>MGET hb:ID …</c> with many keys per command.</summary>
internal sealed class RedisGets(People people, int keys) : Load
{
    private int _next;

    public override string Name => $"Redis MGET, {keys} keys a command";

    public override void Send(Connection connection) => connection.Send(Write(connection, people.Next(ref _next, keys)));

    public override int Receive(Connection connection)
    {
        // *100, then $10 and ten digits for each key: all keys exist
        var answer = connection.ReceiveBytes(3 + $"{keys}".Length + (keys * 17));
        if (answer.Count("$10\r\n"u8) != keys)
            throw new BenchmarkException("Redis did not know a user.");
        return keys;
    }

    public static int Write(Connection connection, ReadOnlySpan<uint> users)
    {
        var resp = new Resp(connection.Request);
        resp.Array(users.Length + 1);
        resp.Text("MGET"u8);
        foreach (var user in users)
            resp.Text("hb:"u8, user);
        return resp.Length;
    }
}
