using System.Net.Http.Json;

namespace Aglow.Stores.Tests;

/// <summary>
/// People whose clients send a heartbeat every interval to one address. If that address does not answer, they use the next one. Like this
/// project's clients, they retry within a second, with jitter.
/// </summary>
internal sealed class Crowd : IDisposable
{
    private static readonly TimeSpan FirstRetryWithin = TimeSpan.FromSeconds(1);

    private readonly CancellationTokenSource _stop = new();
    private readonly Task[] _loops;

    public Crowd(uint[] users, TimeSpan interval, params Uri[] addresses) =>
        // users send one by one, as clients do, so one refused call delays no other user
        _loops = [.. users.Chunk(20).Select(some => Task.Run(() => RunAsync(some, interval, addresses)))];

    public void Dispose()
    {
        _stop.Cancel();
        Task.WaitAll(_loops);
        _stop.Dispose();
    }

    private async Task RunAsync(uint[] users, TimeSpan interval, Uri[] addresses)
    {
        using var http = new HttpClient { Timeout = 2 * interval };
        while (!_stop.IsCancellationRequested)
        {
            try
            {
                var isHeard = false;
                foreach (var address in addresses)
                {
                    isHeard = await TryAsync(http, address, users);
                    if (isHeard)
                        break;
                }

                await Task.Delay(isHeard ? interval : Random.Shared.NextDouble() * FirstRetryWithin, _stop.Token);
            }
            catch (OperationCanceledException) when (_stop.IsCancellationRequested)
            {
                // stopped
            }
        }
    }

    private async Task<bool> TryAsync(HttpClient http, Uri address, uint[] users)
    {
        try
        {
            using var answer = await http.PostAsJsonAsync(new Uri(address, "/heartbeat"), new { user_ids = users }, _stop.Token);
            return answer.IsSuccessStatusCode;
        }
        catch (Exception e) when (e is HttpRequestException || (e is OperationCanceledException && !_stop.IsCancellationRequested))
        {
            return false;
        }
    }
}
