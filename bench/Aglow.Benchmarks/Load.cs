using System.Diagnostics;

namespace Aglow.Benchmarks;

/// <summary>One kind of request: writes the next one into a connection, sends it, and reads its answer.</summary>
internal abstract class Load
{
    /// <summary>Its name in the table.</summary>
    public abstract string Name { get; }

    /// <summary>Sends the next request.</summary>
    public abstract void Send(Connection connection);

    /// <summary>Reads and checks the answer; returns its number of operations.</summary>
    public abstract int Receive(Connection connection);

    /// <summary>Checks the state of the server against what was sent since the leg began.</summary>
    /// <param name="connection">The connection to use.</param>
    /// <param name="began">When the leg began; all its heartbeats are newer.</param>
    public virtual void Check(Connection connection, DateTimeOffset began)
    {
    }

    /// <summary>Called at the beginning of a leg.</summary>
    public virtual void Begin()
    {
    }

    /// <summary>Sends this many requests, one on each connection in turn.</summary>
    public void Fill(Connection[] connections, int requests)
    {
        Begin();
        for (var done = 0; done < requests; done += connections.Length)
        {
            var some = connections.AsSpan(0, Math.Min(connections.Length, requests - done));
            foreach (var connection in some)
                Send(connection);
            foreach (var connection in some)
                Receive(connection);
        }
    }

    /// <summary>
    /// Keeps one request pending on each connection for this time, and measures the server's cost. One thread: while it handles one
    /// connection, the server works on the others.
    /// </summary>
    public Sample Run(int server, Connection[] connections, TimeSpan duration)
    {
        Begin();
        var startedAt = DateTimeOffset.UtcNow;
        long operations = 0;
        var cpu = Cpu.Of(server);
        var began = Stopwatch.GetTimestamp();
        foreach (var connection in connections)
            Send(connection);
        while (Stopwatch.GetElapsedTime(began) < duration)
        {
            foreach (var connection in connections)
            {
                operations += Receive(connection);
                Send(connection);
            }
        }

        foreach (var connection in connections)
            operations += Receive(connection);
        var seconds = Stopwatch.GetElapsedTime(began).TotalSeconds;
        var sample = new Sample(operations, seconds, Cpu.Of(server) - cpu);
        Check(connections[0], startedAt);
        return sample;
    }
}

/// <summary>Work at a steady rate.</summary>
internal static class Pace
{
    /// <summary>
    /// Calls <paramref name="some"/> for every so many users that are due, every few milliseconds. Returns the number of users.
    /// </summary>
    public static async Task<long> RunAsync(double perSecond, int atOnce, Action some, int everyMilliseconds, CancellationToken stop)
    {
        var began = Stopwatch.GetTimestamp();
        long done = 0;
        while (!stop.IsCancellationRequested)
        {
            for (; done < Stopwatch.GetElapsedTime(began).TotalSeconds * perSecond && !stop.IsCancellationRequested; done += atOnce)
                some();
            await Task.Delay(everyMilliseconds, CancellationToken.None);
        }

        return done;
    }

    /// <inheritdoc cref="RunAsync(double, int, Action, int, CancellationToken)"/>
    public static async Task<long> RunAsync(TimeSpan length, double perSecond, Action hundred)
    {
        using var stop = new CancellationTokenSource(length);
        return await RunAsync(perSecond, 100, hundred, 10, stop.Token);
    }
}

/// <summary>The users that are written and read, in one random order. Each load continues where it stopped.</summary>
internal sealed class People
{
    /// <summary>The first user. All users have eight digits, so all requests have the same length.</summary>
    public const uint First = 10_000_000;

    private readonly uint[] _users;

    public People(long count)
    {
        _users = EngineBenchmark.RandomUsers(count, count);
        for (var i = 0; i < _users.Length; i++)
            _users[i] += First;
    }

    public int Count => _users.Length;

    /// <summary>Returns the next users and advances the position; a slice never passes the end.</summary>
    public ReadOnlySpan<uint> Next(ref int position, int count)
    {
        if (position + count > _users.Length)
            position = 0;
        var next = _users.AsSpan(position, count);
        position += count;
        return next;
    }

    /// <summary>The users before a position.</summary>
    public ReadOnlySpan<uint> Before(int position, int count) => _users.AsSpan(Math.Max(0, position - count), Math.Min(position, count));
}
