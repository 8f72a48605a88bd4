using System.Net.Http.Json;

namespace Aglow.Stores.Tests;

/// <summary>
/// People whose clients send a heartbeat every interval to one address. If that address does not answer, they use the next one. Like this
/// project's clients, they retry within a second, with jitter.
/// </summary>
internal sealed class Crowd : IAsyncDisposable
{
    private static readonly TimeSpan FirstRetryWithin = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _stop = new();
    private readonly Pace _pace = new();
    private readonly Task[] _loops;

    public Crowd(uint[] users, TimeSpan interval, params Uri[] addresses) =>
        // users send one by one, as clients do, so one refused call delays no other user
        _loops = [.. users.Chunk(20).Select(some => Task.Run(() => RunAsync(some, interval, addresses)))];

    /// <inheritdoc cref="Pace.NobodyWentOffline"/>
    public void NobodyWentOffline(IEnumerable<uint> users, Func<uint, string[]> statuses, Func<uint, string>? describe = null) =>
        _pace.NobodyWentOffline(users, statuses, describe);

    /// <summary>The same by the messages of a watcher.</summary>
    public void NobodyWentOffline(IEnumerable<uint> users, Watcher watcher) =>
        _pace.NobodyWentOffline(users, watcher.Statuses, watcher.Times);

    /// <inheritdoc cref="Pace.ShouldBeOnline"/>
    public void ShouldBeOnline(string? status) => _pace.ShouldBeOnline(status);

    /// <summary>Stops. Heartbeats that were sent have been answered when it completes, so none arrives later.</summary>
    public async ValueTask DisposeAsync()
    {
        if (_stop.IsCancellationRequested)
            return;
        await _stop.CancelAsync();
        await Task.WhenAll(_loops);
        await _pace.DisposeAsync();
        _stop.Dispose();
    }

    private async Task RunAsync(uint[] users, TimeSpan interval, Uri[] addresses)
    {
        using var http = new HttpClient { Timeout = 2 * interval };
        while (!_stop.IsCancellationRequested)
        {
            var isAcknowledged = false;
            foreach (var address in addresses)
            {
                isAcknowledged = _stop.IsCancellationRequested || await TryAsync(http, address, users);
                if (isAcknowledged)
                    break;
            }

            await Task.Delay(isAcknowledged ? interval : Random.Shared.NextDouble() * FirstRetryWithin, _stop.Token)
                .ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        }
    }

    private static async Task<bool> TryAsync(HttpClient http, Uri address, uint[] users)
    {
        try
        {
            using var answer = await http.PostAsJsonAsync(new Uri(address, "/heartbeat"), new { user_ids = users });
            return answer.IsSuccessStatusCode;
        }
        catch (Exception e) when (e is HttpRequestException or OperationCanceledException)
        {
            return false;
        }
    }
}
