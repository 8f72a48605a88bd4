using Microsoft.Extensions.Logging.Abstractions;

namespace Aglow.Tests;

/// <summary>The order in which presence on one machine closes.</summary>
public sealed class EmbeddedPresenceTests : IDisposable
{
    private readonly TemporaryFolder _folder = new();
    private readonly ManualTimeProvider _time = new();

    public void Dispose() => _folder.Dispose();

    [Fact]
    public async Task The_last_words_are_on_disk_even_if_a_connection_cannot_be_ended()
    {
        var opened = await OpenAsync();
        await opened.Presence.HeartbeatAsync(1);
        _time.Advance(TimeSpan.FromSeconds(5));
        // a renewal: only closing the store writes it
        await opened.Presence.HeartbeatAsync(1);
        var seen = opened.Presence.Clock.Now;
        _time.Advance(TimeSpan.FromSeconds(5));
        opened.Presence.Watchers.Open(new BrokenConnection(), "{}"u8.ToArray());
        (await Should.ThrowAsync<InvalidOperationException>(async () => await opened.DisposeAsync())).Message.ShouldBe("broken");
        File.Exists(_folder.File("presence.db-wal")).ShouldBeFalse();

        await using var again = await OpenAsync();
        (await again.Presence.StatusAsync(1)).LastSeen.ShouldBe(seen);
    }

    private Task<EmbeddedPresence> OpenAsync() => EmbeddedPresence.OpenAsync(
        new AglowOptions { DataDirectory = _folder.Path, MemoryMegabytes = 64 }, _time, NullLoggerFactory.Instance);

    private sealed class BrokenConnection() : FakeConnection(1)
    {
        protected internal override void End(int code) => throw new InvalidOperationException("broken");
    }
}
