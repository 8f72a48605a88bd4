using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// Decides what each watcher receives about a user. Usually all receive the same. A watcher with limited sight receives only what they may
/// see, and only if that changed.
/// </summary>
/// <remarks>
/// Between the full status (<see cref="Topic.LastSent"/>) and the message. While no user hides anything, it costs two field reads a change
/// and stores nothing. A limited watch stores what was sent last (<see cref="WatchConnection.Shown"/>). The <see cref="WatchHub"/>'s loop
/// owns it.
/// </remarks>
internal sealed class Sights(
    Topics topics, Slots<WatchConnection> connections, TopicChecks checks, Visibilities visibilities, Clock clock,
    DeltaWriter writer, Action<WatchConnection, int> send)
{
    // users who show more or less than before, until the end of the beat
    private readonly HashSet<uint> _resighted = [];

    /// <summary>
    /// Sends the watchers of this user what they may see now, if it changed. With reciprocal visibility, what this user sees changes too;
    /// <see cref="Beat"/> handles that.
    /// </summary>
    public void Recheck(uint user)
    {
        for (var id = topics.FirstOf(user); id >= 0; id = topics[id]!.NextOfUser)
        {
            // read again before it is sent: a deleted user no longer hides, but is offline
            checks.EnqueueAnew(id);
            foreach (var watcher in topics[id]!.Watchers)
                SendIfResighted(connections[Topic.ConnectionOf(watcher)]!, Topic.IndexOf(watcher), topics[id]!);
        }

        if (visibilities.IsReciprocal)
            _resighted.Add(user);
    }

    /// <summary>
    /// Updates what users see of others after their own visibility changed. Runs once a beat, and goes through all connections, because no
    /// table finds the connections of a user.
    /// </summary>
    public void Beat()
    {
        if (_resighted.Count == 0)
            return;
        foreach (var connection in connections.All)
        {
            if (!_resighted.Contains(connection.User))
                continue;
            for (var index = 0; index < connection.Outbox.Topics.Length; index++)
            {
                if (connection.Outbox.Topics[index] >= 0)
                    SendIfResighted(connection, index, topics[connection.Outbox.Topics[index]]!);
            }
        }

        _resighted.Clear();
    }

    /// <summary>
    /// Adds what this watcher may see to the message. False: the watcher already has it, because the change is not visible to them.
    /// </summary>
    public bool TryAppend(WatchConnection connection, int index, Topic topic, bool isRequested)
    {
        if (visibilities.IsEmpty && connection.Shown is null)
        {
            writer.Append(topic);
            return true;
        }

        var seesAll = visibilities.Between(connection.User, topic.User) == Sight.All;
        var shown = seesAll ? topic.LastSent : visibilities.Show(connection.User, topic.User, topic.LastSent, clock.Now);
        // also for a user who no longer hides: otherwise watchers would notice the deletion of a user whom they never saw
        if (!isRequested && connection.Shown is { } lastShown && lastShown.TryGetValue(index, out var before) && before == shown)
            return false;
        if (seesAll)
        {
            connection.Shown?.Remove(index);
            writer.Append(topic);
            return true;
        }

        (connection.Shown ??= [])[index] = shown;
        writer.Append(topic, shown);
        return true;
    }

    private void SendIfResighted(WatchConnection connection, int index, Topic topic)
    {
        var wasCut = connection.Shown?.ContainsKey(index) == true;
        if (topic.IsKnown && (wasCut || visibilities.Between(connection.User, topic.User) != Sight.All))
            send(connection, index);
    }
}
