namespace Aglow.Swarm.Claims;

/// <summary>The rules of claims. Pure, like <see cref="Judge"/>.</summary>
internal static class ClaimJudge
{
    /// <summary>Why a record cannot be true by the person's claims; null: it can.</summary>
    public static string? WhyNot(ClaimBook claims, ServerRecord record, RecordWindow when)
    {
        if (!record.IsOnline)
            return record.Text is null && record.Emoji is null && record.Until is null ? null : "told offline with the text of a status";
        var shown = claims.ShownIn(when.From, when.To);
        if (shown.Any(claim => claim is not { Hides: true } && Claim.IsShownBy(claim, record)))
            return null;
        return $"told {Of(record)}, but claimed {string.Join(" or ", shown.Select(static s => s is null ? "nothing" : $"{s}"))}";
    }

    /// <summary>Why a watcher should have received another record by now; null: the last record may be right.</summary>
    public static string? WhyLate(ClaimBook claims, Promises promises, ServerRecord last, double now)
    {
        if (claims.ShownIn(now - promises.ClaimReceived - promises.Slack, now) is not [var only] || only is { Hides: true })
            return null;
        return Claim.IsShownBy(only, last) ? null : $"last told {Of(last)}, but claimed {(only is null ? "nothing" : $"{only}")}";
    }

    private static string Of(ServerRecord record) =>
        $"{record.Status}, text {record.Text ?? "none"}, emoji {record.Emoji ?? "none"}, until {record.Until}";
}
