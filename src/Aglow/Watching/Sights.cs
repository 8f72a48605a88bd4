using Aglow.Model;
using Aglow.Storage;
using Aglow.Users;

namespace Aglow.Watching;

/// <summary>
/// What each watcher is told of somebody: what all are, or, where their sight of that user is cut, what they may see of it and only when that has changed.
/// </summary>
/// <remarks>
/// Stands between what is true (<see cref="Topic.Told"/>) and the message that is being written. While nobody hides anything it costs two field reads a change and keeps nothing; a watch that
/// is cut keeps what was last told (<see cref="WatchConnection.Shown"/>). Owned by the <see cref="WatchHub"/>'s loop.
/// </remarks>
internal sealed class Sights(
    Topics topics, Slots<WatchConnection> connections, TopicChecks checks, PresenceService presence, DeltaWriter writer, Action<WatchConnection, int> tell)
{
    // those who show more or less than before, until the end of the beat
    private readonly HashSet<uint> _resighted = [];

    /// <summary>Those who watch this user, as their sights are now: only who is shown something else is told. The user's own sight of others, which changes where it is reciprocal, is for <see cref="Beat"/>.</summary>
    public void LookAgain(uint user)
    {
        for (var id = topics.FirstOf(user); id >= 0; id = topics[id]!.NextOfUser)
        {
            // read again before it is told: who is deleted hides nothing any more, and is gone
            checks.Ask(id, gentle: false);
            foreach (var watcher in topics[id]!.Watchers)
                TellIfResighted(connections[Topic.ConnectionOf(watcher)]!, Topic.IndexOf(watcher), topics[id]!);
        }

        if (presence.Visibilities.IsReciprocal)
            _resighted.Add(user);
    }

    /// <summary>All whom those users watch who show more or less than before. One look through the connections a beat, since nothing finds them by user, however many have changed what they show.</summary>
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
                    TellIfResighted(connection, index, topics[connection.Outbox.Topics[index]]!);
            }
        }

        _resighted.Clear();
    }

    /// <summary>Adds what this watcher may see to the message that is being written. False: they know it already, since they do not see what changed.</summary>
    public bool TryAppend(WatchConnection connection, int index, Topic topic, bool isAsked)
    {
        if (presence.Visibilities.IsEmpty && connection.Shown is null)
        {
            writer.Append(topic);
            return true;
        }

        if (presence.Visibilities.Between(connection.User, topic.User) == Sight.All)
        {
            connection.Shown?.Remove(index);
            writer.Append(topic);
            return true;
        }

        var shown = presence.Visibilities.Show(connection.User, topic.User, topic.Told, presence.Clock.Now);
        var told = connection.Shown ??= [];
        if (!isAsked && told.TryGetValue(index, out var before) && before == shown)
            return false;
        told[index] = shown;
        writer.Append(topic, shown);
        return true;
    }

    private void TellIfResighted(WatchConnection connection, int index, Topic topic)
    {
        var wasCut = connection.Shown?.ContainsKey(index) == true;
        if (topic.IsKnown && (wasCut || presence.Visibilities.Between(connection.User, topic.User) != Sight.All))
            tell(connection, index);
    }
}
