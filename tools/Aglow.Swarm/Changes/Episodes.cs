namespace Aglow.Swarm.Changes;

/// <summary>A time in which a person was surely online, or surely offline.</summary>
/// <param name="IsOnline">Which of the two.</param>
/// <param name="From">Since when, at the latest.</param>
/// <param name="Until">Until when, at least.</param>
internal readonly record struct Episode(bool IsOnline, double From, double Until);

/// <summary>
/// The episodes of one person that lasted long enough that every backend must hear of them. Two equal ones in a row count as one.
/// Threading: the auditor.
/// </summary>
internal sealed class Episodes
{
    /// <summary>A backend may miss a shorter one. In seconds.</summary>
    public const double Least = 10;

    private readonly List<Episode> _episodes = [];
    private Episode? _now;

    /// <summary>All episodes, alternating.</summary>
    public IReadOnlyList<Episode> All => _episodes;

    /// <summary>Called once a second.</summary>
    public void Note(Standing standing, double now)
    {
        bool? isOnline = standing.SurelySince is not null ? true : standing.IsPossible ? null : false;
        if (isOnline is not { } sure)
        {
            _now = null;
            return;
        }

        var from = standing.SurelySince ?? Math.Max(standing.PossiblyUntil, 0);
        _now = _now is { } was && was.IsOnline == sure ? was with { Until = now } : new Episode(sure, from, now);
        if (now - _now.Value.From < Least)
            return;
        if (_episodes.Count > 0 && _episodes[^1].IsOnline == sure)
            _episodes[^1] = _episodes[^1] with { Until = now };
        else
            _episodes.Add(_now.Value);
    }
}
