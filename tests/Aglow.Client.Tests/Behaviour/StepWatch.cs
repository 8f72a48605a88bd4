namespace Aglow.Client.Tests.Behaviour;

/// <summary>A watch of a scenario: what its loop was told, and the last record of each user.</summary>
internal sealed class StepWatch
{
    private readonly CancellationTokenSource _stop = new();

    public StepWatch(StepScheduler scheduler, AglowClient client, UserId[] users, string? definition) => _ = scheduler.Start(async () =>
    {
        try
        {
            await foreach (var record in client.WatchAsync(users, definition, _stop.Token))
            {
                Told.Add($"{record.User}:{record.Status.ToString().ToLowerInvariant()}");
                Last[record.User] = record;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or AglowException)
        {
            // stopped, or the server has no such definition
        }

        return true;
    });

    public List<string> Told { get; } = [];

    public Dictionary<UserId, PresenceRecord> Last { get; } = [];

    public void Stop() => _stop.Cancel();
}
