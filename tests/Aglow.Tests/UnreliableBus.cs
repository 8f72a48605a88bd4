namespace Aglow.Tests;

/// <summary>A bus that drops, doubles and delays hints, as a broker may. It decides separately for each handler of each hint.</summary>
/// <remarks>A delayed hint waits until a call of <see cref="Deliver"/> finds that it is due, so later hints may overtake it.</remarks>
internal sealed class UnreliableBus(Random random, TimeProvider time) : ITransitionBus
{
    private static readonly TimeSpan LongestDelay = TimeSpan.FromSeconds(4);

    private readonly List<TransitionHandler> _handlers = [];
    private readonly List<(long DueAt, TransitionHandler Handler, TransitionKind Kind, uint[] Users)> _delayed = [];

    public bool IsLossless => false;

    /// <summary>The number of dropped hints, so that a test can check that there were some.</summary>
    public int Dropped { get; private set; }

    public void Publish(TransitionKind kind, ReadOnlySpan<uint> users)
    {
        foreach (var handler in _handlers)
        {
            var luck = random.Next(100);
            if (luck < 30)
            {
                Dropped++;
                continue;
            }

            var dueAt = time.GetTimestamp() + (luck < 55 ? random.NextInt64(LongestDelay.Ticks) : 0);
            _delayed.Add((dueAt, handler, kind, users.ToArray()));
            if (luck >= 85)
                _delayed.Add((dueAt + random.NextInt64(LongestDelay.Ticks), handler, kind, users.ToArray()));
        }

        Deliver();
    }

    public void Subscribe(TransitionHandler handler) => _handlers.Add(handler);

    /// <summary>Delivers the hints that are due.</summary>
    public void Deliver()
    {
        var now = time.GetTimestamp();
        for (var i = 0; i < _delayed.Count; i++)
        {
            if (_delayed[i].DueAt > now)
                continue;
            var (_, handler, kind, users) = _delayed[i];
            _delayed.RemoveAt(i--);
            handler(kind, users);
        }
    }
}
