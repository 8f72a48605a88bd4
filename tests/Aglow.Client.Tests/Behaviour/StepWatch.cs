using System.Text.Json.Nodes;

namespace Aglow.Client.Tests.Behaviour;

/// <summary>A watch of a scenario: what its loop was told, and the last record of each user.</summary>
internal sealed class StepWatch
{
    private readonly CancellationTokenSource _stop = new();
    private readonly Dictionary<UserId, PresenceRecord> _last = [];

    public StepWatch(StepScheduler scheduler, AglowClient client, UserId[] users, string? definition) => _ = scheduler.Start(async () =>
    {
        try
        {
            await foreach (var record in client.WatchAsync(users, definition, _stop.Token))
            {
                Received.Add($"{record.User}:{record.Status.ToString().ToLowerInvariant()}");
                _last[record.User] = record;
            }
        }
        catch (Exception e) when (e is OperationCanceledException or AglowException)
        {
            // stopped, or the server has no such definition
        }

        return true;
    });

    public List<string> Received { get; } = [];

    public void Stop() => _stop.Cancel();

    /// <summary>Compares the last record of a user with what the step expects.</summary>
    public void SeeRecord(UserId user, JsonObject expected)
    {
        var last = _last.GetValueOrDefault(user);
        last.Status.ToString().ToLowerInvariant().ShouldBe(expected["status"]!.GetValue<string>());
        if (expected["last_seen"] is { } seen)
            (last.LastSeen?.ToUnixTimeSeconds()).ShouldBe(seen.GetValue<long>());
        var until = last.Until?.ToUnixTimeSeconds().ToString();
        foreach (var (member, has) in new[] { ("text", last.Text), ("emoji", last.Emoji), ("until", until) })
        {
            if (expected.ContainsKey(member))
                has.ShouldBe(expected[member]?.ToString());
        }
    }
}
