using System.Diagnostics.Metrics;
using Microsoft.Extensions.Logging;
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

    [Fact]
    public async Task A_start_that_fails_gives_the_folder_back_even_if_a_part_cannot_be_closed()
    {
        await (await OpenAsync()).DisposeAsync();
        using (var reader = new BrokenReader())
        {
            var failure = await Should.ThrowAsync<InvalidOperationException>(() => OpenAsync(new LogWithoutRoom("Loaded")));
            failure.Message.ShouldBe("no room");
            reader.Ended.ShouldBeGreaterThan(0);
        }

        await (await OpenAsync()).DisposeAsync();
    }

    [Fact]
    public async Task The_folder_is_given_back_even_if_a_part_cannot_be_closed()
    {
        EmbeddedPresence opened;
        using (new BrokenReader())
        {
            opened = await OpenAsync();
            (await Should.ThrowAsync<InvalidOperationException>(async () => await opened.DisposeAsync())).Message.ShouldBe("broken");
        }

        await (await OpenAsync()).DisposeAsync();
    }

    private Task<EmbeddedPresence> OpenAsync(ILoggerFactory? logs = null) => EmbeddedPresence.OpenAsync(
        new AglowOptions { DataDirectory = _folder.Path, MemoryMegabytes = 64 }, _time, logs ?? NullLoggerFactory.Instance);

    private sealed class BrokenConnection() : FakeConnection(1)
    {
        protected internal override void End(int code) => throw new InvalidOperationException("broken");
    }

    /// <summary>A log that cannot write one event: the sink throws.</summary>
    private sealed class LogWithoutRoom(string name) : ILoggerFactory, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public void AddProvider(ILoggerProvider provider)
        {
        }

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => true;

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (eventId.Name == name)
                throw new InvalidOperationException("no room");
        }

        public void Dispose()
        {
        }
    }

    /// <summary>Reads the metrics of what this test opens, and throws when their meter is disposed.</summary>
    private sealed class BrokenReader : IDisposable
    {
        private readonly AsyncLocal<bool> _isMine = new();
        private readonly MeterListener _listener = new();

        public BrokenReader()
        {
            _listener.InstrumentPublished = (instrument, listener) =>
            {
                if (_isMine.Value && instrument.Meter.Name == AglowMetrics.MeterName)
                    listener.EnableMeasurementEvents(instrument);
            };
            _listener.MeasurementsCompleted = (_, _) =>
            {
                Ended++;
                throw new InvalidOperationException("broken");
            };
            _listener.Start();
            // not the meters that other tests opened before
            _isMine.Value = true;
        }

        public int Ended { get; private set; }

        public void Dispose()
        {
            // ends the instruments that are left without a failure
            _listener.MeasurementsCompleted = null;
            _listener.Dispose();
        }
    }
}
