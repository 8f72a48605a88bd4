using System.Text;
using System.Text.Json;

namespace Aglow.Client;

/// <summary>
/// Commands of the application that the server has not confirmed: the newest status and the newest activity. Each is sent again until the
/// server answers.
/// </summary>
/// <remarks>
/// <code>
///   Set, Active ─► to be sent ─► TryCompose(id) ─► on its way ─► Done(id)             answered
///                      ▲                               │
///                      └── Tick ◄── Failed(id), Dropped ┴ Lost ─► to be sent          the answer will not come
/// </code>
/// The table holds one command of each kind, so it cannot grow. Threading: any thread; one lock, under which nothing waits and no caller's
/// code runs.
/// </remarks>
internal sealed class Commands(TimeProvider time, Signal work)
{
    // activity from over a minute ago says nothing about now
    private static readonly TimeSpan OldestActivity = TimeSpan.FromSeconds(60);

    private readonly Lock _gate = new();
    private Command? _status;
    private Command? _activity;

    /// <summary>Chooses a status. Completes when the server has answered, or when a newer status was chosen.</summary>
    public Task<StatusOutcome> SetAsync(StatusBody status)
    {
        Command? replaced;
        var command = new Command(time.GetTimestamp(), status);
        lock (_gate)
            (replaced, _status) = (_status, command);
        replaced?.Outcome.TrySetResult(StatusOutcome.Replaced);
        work.Set();
        return command.Outcome.Task;
    }

    public void Active()
    {
        lock (_gate)
            _activity = new Command(time.GetTimestamp(), null);
        work.Set();
    }

    /// <summary>Composes the next message, with this ID; null if there is none.</summary>
    public byte[]? Compose(long id)
    {
        lock (_gate)
        {
            if (_activity is { } old && old.IsDue && time.GetElapsedTime(old.At) > OldestActivity)
                _activity = null;
            if (_status is { IsDue: true } status)
            {
                status.Id = id;
                return JsonSerializer.SerializeToUtf8Bytes(status.Body! with { Type = "status", Id = id }, Wire.Default.StatusBody);
            }

            if (_activity is not { IsDue: true } activity)
                return null;
            activity.Id = id;
            return Encoding.UTF8.GetBytes($"{{\"type\":\"active\",\"id\":{id}}}");
        }
    }

    /// <summary>The server has executed the message with this ID; false if it is not one of these commands.</summary>
    public bool Done(long id) => End(id, null);

    /// <summary>The server has rejected the message with this ID; false if it is not one of these commands.</summary>
    public bool Failed(long id, AglowException failure)
    {
        if (!failure.IsTransient)
            return End(id, failure);
        lock (_gate)
        {
            var command = Find(id);
            command?.WaitForTick();
            return command is not null;
        }
    }

    /// <summary>The server dropped a message, and did not say which.</summary>
    public void Dropped()
    {
        lock (_gate)
        {
            foreach (var command in new[] { _status, _activity })
            {
                if (command?.Id is not null)
                    command.WaitForTick();
            }
        }
    }

    /// <summary>Marks the messages that the server rejected, to be sent again.</summary>
    public void Tick()
    {
        lock (_gate)
        {
            if (_status is not { WaitsForTick: true } && _activity is not { WaitsForTick: true })
                return;
            _status?.WaitsForTick = false;
            _activity?.WaitsForTick = false;
        }

        work.Set();
    }

    /// <summary>The connection is lost: commands without an answer are sent on the next one.</summary>
    public void Lost()
    {
        lock (_gate)
        {
            _status?.Reset();
            _activity?.Reset();
        }
    }

    /// <summary>Ends the commands, because nothing will be sent any more.</summary>
    public void End(AglowException reason)
    {
        Command? status;
        lock (_gate)
            (status, _status, _activity) = (_status, null, null);
        status?.Fail(reason);
    }

    private bool End(long id, AglowException? failure)
    {
        Command? ended;
        lock (_gate)
        {
            ended = Find(id);
            if (ended is null)
                return false;
            if (ended == _status)
                _status = null;
            else
                _activity = null;
        }

        if (failure is null)
            ended.Outcome.TrySetResult(StatusOutcome.Saved);
        else
            ended.Fail(failure);
        return true;
    }

    private Command? Find(long id) => _status?.Id == id ? _status : _activity?.Id == id ? _activity : null;

    // an activity has no body, and nobody waits for its outcome
    private sealed class Command(long at, StatusBody? body)
    {
        public long At => at;

        public StatusBody? Body => body;

        public TaskCompletionSource<StatusOutcome> Outcome { get; } = new(TaskCreationOptions.RunContinuationsAsynchronously);

        /// <summary>The ID of the message that is on its way; null if the command must still be sent.</summary>
        public long? Id { get; set; }

        public bool WaitsForTick { get; set; }

        public bool IsDue => Id is null && !WaitsForTick;

        public void WaitForTick() => (Id, WaitsForTick) = (null, true);

        public void Reset() => (Id, WaitsForTick) = (null, false);

        public void Fail(AglowException reason)
        {
            Outcome.TrySetException(reason);
            // marks the exception as observed, even if no caller waits for it
            _ = Outcome.Task.Exception;
        }
    }
}
