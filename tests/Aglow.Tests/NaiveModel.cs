namespace Aglow.Tests;

/// <summary>Stores the events of each user separately, and computes each status from them when it is asked.</summary>
internal sealed class NaiveModel(int users)
{
    public const uint Lease = 30;
    public const uint Hold = 20;
    public const uint AfterDevice = 12;

    private readonly NaivePerson[] _people = [.. Enumerable.Range(0, users).Select(static _ => new NaivePerson())];
    private (uint HeldAt, uint Until) _guard;

    public NaivePerson this[int user] => _people[user];

    public void Stalled(uint from, uint to)
    {
        var held = from <= _guard.Until ? Math.Min(from, _guard.HeldAt) : from;
        _guard = (held, to + Hold);
    }

    /// <summary>The clock jumped, and words of seconds that were taken back have been moved.</summary>
    public void Stepped(uint from, uint to)
    {
        ReceivedAllNow(to);
        if (to >= from)
        {
            Stalled(from, to);
            return;
        }

        var held = from <= _guard.Until ? _guard.HeldAt : from;
        _guard = (held > to ? held - (from - to) : held, to + Hold);
        foreach (var person in _people)
        {
            (person.SeenAt, person.ActiveAt) = (Moved(person.SeenAt), Moved(person.ActiveAt));
            foreach (var (kind, word) in person.Kinds.ToArray())
                person.Kinds[kind] = (Moved(word.SeenAt), word.Left);
        }

        uint Moved(uint second) => second > to + Clock.Apart ? second - (from - to) : second;
    }

    /// <summary>A start: no loaded time is later than now.</summary>
    public void Loaded(uint now)
    {
        ReceivedAllNow(now);
        foreach (var person in _people)
        {
            (person.SeenAt, person.ActiveAt) = (Math.Min(person.SeenAt, now), Math.Min(person.ActiveAt, now));
            // kinds of devices are not persisted
            person.Kinds.Clear();
        }
    }

    /// <summary>A heartbeat of this second, if no later one came before.</summary>
    public void Heartbeat(int user, uint second, uint now)
    {
        var (person, was) = (_people[user], IsOnline(user, now));
        // a word up to 2 s ahead of a clock that was set back stays
        (person.SeenAt, person.HasLeft, person.DeviceHasLeft, person.ReceivedAt) = (Math.Max(person.SeenAt, second), false, false, now);
        if (!was && IsOnline(user, now))
            person.IsActive = false;
    }

    /// <summary>A device that never sent a heartbeat leaves. The leave is final if no other device can be alive.</summary>
    public void DeviceLeft(int user, DeviceKind kind, uint now)
    {
        var person = _people[user];
        var isKindLive = Devices(user, now).HasFlag((DeviceKinds)(1 << (int)kind));
        var isFinal = Against(now) == now && now - person.ReceivedAt > Lease;
        if (IsOnline(user, now))
            (person.SeenAt, person.HasLeft, person.DeviceHasLeft) = (now, isFinal, !isFinal);
        if (isKindLive && isFinal)
            person.Kinds.Remove(kind);
        else if (isKindLive)
            person.Kinds[kind] = (now, true);
    }

    /// <summary>The person did something. The activity of a person who hides is not noted.</summary>
    public void Active(int user, uint now)
    {
        if (_people[user].HiddenAt is null)
            (_people[user].ActiveAt, _people[user].IsActive) = (Math.Max(_people[user].ActiveAt, now), true);
    }

    /// <summary>The person chose a status. A person who stops hiding begins a new session for all others.</summary>
    public void Chose(int user, ClaimStatus kind, uint now)
    {
        var person = _people[user];
        if (kind == ClaimStatus.Hidden)
            person.HiddenAt ??= IsOnline(user, now) ? now : Math.Min(person.SeenAt, now);
        else if (person.HiddenAt is not null)
            (person.HiddenAt, person.IsActive) = (null, false);
        person.Manual = kind;
    }

    // a restart forgets the stall guard, which is only in memory
    public void Forget() => _guard = default;

    public Presence Status(int user, string definition, uint now)
    {
        var person = _people[user];
        var activeAt = Math.Min(person.ActiveAt, now);
        if (person.HiddenAt is { } hidden)
        {
            var hiddenAt = Math.Min(hidden, now);
            activeAt = Math.Min(activeAt, hiddenAt);
            // like a user who left at that second and chose no status
            var isIdle = person.IsActive && person.ActiveAt + 600 < Against(now);
            return definition == "reachable" && hiddenAt > 0 && hiddenAt + 86_400 >= Against(now)
                ? new Presence(isIdle ? PresenceStatus.Away : PresenceStatus.Online, hiddenAt, ActiveAt: activeAt)
                : new Presence(PresenceStatus.Offline, hiddenAt, ActiveAt: activeAt);
        }

        var seen = Math.Min(person.SeenAt, now);
        // the leave of one device shortens the person's lease, not those of the other kinds
        var devices = IsOnline(user, now) ? Devices(user, now) : DeviceKinds.None;
        var online = definition switch
        {
            "chat" => IsOnline(user, now),
            "reachable" => seen > 0 && seen + 86_400 >= Against(now),
            "active" => IsOnline(user, now) && person.ActiveAt > 0 && person.ActiveAt + 300 >= Against(now),
            _ => devices.HasFlag(Enum.Parse<DeviceKinds>(definition, ignoreCase: true)),
        };
        if (!online)
            return new Presence(PresenceStatus.Offline, seen, Devices: devices, ActiveAt: activeAt);
        return new Presence(
            person.Manual switch
            {
                ClaimStatus.Away => PresenceStatus.Away,
                ClaimStatus.Busy => PresenceStatus.Busy,
                ClaimStatus.Auto when person.IsActive && person.ActiveAt + 600 < Against(now) => PresenceStatus.Away,
                _ => PresenceStatus.Online,
            },
            seen,
            Devices: devices,
            ActiveAt: activeAt);
    }

    public DeviceKinds Devices(int user, uint now)
    {
        var devices = DeviceKinds.None;
        foreach (var (kind, (seenAt, left)) in _people[user].Kinds)
            devices |= seenAt + (left ? AfterDevice : Lease) >= Against(now) ? (DeviceKinds)(1 << (int)kind) : DeviceKinds.None;
        return devices;
    }

    public bool IsOnline(int user, uint now) =>
        _people[user] is { SeenAt: > 0, HasLeft: false } person
            && person.SeenAt + (person.DeviceHasLeft ? AfterDevice : Lease) >= Against(now);

    // The server no longer knows which devices sent heartbeats, so each device may be alive.
    private void ReceivedAllNow(uint now)
    {
        foreach (var person in _people)
            person.ReceivedAt = now;
    }

    private uint Against(uint now) => now <= _guard.Until ? Math.Min(now, _guard.HeldAt) : now;
}

/// <summary>What one user did last.</summary>
internal sealed class NaivePerson
{
    public uint SeenAt { get; set; }

    public bool HasLeft { get; set; }

    /// <summary>When the server last received a heartbeat of any device.</summary>
    public uint ReceivedAt { get; set; }

    /// <summary>Whether one device has left and none was heard since.</summary>
    public bool DeviceHasLeft { get; set; }

    /// <summary>The last heartbeat of each kind of device, and whether one of the kind has left since.</summary>
    public Dictionary<DeviceKind, (uint SeenAt, bool Left)> Kinds { get; } = [];

    public uint ActiveAt { get; set; }

    /// <summary>Whether that activity was in the current session; of an offline person, in the last one.</summary>
    public bool IsActive { get; set; }

    public ClaimStatus Manual { get; set; }

    public uint? HiddenAt { get; set; }
}
