using System.Diagnostics;

namespace Aglow.Benchmarks;

/// <summary>One kind of request: puts the next one into a connection and sends it, and reads its answer.</summary>
internal abstract class Load
{
    /// <summary>Its name in the table.</summary>
    public abstract string Name { get; }

    /// <summary>Sends the next request.</summary>
    public abstract void Send(Connection connection);

    /// <summary>Reads the answer and checks it; returns how many operations it was.</summary>
    public abstract int Receive(Connection connection);

    /// <summary>Checks the state of the server against what was sent since the leg began.</summary>
    /// <param name="connection">To ask on.</param>
    /// <param name="began">When the leg began; everything sent is newer.</param>
    public virtual void Check(Connection connection, DateTimeOffset began)
    {
    }

    /// <summary>Called as a leg begins.</summary>
    public virtual void Begin()
    {
    }

    /// <summary>
    /// Keeps one request under way on each connection for so long, and counts what it cost the server. One thread: while it writes and
    /// reads one connection, the server works on the others.
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

/// <summary>The users that are written and read, in one random order that all loads go through, each from where it stopped.</summary>
internal sealed class People
{
    /// <summary>Numbers of eight digits, so that every request is as long as the next.</summary>
    public const uint First = 10_000_000;

    private readonly uint[] _users;

    public People(long count)
    {
        _users = EngineBenchmark.RandomUsers(count, count);
        for (var i = 0; i < _users.Length; i++)
            _users[i] += First;
    }

    public int Count => _users.Length;

    /// <summary>The next users, moving the position on; a slice never goes over the end.</summary>
    public ReadOnlySpan<uint> Next(ref int position, int count)
    {
        if (position + count > _users.Length)
            position = 0;
        var next = _users.AsSpan(position, count);
        position += count;
        return next;
    }

    /// <summary>Users before a position.</summary>
    public ReadOnlySpan<uint> Before(int position, int count) => _users.AsSpan(Math.Max(0, position - count), Math.Min(position, count));
}
