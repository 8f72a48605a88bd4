using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;

namespace Aglow.Benchmarks.Sockets;

/// <summary>
/// Thousands of watchers, and the changes that they should get: a separate process with one thread and its own system calls.
/// </summary>
/// <remarks>
/// Commands are lines on standard input; each is answered with a line of JSON. Between commands it continues to answer pings. Changes are
/// an open loop: the lag of a delivery counts from when its change was due, even if the change was sent late. Missing deliveries count as
/// infinitely late. The last record of each watcher is compared with the real state.
/// </remarks>
internal sealed class LoadGenerator(Dialect dialect, int port, int server, int firstCallsPort)
{
    /// <summary>The hidden verb: <c>fanout-load SERVER PORT SERVER_PROCESS [PORT_FOR_CHANGES]</c>.</summary>
    public const string Verb = "fanout-load";

    /// <summary>The format of answers: lags may be infinite.</summary>
    public static readonly JsonSerializerOptions Json = new()
    {
        PropertyNamingPolicy = JsonNamingPolicy.SnakeCaseLower,
        NumberHandling = JsonNumberHandling.AllowNamedFloatingPointLiterals,
    };

    // the answer to a command that has no other
    private static readonly object Done = new { };

    private const int MostAtOnce = 1000;
    private const int MostConnecting = 256;
    // an answer may take the 50 ms of a commit, and a call that waits for a connection counts as lag
    private const int MostCalls = 256;
    // changes are sent this often, in one message, unless a run names another interval; the wait counts as lag
    private const int QuantumMilliseconds = 10;

    // at most this many changes a second are quiet: the generator then wakes for each event
    private const int QuietRate = 100;
    private static readonly TimeSpan KeepAliveInterval = TimeSpan.FromSeconds(10);

    // the port for changes: another node's port, if that is measured
    private int _callsPort = firstCallsPort;
    private readonly int _poll = Kernel.NewPoll();
    private readonly Kernel.Event[] _events = new Kernel.Event[256];
    private readonly byte[] _buffer = new byte[4 * 1024 * 1024];
    private readonly List<Connection?> _connections = [];
    private readonly Stack<int> _freeTags = new();
    private readonly List<Connection> _idleCalls = [];
    private readonly Queue<byte[]> _waitingCalls = new();
    private readonly BlockingCollection<string> _commands = [];
    // of arrivals, or of the ends of leases
    private readonly Lags _lags = new();
    private Connection? _publisher;
    private WatchPlan? _plan;
    private bool[] _online = [];
    private long[] _onlineAt = [];
    private long _keptAliveAt = Stopwatch.GetTimestamp();
    private int _sockets;
    private int _connecting;
    private int _ready;
    private int _calls;
    private bool _isLapsing;
    private long _deliveries;
    private long _frames;
    private long _lost;

    /// <summary>Runs until standard input ends.</summary>
    public static int Run(string[] args)
    {
        var generator = new LoadGenerator(
            Dialect.Of(args[0]), int.Parse(args[1]), int.Parse(args[2]), int.Parse(args.Length > 3 ? args[3] : args[1]));
        var reader = new Thread(generator.ReadCommands) { IsBackground = true };
        reader.Start();
        while (!generator._commands.IsCompleted)
        {
            generator.Pump(mayNap: true);
            while (generator._commands.TryTake(out var command))
                generator.Answer(command);
        }

        return 0;
    }

    private void ReadCommands()
    {
        while (Console.ReadLine() is { } line)
            _commands.Add(line);
        _commands.CompleteAdding();
    }

    private void Answer(string command)
    {
        object answer;
        try
        {
            var words = command.Split(' ');
            var numbers = words.Skip(1).Select(int.Parse).ToArray();
            answer = words[0] switch
            {
                "connect" => Connect(numbers[0], numbers[1], numbers[2], numbers[3]),
                "heartbeat" => Heartbeat(numbers[0], numbers[1]),
                "calls" => CallAt(numbers[0]),
                "run" => Run(numbers[0], numbers[1], numbers.Length > 2 ? numbers[2] : QuantumMilliseconds),
                "flip" => Flip(numbers[0]),
                "lapse" => Lapse(numbers[0], numbers[1]),
                "state" => new { ready = _ready },
                _ => throw new BenchmarkException($"unknown command {command}"),
            };
        }
        catch (BenchmarkException failed)
        {
            answer = new { error = failed.Message };
        }

        Console.WriteLine(JsonSerializer.Serialize(answer, Json));
    }

    // ---- commands -------------------------------------------------------------------------------------------------------------

    // Opens more sockets. Each watches this many users, numbered from <c>first</c>.
    private object Connect(int sockets, int watching, int users, int first)
    {
        _plan = watching == 0 ? null : new WatchPlan(sockets, watching, users, first);
        Array.Resize(ref _online, Math.Max(_online.Length, first + users));
        Array.Resize(ref _onlineAt, _online.Length);
        var goal = _ready + sockets;
        var opened = 0;
        Until(TimeSpan.FromSeconds(120), $"{sockets} sockets to be ready", () =>
        {
            for (; opened < sockets && _connecting < MostConnecting; opened++)
                OpenSocket(_plan, opened);
            return _ready == goal;
        });
        return Done;
    }

    // Sends a heartbeat of each of these users, before they are watched.
    private object Heartbeat(int first, int count)
    {
        SendChanges([.. Enumerable.Range(first, count)], online: true);
        UntilAnswered();
        return Done;
    }

    // From now on, changes go to this port.
    private object CallAt(int port)
    {
        UntilAnswered();
        while (_idleCalls is [.., var idle])
            Lose(idle);
        _callsPort = port;
        return Done;
    }

    // Makes changes at this rate for this time: half of them arrivals, half leaves. It sends the changes that are due once a quantum.
    private object Run(int rate, int seconds, int quantum)
    {
        var plan = Plan();
        var fanout = plan.Watching * SocketsOf(plan) / plan.Users;
        // A user comes, stays for half a round and leaves. That is within the lease, so no user needs a second heartbeat.
        var active = Math.Min(plan.Users, 8 * rate) & ~1;
        var order = Enumerable.Range(plan.First, plan.Users).ToArray();
        new Random(13).Shuffle(order);
        order = order[..active];

        // half of them are online before it begins
        var goal = _deliveries + ((long)active / 2 * fanout);
        Change(order.AsSpan(0, active / 2), online: true);
        Settle(goal);
        UntilAnswered();
        _lags.Clear();

        var (before, frames) = (_deliveries, _frames);
        var (serverCpu, loadCpu) = (Cpu.Of(server), Cpu.OfThisProcess());
        var steps = (long)rate * seconds / 2;
        var stepTicks = 2.0 * Stopwatch.Frequency / rate;
        var start = Stopwatch.GetTimestamp();
        var arrivals = new List<int>();
        var leaves = new List<int>();
        var nextBatch = start;
        for (long step = 0; step < steps;)
        {
            var now = Stopwatch.GetTimestamp();
            if (now < nextBatch || now < start + (long)(step * stepTicks))
            {
                Pump(mayNap: true, isQuiet: rate <= QuietRate);
                continue;
            }

            nextBatch = now + (quantum * Stopwatch.Frequency / 1000);
            arrivals.Clear();
            leaves.Clear();
            for (; step < steps && start + (long)(step * stepTicks) <= now; step++)
            {
                var at = start + (long)(step * stepTicks);
                var (comes, goes) = (order[(int)((step + (active / 2)) % active)], order[(int)(step % active)]);
                (_online[comes], _onlineAt[comes]) = (true, at);
                _online[goes] = false;
                arrivals.Add(comes);
                leaves.Add(goes);
            }

            SendChanges(CollectionsMarshal.AsSpan(arrivals), online: true);
            SendChanges(CollectionsMarshal.AsSpan(leaves), online: false);
            Pump(mayNap: false);
        }

        var sending = Stopwatch.GetElapsedTime(start).TotalSeconds;
        var inTime = _deliveries - before;
        var expected = 2 * steps * fanout;
        Settle(before + expected);
        var missing = expected - (_deliveries - before);
        var result = new FanoutLeg(
            Offered: rate,
            Deliveries: _deliveries - before,
            DeliveriesPerSecond: inTime / sending,
            Frames: _frames - frames,
            Missing: missing,
            Seconds: sending,
            ServerCpu: Cpu.Of(server) - serverCpu,
            LoadCpu: Cpu.OfThisProcess() - loadCpu,
            ArrivalP50: _lags.Quantile(0.5, missing / 2),
            ArrivalP99: _lags.Quantile(0.99, missing / 2),
            ArrivalP999: _lags.Quantile(0.999, missing / 2),
            ArrivalMax: _lags.Longest(missing / 2),
            Lost: _lost);

        // all users leave, and all watchers get that
        var still = order.Where(user => _online[user]).ToArray();
        goal = _deliveries + ((long)still.Length * fanout);
        Change(still, online: false);
        Settle(goal);
        if (WrongWords() is > 0 and var wrong)
        {
            // waits, to tell late records from lost ones
            Rest(TimeSpan.FromSeconds(15));
            throw new BenchmarkException(
                $"the last records of {wrong} watchers are wrong at the end, and {WrongWords()} 15 s later: no figure of this run counts.");
        }

        return result;
    }

    // All watched users come at once and leave at once, several times. Returns the milliseconds until the last watcher got the arrivals.
    private object Flip(int rounds)
    {
        var plan = Plan();
        var all = Enumerable.Range(plan.First, plan.Users).ToArray();
        var records = (long)plan.Watching * SocketsOf(plan);
        var arrivals = new List<double>();
        for (var round = 0; round < rounds; round++)
        {
            foreach (var online in new[] { true, false })
            {
                _lags.Clear();
                var goal = _deliveries + records;
                Change(all, online);
                Settle(goal);
                if (WrongWords() is > 0 and var wrong)
                    throw new BenchmarkException($"{wrong} watchers' last records are wrong: no figure of this run counts.");
                if (online)
                    arrivals.Add(_lags.Longest(goal - _deliveries));
                Rest(TimeSpan.FromMilliseconds(300 + (37 * round % 100)));
            }
        }

        return new FlipLeg(arrivals);
    }

    // Many users stay online. The users of the plan send one heartbeat and vanish. Returns the lags of their offline notices.
    private object Lapse(int online, int lease)
    {
        var plan = Plan();
        var others = Enumerable.Range(20_000_000, online).ToArray();
        var all = Enumerable.Range(plan.First, plan.Users).ToArray();
        _lags.Clear();
        _isLapsing = true;
        var goal = _deliveries + (2L * plan.Watching * SocketsOf(plan));
        var keptAt = Stopwatch.GetTimestamp();
        SendChanges(others, online: true, atOnce: 500_000);
        UntilAnswered();
        // spread over two seconds, so that every fraction of a second occurs
        foreach (var some in all.Chunk(Math.Max(1, all.Length / 200)))
        {
            Change(some, online: true);
            // they are offline when all is told
            foreach (var user in some)
                _online[user] = false;
            Rest(TimeSpan.FromMilliseconds(10));
        }

        Pump(TimeSpan.FromSeconds(lease + 15), () =>
        {
            if (Stopwatch.GetElapsedTime(keptAt) > KeepAliveInterval)
            {
                keptAt = Stopwatch.GetTimestamp();
                SendChanges(others, online: true, atOnce: 500_000);
            }

            return _deliveries >= goal;
        });
        _isLapsing = false;
        var missing = goal - _deliveries;
        return new LapseLeg(WrongWords(), _lags.Quantile(0.5, missing), _lags.Quantile(0.99, missing), _lags.Longest(missing));
    }

    // ---- changes --------------------------------------------------------------------------------------------------------------

    private WatchPlan Plan() => _plan ?? throw new BenchmarkException("there are no watchers: connect first.");

    private int SocketsOf(WatchPlan plan) => _connections.Count(c => c?.Plan == plan);

    private void Change(ReadOnlySpan<int> users, bool online)
    {
        var now = Stopwatch.GetTimestamp();
        foreach (var user in users)
            (_online[user], _onlineAt[user]) = (online, now);
        SendChanges(users, online);
    }

    private void SendChanges(ReadOnlySpan<int> users, bool online, int atOnce = 10 * MostAtOnce)
    {
        if (!dialect.ChangesByHttp)
            atOnce = MostAtOnce;
        for (; !users.IsEmpty; users = users[Math.Min(atOnce, users.Length)..])
        {
            var change = dialect.Change(users[..Math.Min(atOnce, users.Length)], online);
            if (dialect.ChangesByHttp)
                Call(change);
            else
                Send(_publisher ??= OpenPublisher(), change);
        }
    }

    private void Call(byte[] call)
    {
        if (_idleCalls is [.., var connection])
        {
            _idleCalls.RemoveAt(_idleCalls.Count - 1);
            connection.IsRequested = true;
            Send(connection, call);
            return;
        }

        _waitingCalls.Enqueue(call);
        if (_calls < MostCalls)
            OpenCall();
    }

    private void UntilAnswered() => Until(
        TimeSpan.FromSeconds(60),
        "an answer",
        () => _idleCalls.Count == _calls && _waitingCalls.Count == 0 && _publisher?.Unsent is null);

    // Waits until all records have arrived, or none has for three seconds.
    private void Settle(long goal)
    {
        var (last, lastAt) = (_deliveries, Stopwatch.GetTimestamp());
        Pump(TimeSpan.FromSeconds(60), () =>
        {
            if (_deliveries != last)
                (last, lastAt) = (_deliveries, Stopwatch.GetTimestamp());
            return _deliveries >= goal || Stopwatch.GetElapsedTime(lastAt).TotalSeconds >= 3;
        });
    }

    private long WrongWords() => Plan().Wrong(SocketsOf(Plan()), user => _online[user]);

    private void Rest(TimeSpan time) => Pump(time, static () => false);

    private void Until(TimeSpan patience, string what, Func<bool> done)
    {
        if (!Pump(patience, done))
            throw new BenchmarkException(
                $"waited {patience.TotalSeconds:0} s for {what}: {_ready} sockets are ready, {_connecting} on the way, {_lost} lost.");
    }

    // Returns whether the condition held before the time was over.
    private bool Pump(TimeSpan patience, Func<bool> done)
    {
        for (var began = Stopwatch.GetTimestamp(); !done(); Pump(mayNap: true))
        {
            if (Stopwatch.GetElapsedTime(began) > patience)
                return false;
        }

        return true;
    }

    // ---- connections ----------------------------------------------------------------------------------------------------------

    private Connection Open(int port)
    {
        var tag = _freeTags.TryPop(out var free) ? free : _connections.Count;
        // several addresses, because the number of ports per address is limited
        var connection = new Connection(tag, Kernel.Connect(2 + (_sockets++ % 8), port));
        if (tag == _connections.Count)
            _connections.Add(connection);
        else
            _connections[tag] = connection;
        Kernel.Add(_poll, connection.Descriptor, tag, Kernel.Writable);
        return connection;
    }

    private void OpenSocket(WatchPlan? plan, int socket)
    {
        _connecting++;
        var connection = Open(port);
        connection.Plan = plan;
        connection.Socket = socket;
        connection.Awaited = plan?.Watching ?? 0;
    }

    private Connection OpenPublisher()
    {
        _connecting++;
        var connection = Open(port);
        var ready = _ready + 1;
        Until(TimeSpan.FromSeconds(10), "the publisher's connection", () => _ready == ready);
        _ready--;
        return connection;
    }

    private void OpenCall()
    {
        var connection = Open(_callsPort);
        connection.IsHttp = true;
        _calls++;
    }

    private void Lose(Connection connection)
    {
        if (connection.Phase == Phase.Lost)
            return;
        var was = connection.Phase;
        connection.Phase = Phase.Lost;
        Kernel.Reset(connection.Descriptor);
        _connections[connection.Tag] = null;
        _freeTags.Push(connection.Tag);
        if (connection.IsHttp)
        {
            // a server may close an idle connection, but must not close one with a pending answer
            if (connection.IsRequested || was == Phase.Connecting)
                throw new BenchmarkException("the server closed a connection before it had answered.");
            _calls--;
            _idleCalls.Remove(connection);
        }
        else
        {
            _lost++;
            if (was == Phase.Ready)
                _ready--;
            else
                _connecting--;
        }
    }

    private void Pump(bool mayNap, bool isQuiet = false)
    {
        var count = Kernel.Poll(_poll, _events, isQuiet ? 1 : 0);
        if (count == 0 && mayNap && !isQuiet)
        {
            // It sleeps instead of waiting. The first byte of every flush would wake a waiting thread, and on one machine the server pays
            // for that. A watcher on another machine would cost the server nothing.
            Kernel.Nap();
            count = Kernel.Poll(_poll, _events, 0);
        }

        for (var i = 0; i < count; i++)
        {
            var connection = _connections[_events[i].Tag];
            if (connection is null)
                continue;
            if (connection.Phase == Phase.Connecting)
                Connected(connection);
            else if ((_events[i].Events & Kernel.Writable) != 0 && connection.Unsent is { } unsent)
                Send(connection, unsent, again: true);
            if ((_events[i].Events & ~Kernel.Writable) != 0 && connection.Phase is not (Phase.Connecting or Phase.Lost))
                Receive(connection);
        }

        if (dialect.KeepAlive is { } alive && Stopwatch.GetElapsedTime(_keptAliveAt) > KeepAliveInterval)
        {
            _keptAliveAt = Stopwatch.GetTimestamp();
            foreach (var connection in _connections.OfType<Connection>().Where(static one => one.Phase == Phase.Ready).ToArray())
                Send(connection, alive);
        }
    }

    private void Connected(Connection connection)
    {
        Kernel.Change(_poll, connection.Descriptor, connection.Tag, Kernel.Readable);
        if (connection.IsHttp)
        {
            connection.Phase = Phase.Ready;
            NextCall(connection);
            return;
        }

        connection.Phase = Phase.Upgrading;
        Send(connection, Frames.Upgrade(dialect.Path(connection.Tag)));
    }

    private void NextCall(Connection connection)
    {
        connection.IsRequested = _waitingCalls.TryDequeue(out var call);
        if (connection.IsRequested)
            Send(connection, call!);
        else
            _idleCalls.Add(connection);
    }

    private void Send(Connection connection, byte[] bytes, bool again = false)
    {
        if (!again && connection.Unsent is { } before)
        {
            connection.Unsent = [.. before, .. bytes];
            return;
        }

        var sent = Kernel.Send(connection.Descriptor, bytes);
        if (sent < 0)
        {
            Lose(connection);
            return;
        }

        if (sent == bytes.Length)
        {
            if (again)
                Kernel.Change(_poll, connection.Descriptor, connection.Tag, Kernel.Readable);
            connection.Unsent = null;
            return;
        }

        connection.Unsent = bytes[sent..];
        if (!again)
            Kernel.Change(_poll, connection.Descriptor, connection.Tag, Kernel.Readable | Kernel.Writable);
    }

    // ---- receiving ------------------------------------------------------------------------------------------------------------

    private void Receive(Connection connection)
    {
        var rest = connection.Rest?.Length ?? 0;
        connection.Rest?.CopyTo(_buffer, 0);
        connection.Rest = null;
        // the rest waits for the next call
        var room = Math.Min(_buffer.Length - rest, 256 * 1024);
        var received = Kernel.Receive(connection.Descriptor, _buffer.AsSpan(rest, room));
        if (received == 0)
        {
            Lose(connection);
            return;
        }

        received = Math.Max(0, received);
        var now = Stopwatch.GetTimestamp();
        ReadOnlySpan<byte> bytes = _buffer.AsSpan(0, rest + received);
        if (connection.IsHttp)
            bytes = ReadAnswer(connection, bytes);
        else if (connection.Phase == Phase.Upgrading)
            bytes = ReadUpgrade(connection, bytes);
        if (!connection.IsHttp && connection.Phase > Phase.Upgrading)
            bytes = ReadFrames(connection, bytes, now);
        if (!bytes.IsEmpty && connection.Phase != Phase.Lost)
            connection.Rest = bytes.ToArray();
    }

    private ReadOnlySpan<byte> ReadAnswer(Connection connection, ReadOnlySpan<byte> bytes)
    {
        var head = bytes.IndexOf("\r\n\r\n"u8);
        if (head < 0)
            return bytes;
        var length = bytes.IndexOf("Content-Length: "u8);
        var body = 0;
        if (length >= 0 && length < head)
            _ = Utf8Parser.TryParse(bytes[(length + 16)..], out body, out _);
        if (bytes.Length < head + 4 + body)
            return bytes;
        if (!bytes.StartsWith("HTTP/1.1 200"u8))
            throw new BenchmarkException($"the server says: {Encoding.UTF8.GetString(bytes[..(head + 4 + body)])}");
        NextCall(connection);
        return bytes[(head + 4 + body)..];
    }

    private ReadOnlySpan<byte> ReadUpgrade(Connection connection, ReadOnlySpan<byte> bytes)
    {
        var head = bytes.IndexOf("\r\n\r\n"u8);
        if (head < 0)
            return bytes;
        if (!bytes.StartsWith("HTTP/1.1 101"u8))
            throw new BenchmarkException($"the server does not upgrade: {Encoding.UTF8.GetString(bytes[..head])}");
        connection.Phase = Phase.Opening;
        if (dialect.Opening is { } opening)
            Send(connection, opening);
        if (dialect.IsOpenAtOnce)
            Opened(connection);
        return bytes[(head + 4)..];
    }

    private void Opened(Connection connection)
    {
        connection.Phase = Phase.Watching;
        if (connection.Plan is not { } plan)
        {
            Ready(connection);
            return;
        }

        for (var users = plan.Of(connection.Socket); !users.IsEmpty; users = users[Math.Min(MostAtOnce, users.Length)..])
            Send(connection, dialect.Watch(users[..Math.Min(MostAtOnce, users.Length)]));
    }

    private void Ready(Connection connection)
    {
        connection.Phase = Phase.Ready;
        _connecting--;
        _ready++;
    }

    private ReadOnlySpan<byte> ReadFrames(Connection connection, ReadOnlySpan<byte> bytes, long now)
    {
        while (connection.Phase != Phase.Lost && Frames.Read(bytes, out var opcode, out var payload) is > 0 and var length)
        {
            bytes = bytes[length..];
            if (opcode == Frames.Ping)
                Send(connection, Frames.Write(Frames.Pong, payload));
            else if (opcode == Frames.Close)
                Lose(connection);
            else if (opcode == Frames.Text)
                ReceiveText(connection, payload, now);
        }

        return bytes;
    }

    private void ReceiveText(Connection connection, ReadOnlySpan<byte> text, long now)
    {
        _frames++;
        var records = 0;
        while (connection.Plan is { } plan && Frames.NextRecord(ref text, out var user, out var isOnline))
        {
            records++;
            ReceiveRecord(connection, plan, user, isOnline, text, now);
        }

        if (records > 0)
            return;
        if (dialect.Receive(text, out var opens) is { } answer)
            Send(connection, answer);
        if (opens && connection.Phase == Phase.Opening)
            Opened(connection);
    }

    private void ReceiveRecord(Connection connection, WatchPlan plan, int user, bool online, ReadOnlySpan<byte> record, long now)
    {
        if (plan.Receive(connection.Socket, user, online, out var isFirst) && connection.Phase == Phase.Ready)
        {
            _deliveries++;
            if (online && !_isLapsing)
                _lags.Add((double)(now - _onlineAt[user]) / Stopwatch.Frequency);
            else if (!online && _isLapsing && LastSeen(record) is > 0 and var lastSeen)
                _lags.Add((DateTimeOffset.UtcNow - DateTimeOffset.UnixEpoch).TotalSeconds - (lastSeen + 31));
            return;
        }

        if (isFirst && --connection.Awaited == 0 && connection.Phase == Phase.Watching)
            Ready(connection);
    }

    private static long LastSeen(ReadOnlySpan<byte> record)
    {
        var at = record.IndexOf("\"last_seen\":"u8);
        return at >= 0 && Utf8Parser.TryParse(record[(at + 12)..], out long second, out _) ? second : 0;
    }
}
