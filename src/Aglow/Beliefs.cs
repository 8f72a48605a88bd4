using System.Buffers;

namespace Aglow;

/// <summary>
/// Hears which users' belief flipped under a definition, and why: arrived, left, or lapsed (found by the sweep). The span is valid during the call
/// only; handlers return at once.
/// </summary>
public delegate void BeliefChanged(Definition definition, TransitionKind kind, ReadOnlySpan<uint> users);

/// <summary>
/// The beliefs in use, one a definition: hints come in, flips go out, each exactly once.
/// </summary>
/// <remarks>
/// The default definition's belief is always there; another's is made when first asked for (and then filled by the next
/// <see cref="Sweep"/>), at most one a declared definition. Arrivals and goodbyes set the default's bits at once; the others are found by the sweep,
/// within its interval. A sweep may take longer than a recheck of who is watched (over a remote store, of a billion users, while millions lapse), so a bit may still say online of
/// a user whom watchers were shown offline: where there are watchers, arrivals are told whatever the bit says. Any thread.
/// </remarks>
public sealed class Beliefs : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Definitions _definitions;
    private readonly bool _tellsEveryArrival;
    private Belief[] _inUse;

    /// <summary>With the default definition's belief; hears hints from <paramref name="bus"/>.</summary>
    public Beliefs(Definitions definitions, ITransitionBus bus, bool tellsEveryArrival = false)
    {
        _definitions = definitions;
        _tellsEveryArrival = tellsEveryArrival;
        Default = new Belief(definitions.Default);
        _inUse = [Default];
        HearsAll = bus.IsLossless;
        bus.Subscribe(Hear);
    }

    /// <summary>The belief of the default definition.</summary>
    public Belief Default { get; }

    /// <summary>Whether every arrival is heard of, so that a sweep corrects only who is believed online.</summary>
    public bool HearsAll { get; }

    /// <summary>The beliefs in use now; one that comes is added at the end, and none goes.</summary>
    public ReadOnlySpan<Belief> InUse => Volatile.Read(ref _inUse);

    /// <summary>Raised where a bit flipped, by a hint or by the sweep.</summary>
    public event BeliefChanged? Changed;

    /// <summary>The belief of a definition, made if it was not in use; <paramref name="made"/>: it was, and the next sweep fills it.</summary>
    public Belief Use(Definition definition, out bool made)
    {
        lock (_gate)
        {
            made = false;
            foreach (var belief in _inUse)
            {
                if (belief.Definition == definition)
                    return belief;
            }

            made = true;
            var added = new Belief(definition);
            Volatile.Write(ref _inUse, [.. _inUse, added]);
            return added;
        }
    }

    /// <summary>Tells that these users' bits flipped under a definition.</summary>
    internal void Tell(Definition definition, TransitionKind kind, ReadOnlySpan<uint> users) => Changed?.Invoke(definition, kind, users);

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var belief in _inUse)
            belief.Dispose();
    }

    private void Hear(TransitionKind kind, ReadOnlySpan<uint> users)
    {
        if (kind is not (TransitionKind.Arrived or TransitionKind.Left))
            return;
        var online = kind == TransitionKind.Arrived;
        var flipped = ArrayPool<uint>.Shared.Rent(users.Length);
        var count = 0;
        foreach (var user in users)
        {
            if (Default.Set(user, online) || (online && _tellsEveryArrival))
                flipped[count++] = user;
        }

        if (count > 0)
            Tell(_definitions.Default, kind, flipped.AsSpan(0, count));
        ArrayPool<uint>.Shared.Return(flipped);
    }
}
