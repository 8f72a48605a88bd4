using Aglow.Heartbeats;

namespace Aglow.Sweeping;

/// <summary>
/// What this node believes under one definition: one bit for each user.
/// </summary>
/// <remarks>
/// Hints from the <see cref="ITransitionBus"/> and pages from the <see cref="Sweep"/> set the bits. A flipped bit is a transition, and only
/// the thread that flips it notifies watchers. A belief may be wrong until the next sweep; reads of the store are always right.
/// </remarks>
public sealed class Belief(Definition definition) : UserBits
{
    /// <summary>What "online" means here.</summary>
    public Definition Definition { get; } = definition;

    /// <summary>How many users are believed online.</summary>
    public long Online => Count;
}
