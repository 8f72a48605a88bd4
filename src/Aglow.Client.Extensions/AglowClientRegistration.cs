using System.Runtime.Versioning;
using Aglow.Client;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Registers an <see cref="AglowClient"/> with an application.</summary>
public static class AglowClientRegistration
{
    /// <summary>The name of the client's <see cref="HttpClient"/> and of its health check.</summary>
    public const string Name = "aglow";

    // how often DNS is resolved again: longer than a request, shorter than the time between most moves of a server
    private static readonly TimeSpan ConnectionLifetime = TimeSpan.FromMinutes(5);

    private static readonly Func<IServiceProvider, IHealthCheck> MakeCheck = static services => new AglowClientHealthCheck(
        services.GetRequiredService<AglowClient>(), services.GetRequiredService<LastRefusal>(),
        services.GetRequiredService<IHttpClientFactory>(), services.GetRequiredService<IOptions<AglowClientSettings>>());

    /// <summary>
    /// Registers one <see cref="AglowClient"/> for the application, with the settings of this section (<see cref="AglowClientSettings"/>).
    /// It is disposed with the application.
    /// </summary>
    /// <returns>A builder for handlers and headers, which apply to calls and to the socket's handshake.</returns>
    public static IHttpClientBuilder AddAglowClient(this IServiceCollection services, IConfiguration section)
    {
        ArgumentNullException.ThrowIfNull(section);
        services.AddOptions<AglowClientSettings>().Bind(section);
        // other configurations than a section have names that are not about this client
        if (section is IConfigurationSection named)
            services.AddSingleton<IValidateOptions<AglowClientSettings>>(new NamesCheck(named));
        return services.AddAglowClient(static _ => { });
    }

    /// <summary>Registers one <see cref="AglowClient"/> for the application. It is disposed with the application.</summary>
    /// <returns>A builder for handlers and headers, which apply to calls and to the socket's handshake.</returns>
    public static IHttpClientBuilder AddAglowClient(this IServiceCollection services, Action<AglowClientSettings> configure)
    {
        ArgumentNullException.ThrowIfNull(services);
        ArgumentNullException.ThrowIfNull(configure);
        services.AddOptions<AglowClientSettings>().Configure(configure).ValidateOnStart();
        services.AddSingleton<IValidateOptions<AglowClientSettings>, Validation>();
        services.AddSingleton(Create);
        services.TryAddSingleton<LastRefusal>();
        var http = services.AddHttpClient(Name);
        http.AddHttpMessageHandler(static services => services.GetRequiredService<LastRefusal>().Handler());
        // in a browser, the browser makes the connections
        if (!OperatingSystem.IsBrowser())
            http.UseSocketsHttpHandler(RenewConnections);
        // The client keeps its HttpClient for the application's life, so its handler is kept and the handler's connections are renewed.
        return http.SetHandlerLifetime(Timeout.InfiniteTimeSpan);
    }

    /// <summary>Checks that the server answers and accepts calls, and that it has not refused this client.</summary>
    public static IHealthChecksBuilder AddAglowClient(
        this IHealthChecksBuilder checks, string name = Name, HealthStatus? failureStatus = null, params string[] tags)
    {
        ArgumentNullException.ThrowIfNull(checks);
        // AddAglowClient(name) registers this check, too; of several with one name, the last counts
        checks.Services.Configure<HealthCheckServiceOptions>(options =>
        {
            if (options.Registrations.FirstOrDefault(one => one.Name == name && one.Factory == MakeCheck) is { } earlier)
                options.Registrations.Remove(earlier);
        });
        return checks.Add(new HealthCheckRegistration(name, MakeCheck, failureStatus, tags));
    }

    [UnsupportedOSPlatform("browser")]
    private static void RenewConnections(SocketsHttpHandler handler, IServiceProvider services) =>
        handler.PooledConnectionLifetime = ConnectionLifetime;

    private static AglowClient Create(IServiceProvider services)
    {
        var settings = services.GetRequiredService<IOptions<AglowClientSettings>>().Value;
        var http = services.GetRequiredService<IHttpClientFactory>().CreateClient(Name);
        var client = new AglowClient(settings.ToOptions(http, services.GetService<TimeProvider>() ?? TimeProvider.System));
        if (services.GetService<ILogger<AglowClient>>() is { } log)
        {
            client.Failed += failure => AglowClientLog.Failed(log, failure.Message);
            client.StateChanged += state => AglowClientLog.Changed(log, state);
        }

        return client;
    }

    // A name that is not a setting stops the start, with one line that names it.
    private sealed class NamesCheck(IConfigurationSection section) : IValidateOptions<AglowClientSettings>
    {
        private static readonly string[] Names =
        [
            nameof(AglowClientSettings.Address), nameof(AglowClientSettings.OtherAddresses), nameof(AglowClientSettings.Token),
            nameof(AglowClientSettings.User),
        ];

        public ValidateOptionsResult Validate(string? name, AglowClientSettings options)
        {
            var wrong = section.GetChildren().FirstOrDefault(static one => !Names.Contains(one.Key, StringComparer.OrdinalIgnoreCase));
            return wrong is null
                ? ValidateOptionsResult.Success
                : ValidateOptionsResult.Fail($"{wrong.Path} is not a setting of the client. Settings are {string.Join(", ", Names)}.");
        }
    }

    // So does a value that cannot be used.
    private sealed class Validation : IValidateOptions<AglowClientSettings>
    {
        public ValidateOptionsResult Validate(string? name, AglowClientSettings options)
        {
            try
            {
                using var http = new HttpClient();
                _ = new AglowClient(options.ToOptions(http, TimeProvider.System));
                return ValidateOptionsResult.Success;
            }
            catch (Exception wrong) when (wrong is ArgumentException or FormatException)
            {
                return ValidateOptionsResult.Fail(wrong.Message);
            }
        }
    }
}

internal static partial class AglowClientLog
{
    [LoggerMessage(1, LogLevel.Warning, "{What}")]
    public static partial void Failed(ILogger log, string what);

    [LoggerMessage(2, LogLevel.Information, "The connection to the presence server is {State}.")]
    public static partial void Changed(ILogger log, ConnectionState state);
}
