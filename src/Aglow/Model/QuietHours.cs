using System.Globalization;

namespace Aglow.Model;

/// <summary>
/// The hours in which a person does not want to be disturbed: on these days, between two times of day, in a time zone. If the end is not
/// later than the beginning, it is on the next day. The days are those of the beginning.
/// </summary>
/// <remarks>
/// <code>
///   mon,tue 22:00 07:00 Europe/Berlin        its saved form
///
///   ──┤ busy ├──────────────┤ busy ├────     At(now): the span that contains now, and its claim; the last one is cached
///   22:00   07:00         22:00   07:00
/// </code>
/// If the clock skips a time in spring, the moment of the skip counts. If a time comes twice in autumn, quiet hours begin at the first and
/// end at the second. Any thread; the rule is pure, except that it caches the last result.
/// </remarks>
public sealed class QuietHours : IEquatable<QuietHours>
{
    private static readonly string[] DayNames = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];

    private readonly TimeZoneInfo _zone;
    private readonly int _days;
    private Span? _last;

    private QuietHours(int days, TimeOnly from, TimeOnly to, TimeZoneInfo zone) => (_days, From, To, _zone) = (days, from, to, zone);

    /// <summary>The days on which quiet hours begin, from mon to sun.</summary>
    public IReadOnlyList<string> Days => [.. DayNames.Where((_, day) => (_days & (1 << day)) != 0)];

    /// <summary>The time of the beginning, to the minute.</summary>
    public TimeOnly From { get; }

    /// <summary>The time of the end, to the minute.</summary>
    public TimeOnly To { get; }

    /// <summary>The IANA name of the time zone.</summary>
    public string Zone => _zone.Id;

    /// <summary>The number of a day's name (0: mon); -1 if it is none.</summary>
    public static int DayOf(string name) => Array.IndexOf(DayNames, name);

    /// <summary>
    /// Creates a schedule; null if this machine does not know the time zone. <paramref name="days"/>: bit 0 is Monday; at least one bit.
    /// </summary>
    public static QuietHours? Create(int days, TimeOnly from, TimeOnly to, string zone) =>
        // IANA does not define the short names of other systems ("W. Europe Standard Time")
        TimeZoneInfo.TryFindSystemTimeZoneById(zone, out var found) && found.HasIanaId ? new QuietHours(days, from, to, found) : null;

    /// <summary>Reads the saved form; null if the text is not a schedule or this machine does not know the time zone.</summary>
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

    /// <summary>Whether a second is quiet, and the second of the next change.</summary>
    public (bool IsQuiet, uint ChangesAt) Now(uint now) => (At(now).Claim is not null, At(now).To);

    /// <summary>The time span that contains a second.</summary>
    internal Span At(uint now)
    {
        // another thread may cache another span; each is right for the seconds in it
        if (_last is { } last && now >= last.From && now < last.To)
            return last;
        return _last = Find((long)Pulse.EpochUnixSeconds + now);
    }

    private Span Find(long now)
    {
        var today = DateOnly.FromDateTime(TimeZoneInfo.ConvertTime(DateTimeOffset.FromUnixTimeSeconds(now), _zone).DateTime);
        var (begins, ends, next) = (0L, 0L, long.MaxValue);
        // a week and a day contain every day; a clock that skips a day needs one more
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
        var details = new StatusDetails(null, null, Second(ends));
        // set at its beginning, so it is newer than earlier claims
        var claim = new Claim(Claim.QuietHoursSource, ClaimStatus.Busy, details, SetAt: begins * 1000) { Hours = this };
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

    /// <summary>A time span in which the schedule does not change: its claim, or none.</summary>
    internal sealed record Span(uint From, uint To, Claim? Claim);
}
