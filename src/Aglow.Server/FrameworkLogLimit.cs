namespace Aglow.Server;

/// <summary>
/// Limits log lines that requests cause: ten a minute for ASP.NET Core, and ten a minute for Aglow's calls. The other lines are counted.
/// </summary>
/// <remarks>
/// Any client can cause such lines, some with a stack trace of two kilobytes: a broken trailer, a connection over the limit, a stream
/// reset. Aglow's other events are not limited. Threading: any thread; one lock per limited line.
/// </remarks>
internal sealed class FrameworkLogLimit(ILoggerProvider log, TimeProvider time) : ILoggerProvider, ISupportExternalScope
{
    /// <summary>Lines a minute: enough to see what is wrong, too few to fill a disk.</summary>
    public const int LinesPerMinute = 10;

    private readonly LineRate _framework = new(time);
    private readonly LineRate _calls = new(time);

    public ILogger CreateLogger(string categoryName)
    {
        var logger = log.CreateLogger(categoryName);
        return categoryName == HttpLog.Category ? new Limited(_calls, logger)
            : categoryName.StartsWith("Aglow", StringComparison.Ordinal) ? logger
            : new Limited(_framework, logger);
    }

    public void SetScopeProvider(IExternalScopeProvider scopeProvider) => (log as ISupportExternalScope)?.SetScopeProvider(scopeProvider);

    // the creator of the inner provider disposes it
    public void Dispose()
    {
    }

    private sealed class LineRate(TimeProvider time)
    {
        private readonly Lock _gate = new();
        private long? _minuteBegan;
        private int _written;
        private int _suppressed;

        // Returns whether a line may be written, and how many lines were suppressed in the minutes before.
        public bool TryWrite(out int suppressed)
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
    }

    private sealed class Limited(LineRate limit, ILogger logger) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => logger.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => logger.IsEnabled(logLevel);

        public void Log<TState>(
            LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (!limit.TryWrite(out var suppressed))
                return;
            if (suppressed > 0)
                ServerLog.Suppressed(logger, suppressed);
            logger.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
