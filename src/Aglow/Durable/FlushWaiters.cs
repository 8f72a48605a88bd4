namespace Aglow.Durable;

/// <summary>
/// Callers who wait until everything that was added to the <see cref="Journal"/> is on disk. All wait together for the next commit.
/// </summary>
/// <remarks>Threading: <see cref="Join"/> from any thread, without a lock; the rest by the journal's writer only.</remarks>
internal sealed class FlushWaiters
{
    private readonly List<Group> _taken = [];
    private Group _next = new();

    /// <summary>Whether a caller waits for a commit that has not begun.</summary>
    public bool IsWanted => Volatile.Read(ref _next).Wanted != 0;

    /// <summary>
    /// Completes when a commit that begins from now on has succeeded. The writer must wake for the first caller of a group.
    /// </summary>
    public Task Join(out bool isFirst)
    {
        var group = Volatile.Read(ref _next);
        isFirst = Interlocked.Exchange(ref group.Wanted, 1) == 0;
        return group.Completion.Task;
    }

    /// <summary>
    /// Call it when a commit begins. The commit serves all callers who have joined, and those of a failed commit before it.
    /// </summary>
    public void Take()
    {
        if (IsWanted)
            _taken.Add(Interlocked.Exchange(ref _next, new Group()));
    }

    /// <summary>Call it when the commit has succeeded.</summary>
    public void Complete()
    {
        foreach (var group in _taken)
            group.Completion.TrySetResult();
        _taken.Clear();
    }

    /// <summary>All waiting callers get this exception.</summary>
    public void Fail(Exception failure)
    {
        Take();
        foreach (var group in _taken)
            group.Completion.TrySetException(failure);
        _taken.Clear();
    }

    private sealed class Group
    {
        public int Wanted;

        public TaskCompletionSource Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
