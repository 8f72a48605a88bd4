using System.Text;
using Aglow.Changes;
using Aglow.Changes.Webhooks;

namespace Aglow.Tests;

/// <summary>Answers to a call that adds a webhook.</summary>
public sealed class WebhookCallTests
{
    [Fact]
    public async Task More_webhooks_than_are_allowed_are_a_409()
    {
        (await AddAsync(new Feed(), WebhookDeliveries.Most)).Status.ShouldBe(201);
        var (status, text) = await AddAsync(new Feed(), WebhookDeliveries.Most + 1);
        status.ShouldBe(409);
        text.ShouldContain("Too many webhooks");
    }

    [Theory]
    [InlineData(typeof(InvalidOperationException))]
    [InlineData(typeof(ArgumentException))]
    public async Task A_fault_of_the_server_is_a_500_and_its_text_stays_in_the_log(Type fault)
    {
        var (status, text) = await AddAsync(new Feed(fault));
        status.ShouldBe(500);
        text.ShouldNotContain(Feed.Secret);
    }

    // The last answer.
    private static async Task<(int Status, string Text)> AddAsync(Feed feed, int calls = 1)
    {
        await using var app = await FeedApp.StartAsync(feed);
        using var http = new HttpClient { BaseAddress = new Uri(app.Urls.First()) };
        while (true)
        {
            using var body = new StringContent("""{"url":"https://receiver.example/"}""", Encoding.UTF8, "application/json");
            using var answer = await http.PostAsync("/webhooks", body);
            if (--calls == 0)
                return ((int)answer.StatusCode, await answer.Content.ReadAsStringAsync());
        }
    }

    /// <summary>A feed without changes, whose settings cannot be written if there is a fault.</summary>
    private sealed class Feed(Type? fault = null) : IChangeFeed, IConsumerStore
    {
        public const string Secret = "the place of a file";

        private readonly SortedDictionary<string, string> _settings = new(StringComparer.Ordinal);

        public IConsumerStore Consumers => this;

        public ValueTask<ChangePage> ReadAsync(string? after, int limit, CancellationToken cancel = default) =>
            new(new ChangePage([], "0", false));

        public Task WaitAsync(string after, CancellationToken cancel) => Task.Delay(Timeout.Infinite, cancel);

        public void Start(Claims claims, Accounts accounts)
        {
        }

        public void Note(uint user)
        {
        }

        public ValueTask<IReadOnlyDictionary<string, string>> ReadAsync(string prefix) => new(
            _settings.Where(one => one.Key.StartsWith(prefix, StringComparison.Ordinal)).ToDictionary(StringComparer.Ordinal));

        public ValueTask WriteAsync(string key, string? json)
        {
            if (fault is not null)
                throw (Exception)Activator.CreateInstance(fault, Secret)!;
            _settings[key] = json!;
            return default;
        }

        public ValueTask<bool> ReplaceAsync(string key, string? before, string? json) => new(true);

        public ValueTask DisposeAsync() => default;
    }
}
