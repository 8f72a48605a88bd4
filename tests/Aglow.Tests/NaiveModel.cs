using Aglow.Model;

namespace Aglow.Tests;

/// <summary>What was told of each user, kept apart; the answer is worked out from that, a question at a time.</summary>
internal sealed class NaiveModel(int users)
{
    public const uint Lease = 30;
    public const uint Hold = 20;

    private readonly NaivePerson[] _people = [.. Enumerable.Range(0, users).Select(static _ => new NaivePerson())];
    private (uint HeldAt, uint Until) _guard;

    public NaivePerson this[int user] => _people[user];

    public void Stalled(uint from, uint to)
    {
        var held = from <= _guard.Until ? Math.Min(from, _guard.HeldAt) : from;
        _guard = (held, to + Hold);
    }

    // a guard is kept in memory only
    public void Forget() => _guard = default;

    public Presence Status(int user, string definition, uint now)
    {
        var person = _people[user];
        if (person.HiddenAt is { } hiddenAt)
        {
            return definition == "reachable" && hiddenAt > 0 && hiddenAt + 86_400 >= Against(now)
                ? new Presence(PresenceStatus.Online, hiddenAt)
                : new Presence(PresenceStatus.Offline, hiddenAt);
        }

        var seen = person.SeenAt;
        var online = definition switch
        {
            "chat" => IsOnline(user, now),
            "active" => IsOnline(user, now) && person.ActiveAt > 0 && person.ActiveAt + 300 >= Against(now),
            _ => seen > 0 && seen + 86_400 >= Against(now),
        };
        if (!online)
            return new Presence(PresenceStatus.Offline, seen);
        return new Presence(
            person.Manual switch
            {
                ManualStatusKind.Away => PresenceStatus.Away,
                ManualStatusKind.Busy => PresenceStatus.Busy,
                ManualStatusKind.Auto when person.ActiveAt > 0 && person.ActiveAt + 600 < Against(now) => PresenceStatus.Away,
                _ => PresenceStatus.Online,
            },
            seen);
    }

    public bool IsOnline(int user, uint now) =>
        _people[user] is { SeenAt: > 0, HasLeft: false } person && person.SeenAt + Lease >= Against(now);

    private uint Against(uint now) => now <= _guard.Until ? Math.Min(now, _guard.HeldAt) : now;
}

/// <summary>What one user did last.</summary>
internal sealed class NaivePerson
{
    public uint SeenAt { get; set; }

    public bool HasLeft { get; set; }

    public uint ActiveAt { get; set; }

    public ManualStatusKind Manual { get; set; }

    public uint? HiddenAt { get; set; }
}
