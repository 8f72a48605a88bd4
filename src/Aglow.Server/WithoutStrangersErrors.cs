using Microsoft.Extensions.Logging;

namespace Aglow.Server;

/// <summary>
/// Leaves out of the log what anybody can put there, at two kilobytes a request: the web server's error for a body that nobody read and that ends in a trailer which is no text. It has answered,
/// and closes the connection; no request of a client's own making is an operator's business.
/// </summary>
/// <remarks>By the number of the event, which filters of the framework do not see: its category is that of all of the web server's errors.</remarks>
/// <param name="log">Where everything else goes.</param>
internal sealed class WithoutStrangersErrors(ILoggerProvider log) : ILoggerProvider, ISupportExternalScope
{
    private const string WebServer = "Microsoft.AspNetCore.Server.Kestrel";

    // RequestBodyDrainBodyReaderInvalidState
    private const int BodyNotDrained = 67;

    public ILogger CreateLogger(string categoryName)
    {
        var logger = log.CreateLogger(categoryName);
        return categoryName == WebServer ? new Filter(logger) : logger;
    }

    public void SetScopeProvider(IExternalScopeProvider scopeProvider) => (log as ISupportExternalScope)?.SetScopeProvider(scopeProvider);

    // whoever made it ends it
    public void Dispose()
    {
    }

    private sealed class Filter(ILogger logger) : ILogger
    {
        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => logger.BeginScope(state);

        public bool IsEnabled(LogLevel logLevel) => logger.IsEnabled(logLevel);

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter)
        {
            if (eventId.Id != BodyNotDrained)
                logger.Log(logLevel, eventId, state, exception, formatter);
        }
    }
}
