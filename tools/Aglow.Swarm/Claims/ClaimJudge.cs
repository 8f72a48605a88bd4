namespace Aglow.Swarm.Claims;

/// <summary>The rules of claims. Pure, like <see cref="Judge"/>.</summary>
internal static class ClaimJudge
{
    /// <summary>Why a record cannot be true by the person's claims; null: it can.</summary>
    public static string? WhyNot(ClaimBook claims, Told told, Telling when)
    {
        if (!told.IsOnline)
            return told.Text is null && told.Emoji is null && told.Until is null ? null : "told offline with the text of a status";
        var shown = claims.ShownIn(when.From, when.To);
        if (shown.Any(said => said is not { Hides: true } && Said.IsShownBy(said, told)))
            return null;
        return $"told {Of(told)}, but claimed {string.Join(" or ", shown.Select(static s => s is null ? "nothing" : $"{s}"))}";
    }

    /// <summary>Why a watcher should have received another record by now; null: the last record may be right.</summary>
    public static string? WhyLate(ClaimBook claims, Promises promises, Told last, double now)
    {
        if (claims.ShownIn(now - promises.ClaimTold - promises.Slack, now) is not [var only] || only is { Hides: true })
            return null;
        return Said.IsShownBy(only, last) ? null : $"last told {Of(last)}, but claimed {(only is null ? "nothing" : $"{only}")}";
    }

    private static string Of(Told told) => $"{told.Status}, text {told.Text ?? "none"}, emoji {told.Emoji ?? "none"}, until {told.Until}";
}
