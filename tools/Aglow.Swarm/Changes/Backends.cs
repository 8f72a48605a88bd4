namespace Aglow.Swarm.Changes;

/// <summary>
/// The backends of a run: one that follows the feed, and one that receives a webhook. Both must end with the true state of every person.
/// </summary>
internal sealed class Backends(PeopleRun swarm) : IDisposable
{
    private readonly Episodes[] _episodes = [.. Enumerable.Range(0, CountOf(swarm.Options)).Select(static _ => new Episodes())];
    private readonly List<Ledger> _ledgers = [];
    private FeedReader? _feed;
    private WebhookReceiver? _webhook;

    /// <summary>What each backend knows.</summary>
    public IReadOnlyList<Ledger> Ledgers => _ledgers;

    /// <summary>Starts to receive changes, before anybody acts.</summary>
    public async Task BeginAsync(CancellationToken stop)
    {
        if (swarm.Options.FollowsFeed)
        {
            _feed = new FeedReader(swarm, NewLedger("the feed"));
            await _feed.BeginAsync(stop);
        }

        if (swarm.Options.WebhookPort > 0)
        {
            _webhook = new WebhookReceiver(swarm, NewLedger("the webhook"));
            await _webhook.BeginAsync(swarm.Options.WebhookPort, stop);
        }
    }

    /// <summary>The loops of the backends.</summary>
    public IEnumerable<Func<CancellationToken, Task>> Lives()
    {
        if (_feed is not null)
            yield return _feed.RunAsync;
        if (_webhook is not null)
            yield return _webhook.RunAsync;
    }

    /// <summary>Called once a second for each person.</summary>
    public void Note(int person, Standing standing, double now)
    {
        if (_episodes.Length > 0)
            _episodes[person].Note(standing, now);
    }

    /// <summary>Compares what each backend knows with what happened.</summary>
    public void JudgeEnd(double now)
    {
        foreach (var ledger in _ledgers)
        {
            for (var person = 0; person < _episodes.Length; person++)
                Judge(ledger, swarm.UserOf(person), _episodes[person].All, now);
        }
    }

    /// <summary>Removes the webhook.</summary>
    public Task EndAsync() => _webhook?.EndAsync() ?? Task.CompletedTask;

    public void Dispose() => _webhook?.Dispose();

    private void Judge(Ledger ledger, uint user, IReadOnlyList<Episode> episodes, double now)
    {
        var changes = ledger.Of(user);
        bool? isOnline = changes is [.., var last] ? last.IsOnline : null;
        if (ChangeJudge.OfEnd(swarm.StandingOf(user), swarm.Promises, isOnline, now) is { } wrong)
            swarm.Report(wrong, user, now, $"at the end of {ledger.Name}", ledger.HistoryOf(user));
        foreach (var missed in ChangeJudge.Missed(episodes, changes, swarm.MomentOf))
        {
            var why = $"never told {(missed.IsOnline ? "online" : "offline")}, surely so from {missed.From:0.000} "
                + $"to {missed.Until:0.000} s";
            swarm.Report(
                Verdict.Broken(ViolationKind.MissedByChanges, why), user, now, $"by {ledger.Name}", ledger.HistoryOf(user));
        }
    }

    private static int CountOf(SwarmOptions options) =>
        options.FollowsFeed || options.WebhookPort > 0 ? options.People + (2 * options.Clients) : 0;

    private Ledger NewLedger(string name)
    {
        var ledger = new Ledger(swarm, name);
        _ledgers.Add(ledger);
        return ledger;
    }
}
