namespace Aglow.Demo;

/// <summary>What one of the demo's people does.</summary>
internal enum DemoDeed : byte
{
    Come,

    ChooseBusy,

    ChooseAway,

    /// <summary>Removes the chosen status.</summary>
    ChooseAuto,

    Leave,

    /// <summary>Vanishes: the lease will expire.</summary>
    Vanish,
}

/// <summary>
/// What the demo's people do, and when: a rule without a clock. The same seed and the same seconds give the same story.
/// </summary>
/// <remarks>
/// A person is online for half a minute to four minutes and offline for about as long. So of 200 people some two a second do something:
/// lively, but slow enough to follow. One in three is busy or away for a while when online, and one in four vanishes without leaving. Not
/// thread-safe.
/// </remarks>
internal sealed class DemoScript
{
    private readonly Random _random;
    private readonly State[] _people;

    /// <summary>The people at <paramref name="now"/>; about half of them come online within the first seconds.</summary>
    public DemoScript(int people, int seed, uint now)
    {
        _random = new Random(seed);
        _people = new State[people];
        foreach (ref var person in _people.AsSpan())
            person.NextAt = now + (_random.Next(100) < 55 ? Between(0, 1) : Between(3, 150));
    }

    public bool IsHere(int person) => _people[person].IsHere;

    /// <summary>The last seen of a person who has not come online yet: mostly within the last hour, sometimes yesterday.</summary>
    public uint SeenBefore(uint now)
    {
        var part = _random.NextDouble();
        return now - 90 - (uint)(part * part * part * 100_000);
    }

    /// <summary>Everything that happens up to this second and was not returned yet, in the order of persons.</summary>
    public void Until(uint now, List<(int Person, DemoDeed Deed)> deeds)
    {
        for (var i = 0; i < _people.Length; i++)
        {
            ref var person = ref _people[i];
            if (person.NextAt > now)
                continue;
            deeds.Add((i, Next(ref person, now)));
        }
    }

    private DemoDeed Next(ref State person, uint now)
    {
        if (!person.IsHere)
        {
            person = new State { IsHere = true, EndsAt = now + Between(30, 240) };
            // the status that they choose while online, if any
            person.NextAt = _random.Next(3) == 0 ? now + Between(5, 25) : person.EndsAt;
            return DemoDeed.Come;
        }

        if (now >= person.EndsAt)
        {
            var vanishes = _random.Next(4) == 0;
            person = new State { NextAt = now + Between(20, 200) };
            return vanishes ? DemoDeed.Vanish : DemoDeed.Leave;
        }

        if (person.HasChosen)
        {
            (person.HasChosen, person.NextAt) = (false, person.EndsAt);
            return DemoDeed.ChooseAuto;
        }

        (person.HasChosen, person.NextAt) = (true, Math.Min(person.EndsAt, now + Between(10, 90)));
        return _random.Next(2) == 0 ? DemoDeed.ChooseBusy : DemoDeed.ChooseAway;
    }

    private uint Between(int least, int most) => (uint)_random.Next(least, most + 1);

    private record struct State(bool IsHere, bool HasChosen, uint NextAt, uint EndsAt);
}
