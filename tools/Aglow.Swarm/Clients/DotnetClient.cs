using Aglow.Client;

namespace Aglow.Swarm.Clients;

/// <summary>The .NET client, in this process.</summary>
internal sealed class DotnetClient : IRealClient
{
    private AglowClient? _client;
    private Task _watch = Task.CompletedTask;

    public void Connect(Uri node, uint user, uint[] watched, ClientSession session)
    {
        var client = _client = new AglowClient(new AglowClientOptions(node)
        {
            User = user,
            Device = new ClientDevice("dotnet", DeviceKind.Desktop),
        });
        client.StateChanged += state => session.Changed(state == ConnectionState.Open);
        _watch = WatchAsync(client, watched, session);
    }

    public async Task<bool> LeaveAsync() => await _client!.LeaveAsync() == LeaveOutcome.Left;

    public async ValueTask DisposeAsync()
    {
        if (_client is not null)
            await _client.DisposeAsync();
        await _watch;
    }

    // the watch connects, and ends with the client
    private static async Task WatchAsync(AglowClient client, uint[] watched, ClientSession session)
    {
        try
        {
            await foreach (var record in client.WatchAsync(watched.Select(static user => (Aglow.Client.UserId)user)))
                session.Receive(uint.Parse(record.User.ToString()), Read(record));
        }
        catch (Exception failure) when (failure is AglowException or ObjectDisposedException)
        {
            // the server refused the watch; the auditor finds what is missing
        }
    }

    private static ServerRecord? Read(PresenceRecord record) => record.Status == PresenceStatus.Unknown ? null : new ServerRecord(
        record.IsOnline, record.Status.ToString().ToLowerInvariant(), record.LastSeen?.ToUnixTimeSeconds())
    {
        Text = record.Text,
        Emoji = record.Emoji,
        Until = record.Until?.ToUnixTimeSeconds(),
        Devices = record.Devices == DeviceKinds.None ? null
            : [.. record.Devices.ToString().Split(", ").Select(static kind => kind.ToLowerInvariant())],
        ActiveAt = record.ActiveAt?.ToUnixTimeSeconds(),
    };
}
