using Aglow.Sweeping;

namespace Aglow.Heartbeats;

/// <summary>Why a user's online state changed.</summary>
public enum TransitionKind : byte
{
    /// <summary>A heartbeat made the user come online.</summary>
    Arrived,

    /// <summary>The user said goodbye.</summary>
    Left,

    /// <summary>The lease ran out; found by a sweep.</summary>
    Lapsed,

    /// <summary>A claim changed, or the user was deleted: what is shown may have changed, the words say nothing of it.</summary>
    Changed,

    /// <summary>
    /// The user said goodbye on all devices; told before <see cref="Left"/>. Without it a goodbye is that of a last device on one node, and a node that holds
    /// another of theirs says so.
    /// </summary>
    LeftEverywhere,

    /// <summary>The application asks every node to close the user's connections.</summary>
    Disconnected,

    /// <summary>One device of the user said goodbye, and another may be alive: they are online until the shortened lease ends.</summary>
    DeviceLeft,

    /// <summary>A kind of device came that the user was not online on.</summary>
    DeviceCame,
}

/// <summary>
/// Carries hints of transitions from who saw them to every node's <c>Belief</c>.
/// </summary>
/// <remarks>
/// A hint is a hint: it may be lost, doubled or late, and what decides is a read of the store; the sweep repairs what was lost.
/// Neither side blocks: publishing never waits, and handlers run on the publisher's thread (or the bus's) and must return at once.
/// </remarks>
public interface ITransitionBus
{
    /// <summary>
    /// Whether every hint is heard before <see cref="Publish"/> returns. Then the <see cref="Sweep"/> may leave out, most of the time, those of whom no
    /// hint ever said that they are there.
    /// </summary>
    bool IsLossless { get; }

    /// <summary>Whether other nodes were heard not long ago, so that clients may go to them.</summary>
    bool HasPeers => false;

    /// <summary>Tells every node, this one included, that these users may have changed.</summary>
    void Publish(TransitionKind kind, ReadOnlySpan<uint> users);

    /// <summary>Adds a handler for hints. Before start only.</summary>
    void Subscribe(TransitionHandler handler);
}

/// <summary>Hears hints: users that may have changed, and why. The span is valid during the call only.</summary>
public delegate void TransitionHandler(TransitionKind kind, ReadOnlySpan<uint> users);

/// <summary>The bus of one node: calls the handlers where they stand.</summary>
public sealed class LocalTransitionBus : ITransitionBus
{
    private TransitionHandler? _handlers;

    /// <inheritdoc/>
    public bool IsLossless => true;

    /// <inheritdoc/>
    public void Publish(TransitionKind kind, ReadOnlySpan<uint> users) => _handlers?.Invoke(kind, users);

    /// <inheritdoc/>
    public void Subscribe(TransitionHandler handler) => _handlers += handler;
}
