using System.Diagnostics.CodeAnalysis;
using Aglow.AspNetCore;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds Aglow to an application's services.</summary>
[SuppressMessage("Naming", "CA1724", Justification = "Found by whoever types services.Add")]
public static class AglowServices
{
    /// <summary>Opens the embedded store in <see cref="Aglow.AglowOptions.DataDirectory"/> when the application starts, and closes it when it has stopped.</summary>
    public static IServiceCollection AddAglow(this IServiceCollection services, Action<Aglow.AglowOptions>? configure = null)
    {
        var options = new Aglow.AglowOptions();
        configure?.Invoke(options);
        return services.AddAglow(options);
    }

    /// <summary>The same, with options that are ready.</summary>
    public static IServiceCollection AddAglow(this IServiceCollection services, Aglow.AglowOptions options) => Add(services, options, presence: null);

    /// <summary>Uses a presence that is started and that its owner closes: for tests and for stores of one's own.</summary>
    public static IServiceCollection AddAglow(this IServiceCollection services, Aglow.AglowOptions options, Aglow.PresenceService presence) =>
        Add(services, options, presence);

    private static IServiceCollection Add(IServiceCollection services, Aglow.AglowOptions options, Aglow.PresenceService? presence)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        services.AddSingleton(s => new PresenceHost(
            options,
            s.GetRequiredService<TimeProvider>(),
            s.GetRequiredService<ILoggerFactory>(),
            s.GetRequiredService<IHostApplicationLifetime>(),
            presence));
        services.AddSingleton<PrometheusText>();
        services.AddHostedService(static s => s.GetRequiredService<PresenceHost>());
        services.AddSingleton(static s => s.GetRequiredService<PresenceHost>().Presence);
        return services;
    }
}
