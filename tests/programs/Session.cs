using Aglow.Client;

namespace Aglow.Programs;

/// <summary>What every program here does with the client on a real server.</summary>
internal static class Session
{
    /// <summary>Comes online, watches itself, chooses a status, asks and leaves. Returns what it saw.</summary>
    public static async Task<string> RunAsync(AglowClient client, UserId me)
    {
        var seen = new List<string>();
        await foreach (var record in client.WatchAsync([me]))
        {
            if (record.Status.ToString() is var status && status != seen.LastOrDefault())
                seen.Add(status);
            if (record.Status == PresenceStatus.Online && !seen.Contains("Saved"))
                seen.Add((await client.SetStatusAsync(ManualStatus.Busy, new StatusDetails { Text = "Lunch" })).ToString());
            if (record is { Status: PresenceStatus.Busy, Text: "Lunch" })
                break;
        }

        client.Resume();
        seen.Add((await client.StatusOfAsync(me)).Status.ToString());
        seen.Add((await client.LeaveAsync()).ToString());
        seen.Add((await client.StatusOfAsync(me)).Status.ToString());
        return string.Join(' ', seen);
    }
}
