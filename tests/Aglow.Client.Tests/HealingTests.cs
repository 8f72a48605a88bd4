using Aglow.Model;

namespace Aglow.Client.Tests;

/// <summary>Servers that are killed, stopped and frozen, and clients that see it through.</summary>
public class HealingTests
{
    // the lease is long, so that nobody goes offline because the machine is busy
    private static readonly string[] Quick = ["--lease-seconds", "60", "--heartbeat-seconds", "2"];

    private static AglowClient Client(AglowProcess server, UserId user) => new(new AglowClientOptions(server.Address)
    {
        User = user,
        FirstRetryWithin = TimeSpan.FromMilliseconds(100),
        RetryWithin = TimeSpan.FromSeconds(1),
    });

    [Theory]
    [InlineData(9)]
    [InlineData(15)]
    public async Task A_server_that_was_killed_or_stopped_and_is_back_is_watched_as_before(int signal)
    {
        using var folder = new TemporaryFolder();
        var states = new System.Collections.Concurrent.ConcurrentQueue<ConnectionState>();
        await using var server = await AglowProcess.StartAsync(folder.Path, Quick);
        var address = server.Address;
        await using var client = Client(server, "ann");
        client.StateChanged += states.Enqueue;
        await using var other = Client(server, "bob");
        var opened = 0;
        other.StateChanged += state => opened += state == ConnectionState.Open ? 1 : 0;
        await other.ConnectAsync();
        await using var seen = Watching.Of(client, "bob", 42);
        string[] snapshot = [await seen.NextTextAsync(), await seen.NextTextAsync()];
        snapshot.ShouldBe(["bob:Online", "42:Offline"], ignoreOrder: true);
        server.Signal(signal);
        await server.ExitAsync();

        var unknown = await seen.NextAsync();
        unknown.Status.ShouldBe(PresenceStatus.Unknown);
        unknown.IsOnline.ShouldBeFalse();
        (await seen.NextAsync()).Status.ShouldBe(PresenceStatus.Unknown);
        client.State.ShouldBe(ConnectionState.Connecting);

        await using var again = AglowProcess.Run(folder.Path, Quick, urls: address.AbsoluteUri);
        await again.ReadyAsync();
        await seen.UntilAsync("bob", PresenceStatus.Online);
        // a leave during a connect may be overtaken by it
        await Eventually.TrueAsync(() => Volatile.Read(ref opened) == 2, "bob is connected again");
        await other.LeaveAsync();
        await seen.UntilAsync("bob", PresenceStatus.Offline);
        states.Take(4).ShouldBe([ConnectionState.Connecting, ConnectionState.Open, ConnectionState.Connecting, ConnectionState.Open]);
    }

    [Theory]
    [InlineData(9)]
    [InlineData(15)]
    public async Task When_one_of_two_addresses_is_killed_or_stopped_connections_and_calls_go_on_at_the_other(int signal)
    {
        await using var one = await AglowProcess.StartAsync(null, Quick);
        await using var two = await AglowProcess.StartAsync(null, Quick);
        await using var client = new AglowClient(new AglowClientOptions(one.Address)
        {
            OtherAddresses = [two.Address],
            User = "ann",
            FirstRetryWithin = TimeSpan.FromMilliseconds(100),
            RetryWithin = TimeSpan.FromSeconds(1),
        });
        await using var caller = new AglowClient(new AglowClientOptions(one.Address) { OtherAddresses = [two.Address] });
        await using var watcher = Client(two, "bob");
        await using var seen = Watching.Of(watcher, "ann");
        await client.ConnectAsync();
        (await caller.StatusOfAsync("ann")).IsOnline.ShouldBeTrue();
        one.Signal(signal);
        await seen.UntilAsync("ann", PresenceStatus.Online);
        await one.ExitAsync();
        (await caller.StatusOfAsync("ann")).IsOnline.ShouldBeTrue();
        await client.LeaveAsync();
        await seen.UntilAsync("ann", PresenceStatus.Offline);
    }

    [Fact]
    public async Task A_server_that_falls_silent_is_noticed_though_the_connection_stands()
    {
        await using var server = await AglowProcess.StartAsync(null, Quick);
        await using var client = Client(server, "ann");
        await using var seen = Watching.Of(client, "ann");
        await seen.UntilAsync("ann", PresenceStatus.Online);
        // SIGSTOP: the kernel goes on to acknowledge, nobody answers
        server.Signal(19);
        try
        {
            (await seen.NextTextAsync()).ShouldBe("ann:Unknown");
            client.State.ShouldBe(ConnectionState.Connecting);
        }
        finally
        {
            server.Signal(18);
        }

        await seen.UntilAsync("ann", PresenceStatus.Online);
    }
}
