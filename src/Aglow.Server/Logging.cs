using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Logging.Console;

namespace Aglow.Server;

/// <summary>One line an event, on the standard output, as text or as JSON; the framework's own noise from warnings on.</summary>
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
        logging.Services.AddSingleton<ILoggerProvider>(static services => new FrameworkLogLimit(services.GetRequiredService<ConsoleLoggerProvider>(), services.GetRequiredService<TimeProvider>()));
        logging.SetMinimumLevel(LogLevel.Information);
        logging.AddFilter("Microsoft", LogLevel.Warning);
        // while anyone listens there, every request makes an activity; what fails in a request is logged by the one who answers it
        logging.AddFilter("Microsoft.AspNetCore.Hosting.Diagnostics", LogLevel.None);
        // a start that fails is said in one line on the error stream, not with a stack as well
        logging.AddFilter("Microsoft.Extensions.Hosting", LogLevel.None);
        logging.AddFilter(static (category, level) =>
            level >= LogLevel.Information && (level != LogLevel.Critical || category != "Microsoft.AspNetCore.Server.Kestrel"));
    }
}
