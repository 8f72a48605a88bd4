using Microsoft.Extensions.Logging;

namespace Aglow.Server;

/// <summary>
/// Writes at most ten lines a minute of ASP.NET Core's own log, and counts the rest. Any client can trigger such lines, some with a stack
/// trace of two kilobytes: a broken trailer, a connection over the limit, a stream that is reset.
/// </summary>
/// <remarks>Aglow's own events pass. Threading: any thread; a lock for each line of ASP.NET Core's.</remarks>
/// <param name="log">Where lines go.</param>
/// <param name="time">The clock.</param>
internal sealed class FrameworkLogLimit(ILoggerProvider log, TimeProvider time) : ILoggerProvider, ISupportExternalScope
{
    /// <summary>Lines a minute. Enough to see what is wrong, too few to fill a disk.</summary>
    public const int LinesPerMinute = 10;

    private readonly Lock _gate = new();
    private long? _minuteBegan;
    private int _written;
    private int _suppressed;

    public ILogger CreateLogger(string categoryName)
    {
        var logger = log.CreateLogger(categoryName);
        return categoryName.StartsWith("Microsoft.AspNetCore.", StringComparison.Ordinal) ? new Limited(this, logger) : logger;
    }

    public void SetScopeProvider(IExternalScopeProvider scopeProvider) => (log as ISupportExternalScope)?.SetScopeProvider(scopeProvider);

    // its creator disposes the inner provider
    public void Dispose()
    {
    }

    // Whether a line may be written, and how many were suppressed in the minutes before it.
    private bool TryWrite(out int suppressed)
    {
        lock (_gate)
        {
            suppressed = 0;
            if (_minuteBegan is not { } began || time.GetElapsedTime(began) >= TimeSpan.FromMinutes(1))
            {
                _minuteBegan = time.GetTimestamp();
                (suppressed, _suppressed, _written) = (_suppressed, 0, 0);
            }

            if (_written < LinesPerMinute)
            {
                _written++;
                return true;
            }

            _suppressed++;
            return false;
        }
    }

    private sealed class Limited(FrameworkLogLimit limit, ILogger logger) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => logger.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => logger.IsEnabled(logLevel);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!limit.TryWrite(out var suppressed))
                return;
            if (suppressed > 0)
                ServerLog.Suppressed(logger, suppressed);
            logger.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
