namespace Aglow.Durable;

/// <summary>Those who wait until all that was added to the <see cref="Journal"/> is on disk: together, for the next commit that begins.</summary>
/// <remarks>Threading: <see cref="Join"/> from any thread, without a lock; all else by the journal's writer alone.</remarks>
/// <param name="wake">Called when the first of a group joins.</param>
internal sealed class FlushWaiters(Action wake)
{
    private readonly List<Group> _taken = [];
    private Group _next = new();

    /// <summary>Whether somebody waits for a commit that has not begun.</summary>
    public bool IsWanted => Volatile.Read(ref _next).Wanted != 0;

    /// <summary>Completes when a commit that begins from now on has ended well.</summary>
    public Task Join()
    {
        var group = Volatile.Read(ref _next);
        if (Interlocked.Exchange(ref group.Wanted, 1) == 0)
            wake();
        return group.Completion.Task;
    }

    /// <summary>A commit begins: it is for all who have joined so far, and for those of earlier ones that failed.</summary>
    public void Take()
    {
        if (IsWanted)
            _taken.Add(Interlocked.Exchange(ref _next, new Group()));
    }

    /// <summary>The commit has ended well.</summary>
    public void Complete()
    {
        foreach (var group in _taken)
            group.Completion.TrySetResult();
        _taken.Clear();
    }

    private sealed class Group
    {
        public int Wanted;

        public TaskCompletionSource Completion { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);
    }
}
