namespace Aglow.Benchmarks.Sockets;

/// <summary>
/// A shuffled plan of watches: each socket watches equally many users, and each user is watched by equally many sockets. It also holds the
/// last record of each watch.
/// </summary>
internal sealed class WatchPlan
{
    private const byte Unknown = 2;
    private readonly int[] _users;
    private readonly byte[] _lastWords;

    /// <summary>Creates the plan, which is always the same. Users are numbered from <paramref name="first"/>.</summary>
    public WatchPlan(int sockets, int watching, int users, int first)
    {
        if (watching > users)
            throw new BenchmarkException($"a socket cannot watch {watching} of {users} users: measure with more users or sockets.");
        (Watching, Users, First) = (watching, users, first);
        _users = new int[sockets * watching];
        _lastWords = new byte[_users.Length];
        _lastWords.AsSpan().Fill(Unknown);
        var random = new Random(11);
        // all users in a new order, again and again
        var order = Enumerable.Range(first, users).ToArray();
        var next = users;
        for (var socket = 0; socket < sockets; socket++)
        {
            var mine = _users.AsSpan(socket * watching, watching);
            for (var i = 0; i < watching; i++)
            {
                if (next == users)
                {
                    random.Shuffle(order);
                    next = 0;
                }

                // a user of the last order may come first in this one, so this takes the next whom the socket does not watch yet
                var at = next;
                while (mine[..i].Contains(order[at]))
                    at++;
                (mine[i], order[at]) = (order[at], order[next++]);
            }

            mine.Sort();
        }
    }

    public int Watching { get; }

    public int Users { get; }

    public int First { get; }

    /// <summary>The users that a socket watches, in order.</summary>
    public ReadOnlySpan<int> Of(int socket) => _users.AsSpan(socket * Watching, Watching);

    /// <summary>Records a delivery. True if it changes what the watcher knew, and the watcher knew something.</summary>
    public bool Receive(int socket, int user, bool online, out bool isFirst)
    {
        isFirst = false;
        var at = Of(socket).BinarySearch(user);
        if (at < 0)
            throw new BenchmarkException($"socket {socket} got a record of user {user}, whom it does not watch.");
        ref var word = ref _lastWords[(socket * Watching) + at];
        var was = word;
        word = online ? (byte)1 : (byte)0;
        isFirst = was == Unknown;
        return !isFirst && was != word;
    }

    /// <summary>How many of the first <paramref name="sockets"/> sockets' last records are wrong.</summary>
    public long Wrong(int sockets, Func<int, bool> truth)
    {
        long wrong = 0;
        for (var i = 0; i < sockets * Watching; i++)
            wrong += _lastWords[i] != (truth(_users[i]) ? 1 : 0) ? 1 : 0;
        return wrong;
    }
}
