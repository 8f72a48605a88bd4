using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Hubs;
using Aglow.Changes;
using Microsoft.AspNetCore.SignalR;

namespace Microsoft.Extensions.DependencyInjection;

/// <summary>Presence for SignalR hubs.</summary>
public static class HubPresenceServices
{
    /// <summary>
    /// Makes each connection to any hub of the application a device of its user: <c>builder.Services.AddSignalR().AddAglowPresence()</c>.
    /// Clients need only SignalR, and no second connection. <c>?device_id=&amp;device_kind=</c> in the hub's URL names the device.
    /// </summary>
    public static ISignalRServerBuilder AddAglowPresence(this ISignalRServerBuilder builder, Action<HubPresenceOptions>? configure = null)
    {
        var services = builder.Services;
        // A second call only changes the options. It adds no second filter, because each filter counts a connection as a device.
        var earlier = services.FirstOrDefault(static one => one.ServiceType == typeof(HubPresenceOptions))
            ?.ImplementationInstance as HubPresenceOptions;
        var options = earlier ?? new HubPresenceOptions();
        configure?.Invoke(options);
        if (earlier is not null)
            return builder;
        services.AddSingleton(options);
        // factories, because in Development the container checks types before this class can say that AddAglow() is missing
        services.AddSingleton(static services => ActivatorUtilities.CreateInstance<HubPresence>(services));
        services.AddHostedService<HubPresenceCheck>();
        services.AddOptions<HubOptions>().Configure<IServiceProvider>(static (hubs, services) => hubs.AddFilter(FilterOf(services)));
        return builder;
    }

    /// <summary>
    /// Sends every change of a user's presence to a group of a hub, as <c>presence</c> with a <see cref="HubPresenceRecord"/>. It needs the
    /// feed of changes (<see cref="Aglow.Model.AglowOptions.ChangesHours"/>).
    /// </summary>
    /// <remarks>
    /// Your hub decides which connections are in the group, and so which users may see a change. Changes carry the true status, except for
    /// users who hide.
    /// </remarks>
    /// <param name="builder">The builder of SignalR.</param>
    /// <param name="group">Returns the group for a change; null: the change is not sent.</param>
    public static ISignalRServerBuilder AddAglowPresencePush<THub>(this ISignalRServerBuilder builder, Func<PresenceChange, string?> group)
        where THub : Hub
    {
        builder.Services.AddHostedService(services => ActivatorUtilities.CreateInstance<HubPush<THub>>(services, group));
        return builder;
    }

    private static HubPresence FilterOf(IServiceProvider services) => services.GetService<PresenceHost>() is not null
        ? services.GetRequiredService<HubPresence>()
        : throw new InvalidOperationException("Aglow's services are missing: call builder.Services.AddAglow(), too.");
}
