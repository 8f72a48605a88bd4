namespace Aglow.Client.Tests.Behaviour;

/// <summary>
/// Runs tasks only when a test says so, on the test's thread, one after another: then nothing is under way, and the next step sees all that
/// came of the last.
/// </summary>
internal sealed class StepScheduler : TaskScheduler
{
    private readonly Queue<Task> _tasks = [];

    /// <summary>Runs what is there, and what comes of it, until nothing is left. Returns whether there was anything.</summary>
    public bool Run()
    {
        var ran = false;
        // the test's own context would take what follows to another thread
        var context = SynchronizationContext.Current;
        SynchronizationContext.SetSynchronizationContext(null);
        try
        {
            while (TryTake(out var task))
                ran |= TryExecuteTask(task);
        }
        finally
        {
            SynchronizationContext.SetSynchronizationContext(context);
        }

        return ran;
    }

    /// <summary>Starts work on this scheduler, and runs it as far as it gets.</summary>
    public Task<T> Start<T>(Func<Task<T>> work)
    {
        var task = Task.Factory.StartNew(work, CancellationToken.None, TaskCreationOptions.DenyChildAttach, this).Unwrap();
        Run();
        return task;
    }

    protected override void QueueTask(Task task)
    {
        lock (_tasks)
            _tasks.Enqueue(task);
    }

    protected override bool TryExecuteTaskInline(Task task, bool taskWasPreviouslyQueued) => false;

    protected override IEnumerable<Task> GetScheduledTasks()
    {
        lock (_tasks)
            return [.. _tasks];
    }

    private bool TryTake([System.Diagnostics.CodeAnalysis.NotNullWhen(true)] out Task? task)
    {
        lock (_tasks)
            return _tasks.TryDequeue(out task);
    }
}
