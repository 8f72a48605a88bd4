namespace Aglow.Tests;

/// <summary>
/// Compares <see cref="QuietHours"/> with a simple model that checks every minute of the wall clock, over days on which clocks are changed.
/// </summary>
public class QuietHoursTests
{
    /// <summary>
    /// Berlin, New York and Lord Howe (half an hour) skip and repeat times; Kathmandu is 5:45 off; Kiritimati is a day ahead.
    /// </summary>
    [Theory]
    [InlineData("Europe/Berlin", "2026-03-26", 7)]
    [InlineData("Europe/Berlin", "2026-10-22", 7)]
    [InlineData("America/New_York", "2026-03-05", 6)]
    [InlineData("America/New_York", "2026-10-29", 6)]
    [InlineData("Australia/Lord_Howe", "2026-04-02", 6)]
    [InlineData("Australia/Lord_Howe", "2026-10-01", 6)]
    [InlineData("Asia/Kathmandu", "2026-06-01", 3)]
    [InlineData("Pacific/Kiritimati", "2026-06-01", 3)]
    [InlineData("UTC", "2026-06-01", 3)]
    public void A_schedule_is_in_force_when_the_clock_on_the_wall_says_so(string zone, string from, int days)
    {
        foreach (var (begin, end) in new[]
        {
            ("22:00", "07:00"), ("02:15", "02:45"), ("01:30", "03:30"), ("02:30", "02:00"), ("00:00", "23:59"), ("09:00", "17:00"),
        })
        {
            foreach (var names in new[] { "mon,tue,wed,thu,fri,sat,sun", "sun", "sat,mon" })
            {
                var hours = QuietHours.TryParse($"{names} {begin} {end} {zone}").ShouldNotBeNull();
                var start = new DateTimeOffset(DateTime.Parse(from), TimeSpan.Zero).ToUnixTimeSeconds() - Pulse.EpochUnixSeconds;
                var paper = new Paper(hours, start, days);
                for (var minute = 0; minute < days * 1440; minute++)
                {
                    var now = (uint)(start + (minute * 60));
                    var span = hours.At(now);
                    (span.Claim is not null).ShouldBe(paper.IsQuiet[minute], $"{hours} at minute {minute}");
                    span.From.ShouldBeLessThanOrEqualTo(now);
                    span.To.ShouldBeGreaterThan(now);
                    if (span.Claim is not null)
                        span.Claim.Until.ShouldBe(span.To);
                }
            }
        }
    }

    [Theory]
    [InlineData("mon 22:00 07:00 Mars/Phobos")]
    [InlineData("mon 22:00 07:00 W. Europe Standard Time")]
    [InlineData("mon 22:00 24:00 UTC")]
    [InlineData("day 22:00 07:00 UTC")]
    [InlineData("mon 22:00 UTC")]
    [InlineData("")]
    public void What_is_no_schedule_is_none(string text) => QuietHours.TryParse(text).ShouldBeNull();

    [Fact]
    public void The_saved_form_reads_as_the_same_schedule()
    {
        var hours = QuietHours.TryParse("sun,mon 22:05 07:00 Europe/Berlin").ShouldNotBeNull();
        hours.ToString().ShouldBe("mon,sun 22:05 07:00 Europe/Berlin");
        QuietHours.TryParse(hours.ToString()).ShouldBe(hours);
        hours.ShouldNotBe(QuietHours.TryParse("sun 22:05 07:00 Europe/Berlin"));
    }

    /// <summary>
    /// Quiet hours are newer than claims that were set before they began, and older than claims that are set while they last.
    /// </summary>
    [Fact]
    public void Quiet_hours_count_from_their_beginning_on()
    {
        var hours = QuietHours.TryParse("mon,tue,wed,thu,fri,sat,sun 22:00 07:00 UTC")!;
        var tenInTheEvening = new DateTimeOffset(2026, 6, 1, 22, 0, 0, TimeSpan.Zero).ToUnixTimeSeconds();
        var now = (uint)(tenInTheEvening + 60 - Pulse.EpochUnixSeconds);
        Claim quiet = Claim.Quiet(hours), before = Of(tenInTheEvening - 1), after = Of(tenInTheEvening + 1);
        EffectiveClaim.Of([quiet, before], now).Status.ShouldBe(ClaimStatus.Busy);
        EffectiveClaim.Of([quiet, after], now).Status.ShouldBe(ClaimStatus.Online);
        EffectiveClaim.Of([quiet, after], now + 86_400).Status.ShouldBe(ClaimStatus.Busy);
        EffectiveClaim.Of([quiet], now + 43_200).ShouldBe(EffectiveClaim.None);

        static Claim Of(long second) => new(Claim.UserSource, ClaimStatus.Online, SetAt: second * 1000);
    }

    // The model: computes each minute of the wall clock, and of some days before and after.
    private sealed class Paper
    {
        private const int Margin = 3 * 1440;

        public Paper(QuietHours hours, long start, int days)
        {
            var zone = TimeZoneInfo.FindSystemTimeZoneById(hours.Zone);
            var minutes = (days * 1440) + (2 * Margin);
            var wall = new DateTime[minutes];
            for (var minute = 0; minute < minutes; minute++)
            {
                var utc = DateTimeOffset.FromUnixTimeSeconds(Pulse.EpochUnixSeconds + start + ((minute - Margin) * 60L)).UtcDateTime;
                wall[minute] = TimeZoneInfo.ConvertTimeFromUtc(utc, zone);
            }

            var quiet = new bool[minutes];
            for (var day = DateOnly.FromDateTime(wall[0]).AddDays(1); day < DateOnly.FromDateTime(wall[^1]); day = day.AddDays(1))
            {
                if (!hours.Days.Contains(day.DayOfWeek.ToString()[..3].ToLowerInvariant()))
                    continue;
                var begin = day.ToDateTime(hours.From);
                var end = (hours.To > hours.From ? day : day.AddDays(1)).ToDateTime(hours.To);
                var first = Array.FindIndex(wall, at => at >= begin);
                // the last minute at which the clock shows the end; if the clock skips the end, the first minute after it
                var stop = Array.LastIndexOf(wall, end) is var shown and >= 0 ? shown : Array.FindIndex(wall, at => at > end);
                for (var minute = Math.Max(first, 0); minute < stop; minute++)
                    quiet[minute] = true;
            }

            IsQuiet = quiet[Margin..^Margin];
        }

        public bool[] IsQuiet { get; }
    }
}
