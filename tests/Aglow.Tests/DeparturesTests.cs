using System.Text.Json;

namespace Aglow.Tests;

/// <summary>A drain in simulated time, with beats that come late.</summary>
public sealed class DeparturesTests
{
    private static readonly TimeSpan Over = TimeSpan.FromSeconds(8);

    [Theory]
    [InlineData(10)]
    [InlineData(20_000)]
    public void Every_connection_closes_at_the_time_it_was_told_also_if_others_open_meanwhile(int count)
    {
        var (now, random) = (TimeSpan.FromHours(1), new Random(25));
        var connections = new Slots<WatchConnection>();
        List<Client> clients = [];
        var departures = new Departures(connections, static (_, _) => { }, () => now);
        for (var i = 0; i < count; i++)
            Open();
        var gone = new TaskCompletionSource();
        var began = now;
        departures.Begin(Over, gone);
        for (var beat = 0; !gone.Task.IsCompleted; beat++)
        {
            now += WatchHub.BeatInterval + TimeSpan.FromMilliseconds(random.Next(30));
            departures.Beat();
            if (beat % 10 == 5 && now - began < Over)
                departures.Opened(Open());
        }

        (now - began).ShouldBeInRange(Over, Over + TimeSpan.FromMilliseconds(100));
        foreach (var client in clients)
        {
            var late = (client.ClosedAt ?? now) - client.NotifiedAt - client.After;
            late.ShouldBeInRange(TimeSpan.Zero, TimeSpan.FromMilliseconds(100));
        }

        // evenly spread: about half of the connections from the beginning close in the first half of the time
        clients.Take(count).Count(client => client.ClosedAt - began < Over / 2).ShouldBeInRange(count / 3, 2 * count / 3);

        Client Open()
        {
            var client = new Client(() => now);
            client.Id = connections.Add(client);
            clients.Add(client);
            return client;
        }
    }

    [Fact]
    public void A_second_drain_ends_with_the_first_and_tells_nobody_again()
    {
        var now = TimeSpan.FromHours(1);
        var connections = new Slots<WatchConnection>();
        var client = new Client(() => now);
        client.Id = connections.Add(client);
        var departures = new Departures(connections, static (_, _) => { }, () => now);
        var (first, second, late) = (new TaskCompletionSource(), new TaskCompletionSource(), new TaskCompletionSource());
        departures.Begin(Over, first);
        departures.Beat();
        var notifiedAt = client.NotifiedAt;
        now += Over / 2;
        departures.Begin(Over, second);
        departures.Beat();
        (client.NotifiedAt, first.Task.IsCompleted, second.Task.IsCompleted).ShouldBe((notifiedAt, false, false));
        now += Over / 2;
        departures.Beat();
        (first.Task.IsCompleted, second.Task.IsCompleted).ShouldBe((true, true));
        departures.Begin(Over, late);
        departures.Beat();
        late.Task.IsCompleted.ShouldBeTrue();
    }

    private sealed class Client(Func<TimeSpan> now) : FakeConnection(1)
    {
        public TimeSpan NotifiedAt { get; private set; }

        public TimeSpan After { get; private set; }

        public TimeSpan? ClosedAt { get; private set; }

        protected internal override bool Send(ReadOnlySpan<byte> json)
        {
            using var message = JsonDocument.Parse(json.ToArray());
            After = TimeSpan.FromMilliseconds(message.RootElement.GetProperty("after_ms").GetInt64());
            NotifiedAt = now();
            return true;
        }

        protected internal override void End(int code) => ClosedAt = now();
    }
}
