using System.Buffers;
using Aglow.Heartbeats;

namespace Aglow.Sweeping;

/// <summary>
/// Handles users whose belief flipped under a definition, and why: they came online, left, or the sweep found their lease expired. The span
/// is valid during the call only. Handlers must return at once.
/// </summary>
public delegate void BeliefChanged(Definition definition, TransitionKind kind, ReadOnlySpan<uint> users);

/// <summary>
/// The beliefs in use, one for each definition. Hints come in; each flip is reported exactly once, and each arrival.
/// </summary>
/// <remarks>
/// The default definition always has a belief. Another definition gets one at its first use, and the next <see cref="Sweep"/> fills it.
/// Hints set the default's bits at once; the sweep sets the others within its interval.
/// With a remote store, a billion users, or millions of expired leases, a sweep may be slower than the checks of watched users. Then a bit
/// may still say online although watchers already received offline. So watchers receive every arrival of such a user, even if the bit does
/// not flip. Any thread.
/// </remarks>
public sealed class Beliefs : IDisposable
{
    private readonly Lock _gate = new();
    private readonly Definitions _definitions;
    private readonly long[] _flips = new long[(int)TransitionKind.LeftEverywhere + 1];
    // users whom a sweep found online without a hint
    private long _found;
    private Belief[] _inUse;

    /// <summary>Starts with the default definition's belief; receives hints from <paramref name="bus"/>.</summary>
    public Beliefs(Definitions definitions, ITransitionBus bus)
    {
        _definitions = definitions;
        Default = new Belief(definitions.Default);
        _inUse = [Default];
        ReceivesAll = bus.IsLossless;
        bus.Subscribe(ApplyHints);
    }

    /// <summary>The belief of the default definition.</summary>
    public Belief Default { get; }

    /// <summary>Whether every arrival is received, so that a sweep only has to correct users who are believed online.</summary>
    internal bool ReceivesAll { get; }

    /// <summary>The beliefs in use now. A new one is added at the end, and none is removed.</summary>
    internal ReadOnlySpan<Belief> InUse => Volatile.Read(ref _inUse);

    /// <summary>
    /// How often the default definition's bits changed by this kind of transition. <see cref="TransitionKind.Changed"/> counts users.
    /// </summary>
    internal long Flips(TransitionKind kind) => Volatile.Read(ref _flips[(int)kind]);

    /// <summary>Raised when a hint or the sweep flips a bit.</summary>
    public event BeliefChanged? Changed;

    /// <summary>
    /// The belief of a definition, created if necessary. <paramref name="made"/>: it is new, and the next sweep fills it.
    /// </summary>
    internal Belief Use(Definition definition, out bool made)
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

    /// <summary>Adds the metrics of online users and their transitions.</summary>
    internal void Observe(AglowMetrics metrics)
    {
        metrics.Gauge("aglow.users.online", "Users believed online under the default definition.", () => Default.Online);
        const string Transitions = "aglow.transitions";
        const string Description = "Changes of online users under the default definition, as this node believes them. "
            + "Status: a claim, an idle user who is active again, or a deletion.";
        Count("online", "heartbeat", () => Flips(TransitionKind.Arrived));
        Count("online", "sweep", () => Volatile.Read(ref _found));
        Count("offline", "goodbye", () => Flips(TransitionKind.Left));
        Count("offline", "lapse", () => Flips(TransitionKind.Lapsed));
        Count("changed", "status", () => Flips(TransitionKind.Changed));

        void Count(string kind, string reason, Func<long> read) =>
            metrics.Count(Transitions, Description, read, ("kind", kind), ("reason", reason));
    }

    /// <summary>Reports that these users' bits flipped under a definition.</summary>
    internal void Report(Definition definition, TransitionKind kind, ReadOnlySpan<uint> users) => Changed?.Invoke(definition, kind, users);

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

    private void ApplyHints(TransitionKind kind, ReadOnlySpan<uint> users)
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
            if (isFlip || online)
                flipped[count++] = user;
        }

        if (flips > 0)
            Interlocked.Add(ref _flips[(int)kind], flips);
        if (count > 0)
            Report(_definitions.Default, kind, flipped.AsSpan(0, count));
        ArrayPool<uint>.Shared.Return(flipped);
    }
}
