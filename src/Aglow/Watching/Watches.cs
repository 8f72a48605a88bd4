using System.Text;
using Aglow.Sweeping;
using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// The watches: a topic for each watched user and definition, and the watched topics in each connection's <see cref="Outbox"/>.
/// </summary>
/// <remarks>
/// A topic stores the id of each connection and the outbox index of its watch. The outbox stores the id of the topic. So each finds the
/// other. The <see cref="WatchHub"/>'s loop owns it.
/// </remarks>
internal sealed class Watches(
    Topics topics, TopicChecks checks, Outages outages, WatchSender sender, Beliefs beliefs, KeyCache knownKeys, KeyCache requestedKeys)
{
    // a topic, its watcher, their table entries, and its record in a frame that waits for a slow client
    private const int NumberBytes = 360;

    // the additional memory of an ID that is text: as text, as JSON, in the frame, and as a key while it has no index
    private const int TextBytes = 200;
    private const int CopiesOfText = 5;

    private static readonly UserForm[] Forms = Enum.GetValues<UserForm>();

    private static ReadOnlySpan<byte> HeldTooMuch =>
        "\"status\":429,\"title\":\"Too much held\",\"detail\":\"The watches of this user's connections would take more memory than one "u8
            + "user may hold: nothing of this message was watched. Unwatch some, or close other connections.\"}"u8;

    private static ReadOnlySpan<byte> NoMemory =>
        "\"status\":503,\"title\":\"Too busy\",\"detail\":\"All watches together take as much memory as they may on this server: nothing "u8
            + "of this message was watched. Send it again later, or connect to another node.\"}"u8;

    private static ReadOnlySpan<byte> TooMany =>
        "\"status\":413,\"title\":\"Too many watches\",\"detail\":\"A connection may watch 10000 users: nothing of this message was "u8
            + "watched; unwatch some, or open another connection.\"}"u8;

    private long _count;
    private long _bytes;

    /// <summary>Memory of all watches, as <see cref="BytesOf(UserBatch)"/> counts it. From any thread.</summary>
    public long Bytes => Volatile.Read(ref _bytes);

    /// <summary>The most memory of all watches: a quarter of the process's limit.</summary>
    public static long MostBytes { get; } = GC.GetGCMemoryInfo().TotalAvailableMemoryBytes / 4;

    /// <summary>The most memory that watches of these users take.</summary>
    public static long BytesOf(UserBatch users)
    {
        var bytes = 0L;
        for (var i = 0; i < users.Count; i++)
            bytes += BytesOf(PresenceRecord.QuotedBytes(users.Text(i)));
        return bytes;
    }

    /// <summary>Watches held. From any thread.</summary>
    public long Count => Volatile.Read(ref _count);

    /// <summary>
    /// Adds watches of these users and sends a snapshot of them. If there would be too many, it sends an error and adds none.
    /// </summary>
    public void Add(WatchConnection connection, UserBatch users, Definition definition, long? id)
    {
        using var _ = users;
        if (connection.Outbox.Count + users.Count > WatchHub.MaxWatches
            && connection.Outbox.Count + CountNew(connection, users, definition) > WatchHub.MaxWatches)
        {
            Refuse(connection, id, TooMany);
            return;
        }

        // counts all users until it is known which watches are new
        var expected = BytesOf(users);
        if (Bytes + expected > MostBytes || !connection.TryHold(expected))
        {
            Refuse(connection, id, Bytes + expected > MostBytes ? NoMemory : HeldTooMuch);
            return;
        }

        var taken = 0L;

        beliefs.Use(definition, out var made);
        var indexes = new int[users.Count];
        connection.Outbox.Reserve(users.Count);
        for (var i = 0; i < users.Count; i++)
        {
            var topic = FindOrAddTopic(users, i, definition);
            var index = IndexOf(connection, topic);
            if (index < 0)
            {
                index = connection.Outbox.Add(topic);
                topics[topic]!.Add(Topic.Watcher(connection.Id, index));
                Volatile.Write(ref _count, _count + 1);
                taken += BytesOf(topics[topic]!);
            }

            indexes[i] = index;
            outages.Added(connection, topic);
            checks.Enqueue(topic, gentle: false);
        }

        Volatile.Write(ref _bytes, _bytes + taken);
        connection.Release(expected - taken);
        (connection.Snapshots ??= []).Add(new Snapshot(indexes, definition, id));
        sender.SendSnapshotsSoon(connection);
    }

    private static long BytesOf(Topic topic) => BytesOf(topic.IdJson?.Length ?? 0);

    private static long BytesOf(int text) => NumberBytes + (text <= 2 ? 0 : TextBytes + (CopiesOfText * text));

    private void Refuse(WatchConnection connection, long? id, ReadOnlySpan<byte> why) =>
        sender.Answer(
            connection,
            [.. Encoding.UTF8.GetBytes(id is { } request ? $"{{\"type\":\"error\",\"id\":{request}," : "{\"type\":\"error\","), .. why]);

    // Searches the shorter list, because most users have few watchers. Otherwise a client that watches 10,000 users and names as many again
    // would delay all others.
    private int IndexOf(WatchConnection connection, int id)
    {
        var watchers = topics[id]!.Watchers;
        if (watchers.Length >= connection.Outbox.Count)
            return connection.Outbox.IndexOf(id);
        foreach (var watcher in watchers)
        {
            if (Topic.ConnectionOf(watcher) == connection.Id)
                return Topic.IndexOf(watcher);
        }

        return -1;
    }

    private int CountNew(WatchConnection connection, UserBatch users, Definition definition)
    {
        var count = 0;
        for (var i = 0; i < users.Count; i++)
        {
            var id = topics.Find(IndexOf(users, i), users.Text(i), users.Form(i), definition);
            if (id < 0 || IndexOf(connection, id) < 0)
                count++;
        }

        return count;
    }

    /// <summary>Gives the topics of an ID its new index.</summary>
    public void Bind(string key, uint user)
    {
        foreach (var id in topics.Bind(key, user))
        {
            outages.Bound(id);
            checks.Enqueue(id, gentle: false);
        }
    }

    /// <summary>
    /// Ends watches of these users. A user who is not watched in the form that is sent is perhaps watched in another: <c>7</c> and
    /// <c>"7"</c> are one user.
    /// </summary>
    public void Remove(WatchConnection connection, UserBatch users, Definition definition)
    {
        using var _ = users;
        for (var i = 0; i < users.Count; i++)
        {
            if (Remove(connection, users, i, users.Form(i), definition))
                continue;
            foreach (var form in Forms)
                Remove(connection, users, i, form, definition);
        }
    }

    public void RemoveAll(WatchConnection connection)
    {
        for (var index = 0; index < connection.Outbox.Topics.Length; index++)
        {
            if (connection.Outbox.Topics[index] >= 0)
                Remove(connection, index);
        }
    }

    private bool Remove(WatchConnection connection, UserBatch users, int at, UserForm form, Definition definition)
    {
        var id = topics.Find(IndexOf(users, at), users.Text(at), form, definition);
        var index = id < 0 ? -1 : IndexOf(connection, id);
        if (index >= 0)
            Remove(connection, index);
        return index >= 0;
    }

    private void Remove(WatchConnection connection, int index)
    {
        var id = connection.Outbox.Topics[index];
        sender.Clear(connection, index);
        connection.Outbox.Remove(index);
        connection.Shown?.Remove(index);
        // another watch may get this index before the snapshot is sent
        if (connection.Snapshots is { } waiting)
        {
            foreach (var snapshot in waiting)
                snapshot.Indexes.AsSpan().Replace(index, Snapshot.Ended);
        }

        Volatile.Write(ref _count, _count - 1);
        var bytes = BytesOf(topics[id]!);
        Volatile.Write(ref _bytes, _bytes - bytes);
        connection.Release(bytes);
        if (!topics[id]!.Remove(Topic.Watcher(connection.Id, index)))
            topics.Remove(id);
    }

    private int FindOrAddTopic(UserBatch users, int at, Definition definition) =>
        topics.FindOrAdd(IndexOf(users, at), users.Text(at), users.Form(at), definition);

    // The ID may have got its index since the request. Then topics that wait for it get the index now, although a command to bind them is
    // still in the queue. Otherwise the ID would have two topics.
    private uint IndexOf(UserBatch users, int at)
    {
        var user = users.Numbers.Span[at];
        var text = users.Text(at);
        if (user == UserId.Nobody && !knownKeys.TryGet(text, out user) && !requestedKeys.TryGet(text, out user))
            return UserId.Nobody;
        if (topics.UnknownKeys > 0)
            Bind(Encoding.UTF8.GetString(text), user);
        return user;
    }
}
