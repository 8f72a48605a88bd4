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
        Watching = watching;
        Users = users;
        First = first;
        _users = new int[sockets * watching];
        _lastWords = new byte[_users.Length];
        _lastWords.AsSpan().Fill(Unknown);
        for (var i = 0; i < _users.Length; i++)
            _users[i] = first + (int)((long)i % users);
        var random = new Random(11);
        if (watching < users)
            random.Shuffle(_users);
        for (var socket = 0; socket < sockets; socket++)
            WithoutTwins(socket, random);
        for (var socket = 0; socket < sockets; socket++)
            _users.AsSpan(socket * watching, watching).Sort();
    }

    public int Watching { get; }

    public int Users { get; }

    public int First { get; }

    /// <summary>The users that a socket watches, in order.</summary>
    public ReadOnlySpan<int> Of(int socket) => _users.AsSpan(socket * Watching, Watching);

    /// <summary>Records a delivery. True if it changes what the watcher knew, and the watcher knew something.</summary>
    public bool Hear(int socket, int user, bool online, out bool isFirst)
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

    // Makes sure that a socket watches each user once: it exchanges a duplicate with another socket.
    private void WithoutTwins(int socket, Random random)
    {
        var mine = _users.AsSpan(socket * Watching, Watching);
        if (Watching == Users)
            return;
        var seen = new HashSet<int>();
        for (var i = 0; i < mine.Length; i++)
        {
            while (!seen.Add(mine[i]))
            {
                var other = random.Next(_users.Length);
                var otherSocket = other / Watching;
                if (otherSocket == socket || Of(otherSocket).Contains(mine[i]) || mine.Contains(_users[other]))
                    continue;
                (mine[i], _users[other]) = (_users[other], mine[i]);
            }
        }
    }
}
