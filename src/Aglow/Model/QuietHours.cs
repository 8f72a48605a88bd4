using System.Globalization;

namespace Aglow.Model;

/// <summary>
/// When a person does not want to be disturbed: on these days, from one time of the wall clock to another, in a time zone. Where the end is
/// not later than the beginning it is on the next day; the day that counts is that of the beginning.
/// </summary>
/// <remarks>
/// <code>
///   mon,tue 22:00 07:00 Europe/Berlin        its saved form
///
///   ──┤ busy ├──────────────┤ busy ├────     At(now): the span that now is in, and its claim; the last one is remembered
///   22:00   07:00         22:00   07:00
/// </code>
/// A time that the clock skips in spring is the moment at which it skips; of a time that comes twice in autumn, the first begins the quiet
/// hours and the second ends them. Any thread; the rule is pure but for what it remembers.
/// </remarks>
public sealed class QuietHours : IEquatable<QuietHours>
{
    private static readonly string[] DayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    private readonly TimeZoneInfo _zone;
    private readonly int _days;
    private Span? _last;

    private QuietHours(int days, TimeOnly from, TimeOnly to, TimeZoneInfo zone) => (_days, From, To, _zone) = (days, from, to, zone);

    /// <summary>The days on which they begin: mon to sun, in this order.</summary>
    public IReadOnlyList<string> Days => [.. DayNames.Where((_, day) => (_days & (1 << day)) != 0)];

    /// <summary>When they begin, to the minute.</summary>
    public TimeOnly From { get; }

    /// <summary>When they end, to the minute.</summary>
    public TimeOnly To { get; }

    /// <summary>The IANA name of the time zone.</summary>
    public string Zone => _zone.Id;

    /// <summary>The number of a day's name (0: mon); -1 where it is none.</summary>
    public static int DayOf(string name) => Array.IndexOf(DayNames, name);

    /// <summary>
    /// A schedule; null where this machine does not know the time zone. <paramref name="days"/>: bit 0 is Monday; at least one.
    /// </summary>
    public static QuietHours? Create(int days, TimeOnly from, TimeOnly to, string zone) =>
        // the short names of other systems ("W. Europe Standard Time") are none of IANA's
        TimeZoneInfo.TryFindSystemTimeZoneById(zone, out var found) && found.HasIanaId ? new QuietHours(days, from, to, found) : null;

    /// <summary>Reads the saved form; null where this machine does not know the time zone, or the text is none.</summary>
    public static QuietHours? TryParse(string text)
    {
        var parts = text.Split(' ');
        if (parts.Length != 4 || !TryTime(parts[1], out var from) || !TryTime(parts[2], out var to))
            return null;
        var days = 0;
        foreach (var name in parts[0].Split(','))
            days |= DayOf(name) is var day and >= 0 ? 1 << day : 0;
        return days == 0 ? null : Create(days, from, to, parts[3]);
    }

    /// <summary>Reads "22:00".</summary>
    public static bool TryTime(string text, out TimeOnly time) =>
        TimeOnly.TryParseExact(text, "HH:mm", CultureInfo.InvariantCulture, DateTimeStyles.None, out time);

    /// <summary>Writes "22:00".</summary>
    public static string Write(TimeOnly time) => time.ToString("HH:mm", CultureInfo.InvariantCulture);

    /// <summary>The saved form.</summary>
    public override string ToString() => $"{string.Join(',', Days)} {Write(From)} {Write(To)} {Zone}";

    /// <inheritdoc/>
    public bool Equals(QuietHours? other) => other is not null && ToString() == other.ToString();

    /// <inheritdoc/>
    public override bool Equals(object? obj) => Equals(obj as QuietHours);

    /// <inheritdoc/>
    public override int GetHashCode() => ToString().GetHashCode(StringComparison.Ordinal);

    /// <summary>Whether it is quiet at a second, and the second at which that changes next.</summary>
    public (bool IsQuiet, uint ChangesAt) Now(uint now) => (At(now).Claim is not null, At(now).To);

    /// <summary>The span of time that a second is in.</summary>
    internal Span At(uint now)
    {
        // another thread may remember another span: each is right for what is in it
        if (_last is { } last && now >= last.From && now < last.To)
            return last;
        return _last = Find((long)Pulse.EpochUnixSeconds + now);
    }

    private Span Find(long now)
    {
        var today = DateOnly.FromDateTime(TimeZoneInfo.ConvertTime(DateTimeOffset.FromUnixTimeSeconds(now), _zone).DateTime);
        var (begins, ends, next) = (0L, 0L, long.MaxValue);
        // a week and a day have each day, and a clock that skips a day has it a day later
        for (var day = -2; day <= 9; day++)
        {
            var date = today.AddDays(day);
            if ((_days & (1 << (((int)date.DayOfWeek + 6) % 7))) == 0)
                continue;
            var start = ToUnix(date, From, first: true);
            var end = ToUnix(To > From ? date : date.AddDays(1), To, first: false);
            if (start <= now && now < end && end > ends)
                (begins, ends) = (start, end);
            if (start > now)
                next = Math.Min(next, start);
        }

        if (ends == 0)
            return new Span(Second(now), Second(next), null);
        // in force from its beginning on, so newer than what was set before
        var claim =
            new Claim(Claim.QuietHoursSource, ClaimStatus.Busy, new Said(null, null, Second(ends)), SetAt: begins * 1000) { Hours = this };
        return new Span(Second(Math.Max(begins, Pulse.EpochUnixSeconds)), Second(ends), claim);
    }

    private long ToUnix(DateOnly date, TimeOnly time, bool first)
    {
        var local = date.ToDateTime(time);
        while (_zone.IsInvalidTime(local))
            local = local.AddMinutes(1);
        var offset = _zone.GetUtcOffset(local);
        if (_zone.IsAmbiguousTime(local))
            offset = first ? _zone.GetAmbiguousTimeOffsets(local).Max() : _zone.GetAmbiguousTimeOffsets(local).Min();
        return new DateTimeOffset(local, offset).ToUnixTimeSeconds();
    }

    private static uint Second(long unix) => (uint)(unix - Pulse.EpochUnixSeconds);

    /// <summary>From a second to another the schedule says the same: its claim, or none.</summary>
    internal sealed record Span(uint From, uint To, Claim? Claim);
}
