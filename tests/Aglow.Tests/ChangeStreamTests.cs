using Aglow.Changes;

namespace Aglow.Tests;

public sealed class ChangeStreamTests
{
    [Fact]
    public async Task A_stream_of_changes_goes_on_after_the_store_was_away()
    {
        await using var app = await FeedApp.StartAsync(new Feed());
        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        using var request = new HttpRequestMessage(HttpMethod.Get, "/changes");
        request.Headers.Accept.ParseAdd("text/event-stream");
        using var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead);
        using var lines = new StreamReader(await answer.Content.ReadAsStreamAsync());
        string? line;
        do
            line = await lines.ReadLineAsync().WaitAsync(TimeSpan.FromSeconds(30));
        while (line is not (null or "event: change"));
        line.ShouldNotBeNull();
    }

    /// <summary>A feed that cannot be read the second time, and has a change the third time.</summary>
    private sealed class Feed : IChangeFeed, IConsumerStore
    {
        private int _reads;

        public IConsumerStore Consumers => this;

        public ValueTask<ChangePage> ReadAsync(string? after, int limit, CancellationToken cancel = default) => ++_reads switch
        {
            2 => throw new StoreUnavailableException("It is away."),
            3 => new(new ChangePage(
                [new("1", UserId.Of(7), true, PresenceStatus.Online, null, ChangeReason.Heartbeat, 0, IsTransition: true)], "1", false)),
            _ => new(new ChangePage([], "0", false)),
        };

        public Task WaitAsync(string after, CancellationToken cancel) =>
            _reads < 3 ? Task.CompletedTask : Task.Delay(Timeout.Infinite, cancel);

        public void Start(Claims claims, Accounts accounts)
        {
        }

        public void Note(uint user)
        {
        }

        public ValueTask<IReadOnlyDictionary<string, string>> ReadAsync(string prefix) => new(new Dictionary<string, string>());

        public ValueTask WriteAsync(string key, string? json) => default;

        public ValueTask<bool> ReplaceAsync(string key, string? before, string? json) => new(true);

        public ValueTask DisposeAsync() => default;
    }
}
