using System.Buffers;
using Aglow.Heartbeats;
using Aglow.Model;

namespace Aglow.Sweeping;

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
    private readonly long[] _flips = new long[(int)TransitionKind.LeftEverywhere + 1];
    private long _found;
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

    /// <summary>Changes of the default definition's bits by this kind of transition; for <see cref="TransitionKind.Changed"/>, users of whom that was heard.</summary>
    public long Flips(TransitionKind kind) => Volatile.Read(ref _flips[(int)kind]);

    /// <summary>Users whom a sweep found online of whom no hint had said so.</summary>
    public long Found => Volatile.Read(ref _found);

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

    /// <summary>Counts what a sweep found under the default definition.</summary>
    internal void CountSwept(int came, int went)
    {
        if (came > 0)
            Interlocked.Add(ref _found, came);
        if (went > 0)
            Interlocked.Add(ref _flips[(int)TransitionKind.Lapsed], went);
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        foreach (var belief in _inUse)
            belief.Dispose();
    }

    private void Hear(TransitionKind kind, ReadOnlySpan<uint> users)
    {
        if (kind == TransitionKind.Changed)
            Interlocked.Add(ref _flips[(int)kind], users.Length);
        if (kind is not (TransitionKind.Arrived or TransitionKind.Left))
            return;
        var online = kind == TransitionKind.Arrived;
        var flipped = ArrayPool<uint>.Shared.Rent(users.Length);
        int count = 0, flips = 0;
        foreach (var user in users)
        {
            var isFlip = Default.Set(user, online);
            flips += isFlip ? 1 : 0;
            if (isFlip || (online && _tellsEveryArrival))
                flipped[count++] = user;
        }

        if (flips > 0)
            Interlocked.Add(ref _flips[(int)kind], flips);
        if (count > 0)
            Tell(_definitions.Default, kind, flipped.AsSpan(0, count));
        ArrayPool<uint>.Shared.Return(flipped);
    }
}
