using Aglow.Heartbeats;
using Aglow.Model;

namespace Aglow.Sweeping;

/// <summary>
/// What this node believes: one bit a user, for one definition.
/// </summary>
/// <remarks>
/// Stands between those who hear (hints from the <see cref="ITransitionBus"/>, pages from the <see cref="Sweep"/>) and those who tell
/// watchers. A bit that flips is a transition, and whoever flips it, and nobody else, tells of it. Beliefs may be wrong for as long as a sweep takes;
/// what decides is a read of the store.
/// </remarks>
public sealed class Belief(Definition definition) : UserBits
{
    /// <summary>What "online" means here.</summary>
    public Definition Definition { get; } = definition;

    /// <summary>How many users are believed online.</summary>
    public long Online => Count;
}
