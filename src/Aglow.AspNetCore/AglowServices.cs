using System.Diagnostics.CodeAnalysis;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Proxies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Authorization.Policy;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection.Extensions;
using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Adds Aglow to an application's services.</summary>
[SuppressMessage("Naming", "CA1724", Justification = "Callers find it by typing services.Add")]
public static class AglowServices
{
    /// <summary>
    /// Adds Aglow with the embedded store. It opens <see cref="Aglow.Model.AglowOptions.DataDirectory"/> when the application starts, and
    /// closes it when the application has stopped. It registers the health check <c>presence</c> with the tag <c>ready</c>.
    /// </summary>
    public static IServiceCollection AddAglow(this IServiceCollection services, Action<Aglow.Model.AglowOptions>? configure = null)
    {
        var options = new Aglow.Model.AglowOptions();
        configure?.Invoke(options);
        return services.AddAglow(options);
    }

    /// <summary>
    /// The same, with options from a section of the application's configuration, such as <c>builder.Configuration.GetSection("Aglow")</c>,
    /// and then from code.
    /// </summary>
    /// <exception cref="InvalidOperationException">
    /// The section has a name that is not an option, or a value that cannot be read.
    /// </exception>
    public static IServiceCollection AddAglow(
        this IServiceCollection services, IConfigurationSection section, Action<Aglow.Model.AglowOptions>? configure = null)
    {
        var options = new Aglow.Model.AglowOptions();
        try
        {
            section.Bind(options, static binding => binding.ErrorOnUnknownConfiguration = true);
        }
        catch (InvalidOperationException wrong)
            when (wrong.Message.Contains(nameof(BinderOptions.ErrorOnUnknownConfiguration), StringComparison.Ordinal))
        {
            // the framework speaks of its own options first, and ends with the names
            var names = wrong.Message[(wrong.Message.LastIndexOf(':') + 1)..].Trim();
            throw new InvalidOperationException($"The section {section.Path} has a name that is not an option of Aglow: {names}.", wrong);
        }

        configure?.Invoke(options);
        return services.AddAglow(options);
    }

    /// <summary>The same, with complete options.</summary>
    public static IServiceCollection AddAglow(this IServiceCollection services, Aglow.Model.AglowOptions options) =>
        services.AddAglow(options, async (time, logs) => await Aglow.EmbeddedPresence.OpenAsync(options, time, logs));

    /// <summary>
    /// Adds Aglow with a presence that <paramref name="open"/> opens when the application starts, such as a node that shares a Redis. It is
    /// closed when the application has stopped.
    /// </summary>
    public static IServiceCollection AddAglow(
        this IServiceCollection services,
        Aglow.Model.AglowOptions options,
        Func<TimeProvider, ILoggerFactory, Task<Aglow.IOpenPresence>> open) =>
        Add(services, options, presence: null, open);

    /// <summary>Adds Aglow with a presence that is already started and that its owner closes: for tests and custom stores.</summary>
    public static IServiceCollection AddAglow(
        this IServiceCollection services, Aglow.Model.AglowOptions options, Aglow.PresenceService presence) =>
        Add(services, options, presence, static (_, _) => throw new InvalidOperationException("It is open."));

    /// <summary>
    /// Adds a handler of every change, including leaves and expired leases: <c>services.AddAglow().OnChange&lt;MyHandler&gt;()</c>. Each
    /// change gets a new handler, in a scope of its own.
    /// </summary>
    /// <remarks>
    /// See <see cref="Aglow.Changes.IPresenceChangeHandler"/>. <see cref="Aglow.Changes.IPresenceEvents"/> gives the same changes as a
    /// sequence, but does not store how far it was read.
    /// </remarks>
    public static IServiceCollection OnChange<[DynamicallyAccessedMembers(DynamicallyAccessedMemberTypes.PublicConstructors)] THandler>(
        this IServiceCollection services)
        where THandler : class, Aglow.Changes.IPresenceChangeHandler
    {
        services.TryAddScoped<THandler>();
        return services.AddHostedService<ChangeHandlerHost<THandler>>();
    }

    private static object Make(ServiceDescriptor service, IServiceProvider services) =>
        service.ImplementationInstance
            ?? service.ImplementationFactory?.Invoke(services)
            ?? ActivatorUtilities.CreateInstance(services, service.ImplementationType!);

    private static IServiceCollection Add(
        IServiceCollection services,
        Aglow.Model.AglowOptions options,
        Aglow.PresenceService? presence,
        Func<TimeProvider, ILoggerFactory, Task<Aglow.IOpenPresence>> open)
    {
        services.TryAddSingleton(TimeProvider.System);
        services.AddSingleton(options);
        // made by a factory: in Development the container checks every other registration at start, and most apps have no CredentialCheck
        services.AddSingleton(static s => new KnownCallers(s.GetRequiredService<CredentialCheck>(), s.GetRequiredService<TimeProvider>()));
        services.AddSingleton(s => new PresenceHost(
            options,
            Tokens(s),
            s.GetRequiredService<TimeProvider>(),
            s.GetRequiredService<ILoggerFactory>(),
            s.GetRequiredService<IHostApplicationLifetime>(),
            presence,
            s.GetRequiredService<ConnectionLimit>(),
            s.GetRequiredService<Gate>,
            open));
        services.TryAddSingleton(new AccessOptions());
        services.AddSingleton<RateLimits>();
        services.AddSingleton(new Holdings(options.MaxConnectionsPerUser));
        services.AddSingleton<Gate>();
        services.AddSingleton(s => new CrossOrigin(options, s));
        services.AddSingleton<AppGate>();
        // an application may have a handler of its own
        var handler = services.LastOrDefault(static one => one.ServiceType == typeof(IAuthorizationMiddlewareResultHandler));
        services.AddTransient<IAuthorizationMiddlewareResultHandler>(s => new CallRefusals(
            s.GetRequiredService<ProblemAnswers>(),
            s.GetRequiredService<CrossOrigin>(),
            handler is null ? new AuthorizationMiddlewareResultHandler() : (IAuthorizationMiddlewareResultHandler)Make(handler, s)));
        services.TryAddSingleton(new TrustedProxies([], readsProxyProtocol: false));
        services.AddSingleton<LimitReports>();
        services.AddSingleton<ProblemAnswers>();
        services.AddSingleton(s => ActivatorUtilities.CreateInstance<ConnectionLimit>(s, options.MaxConnectionsPerAddress));
        services.AddSingleton(static s =>
        {
            var tokens = Tokens(s);
            var host = s.GetRequiredService<PresenceHost>();
            return new Callers(
                () => host.Presence,
                tokens,
                isOpen: tokens is null && s.GetRequiredService<Aglow.Model.AglowOptions>().OpenMode);
        });
        services.AddHostedService(static s => s.GetRequiredService<PresenceHost>());
        services.AddHealthChecks().Add(new HealthCheckRegistration(
            PresenceHealthCheck.Name, static s => new PresenceHealthCheck(s.GetRequiredService<PresenceHost>()), null, ["ready"]));
        services.AddSingleton(static s => s.GetRequiredService<PresenceHost>().Presence);
        services.AddSingleton<Aglow.Changes.IPresenceEvents>(
            static s => new Aglow.Changes.PresenceEvents(s.GetRequiredService<PresenceHost>().RequireChanges));
        return services;
    }

    // only a server that takes tokens registers a CredentialCheck
    private static KnownCallers? Tokens(IServiceProvider services) =>
        services.GetService<CredentialCheck>() is null ? null : services.GetRequiredService<KnownCallers>();
}
