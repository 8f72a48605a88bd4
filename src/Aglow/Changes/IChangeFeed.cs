using Aglow.Users;

namespace Aglow.Changes;

/// <summary>
/// The feed of changes: whenever a user comes online, goes offline or changes status. Each change at least once, in order for each user,
/// kept for a limited time. A leave and a return within one commit are no change.
/// </summary>
/// <remarks>
/// Threading: any number of consumers from any thread. A slow consumer costs the others nothing: it reads stored changes at its own pace.
/// </remarks>
public interface IChangeFeed
{
    /// <summary>A value in place of a cursor: the end of the feed.</summary>
    const string Latest = "latest";

    /// <summary>The store in which consumers of this feed keep their places.</summary>
    IConsumerStore Consumers { get; }

    /// <summary>Whether nodes share the feed, so that another node may change consumers' documents.</summary>
    bool IsShared => false;

    /// <summary>Reads changes after a cursor. Completes at once, even if there are none.</summary>
    /// <param name="after">A cursor; null: from the oldest stored change; <see cref="Latest"/>: from the end.</param>
    /// <param name="limit">The most changes to return. A page may hold fewer although more follow; it is empty only at the end.</param>
    /// <param name="cancel">Cancels the call.</param>
    /// <exception cref="FormatException">The cursor is not one of the feed's.</exception>
    ValueTask<ChangePage> ReadAsync(string? after, int limit, CancellationToken cancel = default);

    /// <summary>Completes when there may be changes after this cursor of <see cref="ReadAsync"/>; at once if there are some.</summary>
    Task WaitAsync(string after, CancellationToken cancel);

    /// <summary>Starts to record claims and accounts, once they are loaded.</summary>
    void Start(Claims claims, Accounts accounts);

    /// <summary>Notes that callers may see another status of a user although the user's words did not change. Never waits.</summary>
    void Note(uint user);

    /// <summary>
    /// Runs a consumer on one node at a time. A node without others runs it at once; a shared feed runs it while this node owns the name.
    /// The work gets a token of its ownership, and is canceled when it must end. If it ends before <paramref name="stop"/>, it may run
    /// again.
    /// </summary>
    Task RunOwnedAsync(string name, Func<string, CancellationToken, Task> run, CancellationToken stop) => run("", stop);
}
