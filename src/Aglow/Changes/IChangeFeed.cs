using Aglow.Users;

namespace Aglow.Changes;

/// <summary>
/// The feed of changes: every transition of every user, in order for each user, at least once, kept for a time.
/// </summary>
/// <remarks>Threading: any number of consumers from any thread. A slow consumer costs the others nothing: it reads what is kept, at its
/// own pace.</remarks>
public interface IChangeFeed
{
    /// <summary>In place of a cursor: the end of the feed.</summary>
    const string Latest = "latest";

    /// <summary>Where consumers of this feed keep their places.</summary>
    IConsumerStore Consumers { get; }

    /// <summary>Whether nodes share the feed, so that consumers' documents may change by themselves.</summary>
    bool IsShared => false;

    /// <summary>Reads changes after a cursor. Completes at once, also where there are none.</summary>
    /// <param name="after">A cursor; null: from the oldest change that is kept; <see cref="Latest"/>: from the end.</param>
    /// <param name="limit">How many at most. A page may hold fewer although more follow; it is empty only at the end.</param>
    /// <param name="cancel">Ends the call.</param>
    /// <exception cref="FormatException">The cursor is not one of the feed's.</exception>
    ValueTask<ChangePage> ReadAsync(string? after, int limit, CancellationToken cancel = default);

    /// <summary>Completes when there may be changes after this cursor of <see cref="ReadAsync"/>; at once where there are some.</summary>
    Task WaitAsync(string after, CancellationToken cancel);

    /// <summary>Begins to record what is claimed of users, once that is loaded.</summary>
    void Start(Claims claims, Accounts accounts);

    /// <summary>Says that what is shown of a user may have changed though their words did not. Never waits.</summary>
    void Note(uint user);

    /// <summary>
    /// Runs a consumer on one node at a time: here, now, where this node is alone; else while this node owns the name. The work gets a
    /// token of its ownership, and a cancellation when it must end; when it ends before <paramref name="stop"/>, it may run again.
    /// </summary>
    Task RunOwnedAsync(string name, Func<string, CancellationToken, Task> run, CancellationToken stop) => run("", stop);
}
