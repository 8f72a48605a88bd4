using Microsoft.Extensions.Logging.Console;

namespace Aglow.Server;

/// <summary>Writes one line per event to the standard output, as text or JSON. The framework writes only warnings and errors.</summary>
internal static class Logging
{
    private const string Time = "yyyy-MM-dd'T'HH:mm:ss'Z'";

    public static void Configure(ILoggingBuilder logging, bool asJson)
    {
        if (asJson)
        {
            logging.AddJsonConsole(static console =>
            {
                console.UseUtcTimestamp = true;
                console.TimestampFormat = Time;
            });
        }
        else
        {
            logging.AddSimpleConsole(static console =>
            {
                console.SingleLine = true;
                console.UseUtcTimestamp = true;
                console.TimestampFormat = $"{Time} ";
                console.ColorBehavior = LoggerColorBehavior.Disabled;
            });
        }

        logging.ClearProviders();
        logging.Services.AddSingleton<ConsoleLoggerProvider>();
        logging.Services.AddSingleton<ILoggerProvider>(
            static services =>
                new FrameworkLogLimit(services.GetRequiredService<ConsoleLoggerProvider>(), services.GetRequiredService<TimeProvider>()));
        logging.SetMinimumLevel(LogLevel.Information);
        logging.AddFilter("Microsoft", LogLevel.Warning);
        // with this log on, the framework creates an activity for every request; failures are logged where they are answered
        logging.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None);
        // a failed start is one line on the error stream, without a stack trace
        logging.AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
        logging.AddFilter(static (category, level) =>
            level >= LogLevel.Information && (level != LogLevel.Critical || category != "Microsoft.AspNetCore.Server.Kestrel"));
    }
}
