namespace Aglow;

/// <summary>What one of the demo's people does.</summary>
internal enum DemoDeed : byte
{
    /// <summary>Comes online.</summary>
    Come,

    /// <summary>Chooses busy.</summary>
    ChooseBusy,

    /// <summary>Chooses away.</summary>
    ChooseAway,

    /// <summary>Chooses nothing any more.</summary>
    ChooseAuto,

    /// <summary>Says goodbye.</summary>
    Leave,

    /// <summary>Is not heard of any more: a lease will run out.</summary>
    Vanish,
}

/// <summary>
/// What the demo's people do, and when: a rule without a clock. The same seed and the same seconds give the same story.
/// </summary>
/// <remarks>
/// A person is here for half a minute to four minutes and gone for about as long, so of 200 some two a second do something: enough to see it live,
/// not so much that nobody can be followed with the eye. One in three is busy or away for a while when here, one in four vanishes without a word.
/// Not thread-safe.
/// </remarks>
internal sealed class DemoScript
{
    private readonly Random _random;
    private readonly State[] _people;

    /// <summary>People who begin at <paramref name="now"/>: about half of them come within the first seconds.</summary>
    public DemoScript(int people, int seed, uint now)
    {
        _random = new Random(seed);
        _people = new State[people];
        foreach (ref var person in _people.AsSpan())
            person.NextAt = now + (_random.Next(100) < 55 ? Between(0, 1) : Between(3, 150));
    }

    /// <summary>Whether a person's device heartbeats.</summary>
    public bool IsHere(int person) => _people[person].IsHere;

    /// <summary>The second at which somebody was seen last who has not come yet: most within the hour, some yesterday.</summary>
    public uint SeenBefore(uint now)
    {
        var part = _random.NextDouble();
        return now - 90 - (uint)(part * part * part * 100_000);
    }

    /// <summary>All that is done up to this second and was not told yet, in order of persons.</summary>
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
            // what they choose while they are here, if anything
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
