namespace Aglow.Swarm;

/// <summary>
/// The server's wall clock as the swarm knows it: one line of real time, and another line after each step that the swarm makes.
/// </summary>
/// <remarks>
/// <code>
///   unix   second line  ───────╱        after a step forward, earlier heartbeats stay on the first line
///          first line   ──╱             after a step back, earlier heartbeats are moved to the second line
///                 moment  └ step
/// </code>
/// Threading: one thread makes the steps, any thread reads.
/// </remarks>
internal sealed class ServerClock(double unixAtZero)
{
    /// <summary>After this many seconds every node has noticed a step, and writes the new time.</summary>
    public const double Settles = 10;

    private Line[] _lines = [new(unixAtZero, double.PositiveInfinity)];

    /// <summary>The server's clock at moment 0, in seconds since 1970, by its current line.</summary>
    public double UnixAtZero => Volatile.Read(ref _lines)[^1].UnixAtZero;

    public static implicit operator ServerClock(double unixAtZero) => new(unixAtZero);

    /// <summary>Starts a new line: from this moment on, the clock is this many seconds ahead of its beginning.</summary>
    public void StepTo(double moment, double ahead)
    {
        var lines = Volatile.Read(ref _lines);
        Volatile.Write(
            ref _lines, [.. lines[..^1], lines[^1] with { Until = moment }, new(lines[0].UnixAtZero + ahead, double.PositiveInfinity)]);
    }

    /// <summary>The moments of the run at which the server can have written this second: one for each possible line.</summary>
    public IEnumerable<double> MomentsOf(long unix) =>
        from line in Volatile.Read(ref _lines)
        let moment = unix - line.UnixAtZero
        where moment <= line.Until + Settles
        select moment;

    /// <summary>
    /// Until when an act is sure evidence. Without a step, that is <paramref name="end"/>. After a step forward, the guard lasts for two
    /// heartbeats.
    /// </summary>
    public double EvidenceUntil(double moment, double end, double heartbeat)
    {
        var lines = Volatile.Read(ref _lines);
        for (var i = 1; i < lines.Length; i++)
        {
            // the server needs a moment to notice the step
            if (lines[i].UnixAtZero > lines[i - 1].UnixAtZero && moment <= lines[i - 1].Until + 1)
                end = Math.Min(end, Math.Max(moment, lines[i - 1].Until + (2 * heartbeat)));
        }

        return end;
    }

    /// <summary>Whether the clock was set back so recently that older words may still count as new.</summary>
    public bool IsSettling(double moment)
    {
        var lines = Volatile.Read(ref _lines);
        return lines.Length > 1 && lines[^1].UnixAtZero < lines[^2].UnixAtZero && lines[^2].Until + Settles >= moment;
    }

    /// <summary>The latest second that the server can have shown by this moment.</summary>
    public double LatestAt(double moment) =>
        Volatile.Read(ref _lines).Where(line => line.Until + Settles >= moment).Max(line => line.UnixAtZero + moment);

    private readonly record struct Line(double UnixAtZero, double Until);
}
