namespace Aglow.Swarm.Claims;

/// <summary>A claim as the swarm set it.</summary>
/// <param name="Source">The source.</param>
/// <param name="Status">The status, as the server spells it.</param>
/// <param name="Text">The text.</param>
/// <param name="Emoji">The emoji.</param>
/// <param name="Until">The second of the server's clock at which it ends; null: it does not end.</param>
/// <param name="Priority">The priority.</param>
internal sealed record Claim(string Source, string Status, string? Text, string? Emoji, long? Until, int Priority)
{
    /// <summary>Whether it hides the user.</summary>
    public bool Hides => Status == "offline";

    /// <summary>Whether heartbeats and activity decide the status.</summary>
    public bool IsAuto => Status == "auto";

    /// <summary>Whether it is in force at this second of the server's clock.</summary>
    public bool IsInForce(long second) => Until is null || Until > second;

    /// <summary>Whether the record of a user who is online shows this claim; null: no claim.</summary>
    public static bool IsShownBy(Claim? claim, ServerRecord record) =>
        record.Text == claim?.Text && record.Emoji == claim?.Emoji && record.Until == claim?.Until
            && (claim is null || claim.IsAuto ? record.Status is "online" or "away" : record.Status == claim.Status);
}

/// <summary>A planned change of a claim, in seconds of the run.</summary>
/// <param name="At">When.</param>
/// <param name="Node">The number of the address.</param>
/// <param name="What">The claim; its <see cref="Claim.Until"/> counts from the change.</param>
/// <param name="Removes">Whether the claim of the source is removed instead.</param>
internal sealed record ClaimChange(double At, int Node, Claim What, bool Removes)
{
    private const double Mean = 20;
    private static readonly string[] Sources = ["user", "calendar", "call"];
    private static readonly string[] Statuses = ["busy", "busy", "busy", "away", "online", "auto", "offline"];

    /// <summary>Draws the changes of one person; one ends before the next begins.</summary>
    public static ClaimChange[] Draw(Random random, double seconds, int nodes)
    {
        var changes = new List<ClaimChange>();
        for (var at = Next(); at < seconds; at += 2 + Next())
        {
            var status = Statuses[random.Next(Statuses.Length)];
            var hasText = status == "auto" || random.NextDouble() < 0.6;
            var claim = new Claim(
                Sources[random.Next(Sources.Length)],
                status,
                hasText ? $"text {random.Next(1000)}" : null,
                random.NextDouble() < 0.3 ? "📞" : null,
                random.NextDouble() < 0.6 ? random.Next(2, 25) : null,
                random.Next(3));
            changes.Add(new ClaimChange(at, random.Next(nodes), claim, random.NextDouble() < 0.25));
        }

        return [.. changes];

        double Next() => -Mean * Math.Log(1 - random.NextDouble());
    }
}
