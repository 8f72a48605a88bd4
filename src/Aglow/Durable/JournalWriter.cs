using System.Runtime.InteropServices;
using Aglow.Sqlite;

namespace Aglow.Durable;

/// <summary>The thread that writes the <see cref="Journal"/>: when it commits, ticks, checkpoints and retries.</summary>
/// <remarks>
/// <code>
///   Expect ─► 50 ms ─┐                    ┌─ Commit: rows for the queued users
///   FlushedAsync ────┼─► wake ─► one turn ┼─ Tick: the node is alive
///   5 s ─────────────┘                    └─ one slice of a checkpoint, if one is running or due
/// </code>
/// Timers only set a flag and wake the thread, so all work on the file runs one after another.
/// Threading: <see cref="Expect"/>, <see cref="FlushedAsync"/>, <see cref="NoteStep"/> and the figures from any thread, without a lock. The
/// thread calls all methods that write. If it was not started, a test may call them instead.
/// </remarks>
#pragma warning disable CA1001 // nobody disposes the event, because a timer or the clock may still set it after the end
internal sealed class JournalWriter(PresenceFile file, AglowLog log, FolderWatch? watch, JournalWork work, JournalRows rows)
#pragma warning restore CA1001
{
    private readonly Clock _clock = rows.Clock;
    private readonly FlushWaiters _flushes = new();
    private readonly AutoResetEvent _wake = new(false);
    private readonly TaskCompletionSource _stopped = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private Thread? _thread;
    private ITimer? _commitTimer;
    private ITimer? _tickTimer;
    private ITimer? _sliceTimer;
    private long _failingSince;
    // the earliest second to which the clock was set back in this run; FileState.Since must not be later
    private uint _sinceAtMost = uint.MaxValue;
    private long _waitingSince;
    private volatile bool _failing;
    private bool _failureLogged;
    private volatile bool _commitDue;
    private volatile bool _tickDue;
    private volatile bool _sliceDue;
    private volatile bool _stopping;
    private volatile bool _abandons;

    public JournalRows Rows { get; } = rows;

    public bool IsStarted => _thread is not null;

    public bool IsFailing => _failing;

    public long Failures { get; private set; }

    /// <summary>The last second at which this node noted that it is alive.</summary>
    public uint LastTick { get; private set; }

    /// <summary>
    /// How long the oldest queued user has waited. While nothing can be written: the time since the first failure.
    /// </summary>
    public TimeSpan Lag =>
        _failing ? _clock.Time.GetElapsedTime(Volatile.Read(ref _failingSince))
        : work.Queue.Count > 0 ? _clock.Time.GetElapsedTime(Volatile.Read(ref _waitingSince))
        : TimeSpan.Zero;

    public void Start()
    {
        _commitTimer = CreateTimer(() => _commitDue = true);
        _tickTimer = CreateTimer(() => _tickDue = true);
        _tickTimer.Change(Journal.TickInterval, Journal.TickInterval);
        _sliceTimer = CreateTimer(() => _sliceDue = true);
        _sliceDue = Rows.Checkpoint.IsRunning;
        _thread = new Thread(Run) { IsBackground = true, Name = "journal" };
        _thread.Start();
        _commitTimer.Change(Journal.CommitInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Commits soon. Called when users are added to an empty queue.</summary>
    public void Expect()
    {
        Volatile.Write(ref _waitingSince, _clock.Time.GetTimestamp());
        // a failing writer retries by itself
        if (!_failing)
            _commitTimer?.Change(Journal.CommitInterval, Timeout.InfiniteTimeSpan);
    }

    /// <summary>Completes when a commit that begins from now on has succeeded. Throws as <see cref="Journal.FlushedAsync"/> does.</summary>
    public ValueTask FlushedAsync()
    {
        if (_failing && _clock.Time.GetElapsedTime(Volatile.Read(ref _failingSince)) > Journal.FlushTimeout)
            throw Unavailable();
        var committed = _flushes.Join(out var isFirst);
        if (isFirst)
            _wake.Set();
        return committed.IsCompletedSuccessfully ? default : WaitAsync(committed);
    }

    /// <summary>
    /// Notes that the clock was set. After a step back, words of this run may be of earlier seconds than the end of the run before.
    /// </summary>
    public void NoteStep(uint from, uint to)
    {
        if (to < from)
            Volatile.Write(ref _sinceAtMost, Math.Min(_sinceAtMost, to));
        _tickDue = true;
        _wake.Set();
    }

    /// <summary>Ends the thread and closes the file, after a last commit or as a crash would.</summary>
    public Task StopAsync(bool abandons)
    {
        _abandons = abandons;
        _stopping = true;
        _wake.Set();
        return _stopped.Task;
    }

    public void Commit()
    {
        _commitDue = false;
        _flushes.Take();
        if (_failing)
            SetAside();
        watch?.EnsureSame();
        var beganAt = _clock.Time.GetTimestamp();
        // users added from here on wait for the next commit
        for (var left = work.Queue.Count; work.Take(ref left);)
            Write();
        if (_failing)
            Recovered();
        _flushes.Complete();
        // users added during the commit found a queue that was not empty, and so set no timer
        if (work.Queue.Count > 0)
        {
            Volatile.Write(ref _waitingSince, beganAt);
            _commitTimer?.Change(Journal.CommitInterval, Timeout.InfiniteTimeSpan);
        }
    }

    /// <summary>Notes in the file that the node is alive.</summary>
    public void Tick()
    {
        _tickDue = false;
        file.Write(() =>
        {
            var since = Math.Min(file.State.Since, Volatile.Read(ref _sinceAtMost));
            file.WriteState(file.State with { Tick = _clock.Now, Since = since });
        });
        watch?.EnsureSame();
        LastTick = file.State.Tick;
        var doubtful = Rows.Checkpoint.Doubtful;
        if (doubtful.Count > 0 && work.Queue.Add(Plane.Pulse, CollectionsMarshal.AsSpan(doubtful)))
            Expect();
        doubtful.Clear();
    }

    /// <summary>Commits the queued users and the exact words of users who are online, and marks the stop as clean.</summary>
    public void CommitLast()
    {
        Commit();
        var at = _clock.Moment;
        Rows.TakeOnline(at, Write);
        file.Write(() => file.WriteState(file.State with { Tick = at.Now, IsClean = true }));
        watch?.EnsureSame();
    }

    /// <summary>Writes a whole checkpoint without pauses. Only if the thread was not started.</summary>
    public void CheckpointNow()
    {
        Rows.BeginCheckpoint();
        while (Rows.StepCheckpoint())
        {
            // to the end
        }
    }

    private async ValueTask WaitAsync(Task committed)
    {
        try
        {
            await committed.WaitAsync(Journal.FlushTimeout, _clock.Time);
        }
        catch (TimeoutException)
        {
            throw Unavailable();
        }
    }

    private StoreUnavailableException Unavailable() =>
        new($"Nothing could be written to {file.FilePath} for 2 s; it is tried again, try again later.");

    // The timer is stopped at first. When it fires, it sets a flag and wakes the thread.
    private ITimer CreateTimer(Action fire) => _clock.Time.CreateTimer(
        _ =>
        {
            fire();
            _wake.Set();
        },
        null,
        Timeout.InfiniteTimeSpan,
        Timeout.InfiniteTimeSpan);

    private void Run()
    {
        while (!_stopping)
        {
            _wake.WaitOne();
            if (!_stopping)
                Turn();
        }

        Stop();
    }

    // Every failure leads to a retry, because no other thread can write.
    private void Turn()
    {
        try
        {
            if (_failing ? _commitDue : _commitDue || _flushes.IsWanted)
                Commit();
            if (_tickDue && !_failing)
                Tick();
            if (Rows.Checkpoint.IsDue(Rows.JournalBytes))
            {
                Rows.BeginCheckpoint();
                _sliceDue = true;
            }

            if (_sliceDue && !_failing)
                Slice();
        }
        catch (Exception e)
        {
            Failed(e);
        }
    }

    // After each slice, the thread leaves the disk alone for as long as the slice took.
    private void Slice()
    {
        _sliceDue = false;
        var time = _clock.Time;
        var began = time.GetTimestamp();
        if (Rows.StepCheckpoint())
        {
            var took = time.GetElapsedTime(began).TotalMilliseconds;
            _sliceTimer!.Change(TimeSpan.FromMilliseconds(Math.Max(1, took)), Timeout.InfiniteTimeSpan);
        }
        else
        {
            log.Checkpointed(file.FilePath, Rows.Checkpoint.LastTook.TotalSeconds);
        }
    }

    private void Write()
    {
        try
        {
            Rows.Write();
        }
        catch
        {
            // before the count goes down, see Journal.FlushedAsync
            BeginFailing();
            work.SetAside();
            throw;
        }
    }

    // notes the time of the first failure in a row
    private void BeginFailing()
    {
        if (_failing)
            return;
        Volatile.Write(ref _failingSince, _clock.Time.GetTimestamp());
        _failing = true;
    }

    private void SetAside()
    {
        work.SetQueueAside();
        if (watch is { Trouble: not null })
            return;
        try
        {
            // the disk may be full; copying committed pages into the file frees room in the WAL
            file.FoldWal();
        }
        catch (Exception e) when (e is Microsoft.Data.Sqlite.SqliteException or IOException or StoreUnavailableException)
        {
            // the commit that follows fails as well, and reports why
        }
    }

    private void Failed(Exception e)
    {
        Failures++;
        BeginFailing();
        watch?.Check();
        if (watch is { Trouble: { } trouble })
        {
            _flushes.Fail(new StoreUnavailableException(trouble));
        }
        else
        {
            if (!_failureLogged)
                log.CannotWrite(file.FilePath, e.Message, "Heartbeats are served from memory and written later");
            _failureLogged = true;
        }

        _commitTimer?.Change(Journal.RetryInterval, Timeout.InfiniteTimeSpan);
    }

    private void Recovered()
    {
        // if the queue was empty, no write has succeeded yet: this one proves that writes work again
        Tick();
        _failing = false;
        if (_failureLogged)
            log.WritesAgain(file.FilePath, _clock.Time.GetElapsedTime(_failingSince).TotalSeconds);
        _failureLogged = false;
        if (Rows.Checkpoint.IsRunning)
            _sliceDue = true;
    }

    private void Stop()
    {
        _commitTimer!.Dispose();
        _tickTimer!.Dispose();
        _sliceTimer!.Dispose();
        try
        {
            if (_abandons)
            {
                file.Abandon();
            }
            else
            {
                CommitLast();
                file.Dispose();
            }

            _stopped.SetResult();
        }
        catch (Exception e)
        {
            file.Abandon();
            _stopped.SetException(new StoreUnavailableException(
                $"The newest words could not be written to {file.FilePath} ({e.Message}); the next start treats them as after a crash.",
                e));
        }

        // callers that still wait in FlushedAsync get an exception after 2 s
    }
}
