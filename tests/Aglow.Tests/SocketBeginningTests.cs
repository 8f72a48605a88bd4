using System.IO.Pipelines;
using Aglow.AspNetCore.Sockets;

namespace Aglow.Tests;

public sealed class SocketBeginningTests
{
    private const uint User = 7;

    [Fact]
    public async Task A_socket_whose_subscriptions_cannot_be_read_counts_no_longer()
    {
        var options = new AglowOptions { MemoryMegabytes = 512, KnownKeys = 1024 };
        var presence = new PresenceService(
            new MemoryPlaneStore(PageBudget.Of(options)), new FakeDirectory(), new LocalTransitionBus(),
            new Clock(new ManualTimeProvider(), new StallGuard(20)), options, new AglowMetrics(), new AglowLog(NullLogger.Instance));
        var host = new SocketHost(presence, options, tokens: null, gate: null);
        var client = new Client(Caller: null, Address: null, Device.Unnamed());
        host.Sockets.TryEnter(User, most: 1).ShouldBeTrue();

        // the directory knows no subscriptions
        var running = host.RunAsync(new Pipe().Reader, new Nothing(), new Arrival(UserId.Of(User), User, client));
        while (!running.IsCompleted)
            await presence.Watchers.BeatAsync();
        await Should.ThrowAsync<NotSupportedException>(() => running);
        presence.Watchers.Connections.ShouldBe(0);
        host.Sockets.TryEnter(User, most: 1).ShouldBeTrue();
    }

    private sealed class Nothing : SocketOutput
    {
        public override bool Send(ReadOnlySpan<byte> frames) => true;
    }
}
