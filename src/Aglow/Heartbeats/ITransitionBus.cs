using Aglow.Sweeping;

namespace Aglow.Heartbeats;

/// <summary>Why a user's state changed.</summary>
public enum TransitionKind : byte
{
    /// <summary>A heartbeat brought the user online.</summary>
    Arrived,

    /// <summary>The user left.</summary>
    Left,

    /// <summary>The lease expired; a sweep found it.</summary>
    Lapsed,

    /// <summary>A claim changed, or the user was deleted. The shown status may differ although the words are the same.</summary>
    Changed,

    /// <summary>
    /// The user left on all devices; published before <see cref="Left"/>. A leave without it concerns the last device on one node; a node
    /// with another device of the user reports that device.
    /// </summary>
    LeftEverywhere,

    /// <summary>The application asks every node to close the user's connections.</summary>
    Disconnected,

    /// <summary>One device of the user left and another may be alive. The user stays online until the shortened lease ends.</summary>
    DeviceLeft,

    /// <summary>The user came online on another kind of device.</summary>
    DeviceCame,
}

/// <summary>
/// Carries hints of transitions from the thread that found them to the <c>Belief</c>s of every node.
/// </summary>
/// <remarks>
/// A hint may be lost, doubled or late. Only a read of the store is certain; the sweep repairs lost hints. Neither side blocks: publishing
/// never waits. Handlers run on the publisher's thread or the bus's, and must return at once.
/// </remarks>
public interface ITransitionBus
{
    /// <summary>
    /// Whether every hint arrives before <see cref="Publish"/> returns. Then most passes of the <see cref="Sweep"/> can skip users for whom
    /// no hint came.
    /// </summary>
    bool IsLossless { get; }

    /// <summary>Whether other nodes sent something recently, so that clients may go to them.</summary>
    bool HasPeers => false;

    /// <summary>Hints to every node, this one included, that these users may have changed.</summary>
    void Publish(TransitionKind kind, ReadOnlySpan<uint> users);

    /// <summary>Adds a handler for hints. Before start only.</summary>
    void Subscribe(TransitionHandler handler);
}

/// <summary>Handles hints: users that may have changed, and why. The span is valid during the call only.</summary>
public delegate void TransitionHandler(TransitionKind kind, ReadOnlySpan<uint> users);

/// <summary>The bus of a single node. It calls the handlers directly.</summary>
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
