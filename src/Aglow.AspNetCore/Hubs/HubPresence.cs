using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Sockets;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Connections.Features;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.AspNetCore.SignalR;
using Microsoft.Extensions.Options;

namespace Aglow.AspNetCore.Hubs;

/// <summary>
/// A filter of all hubs of the application. It makes each connection to a hub a device of its user.
/// </summary>
/// <remarks>
/// <code>
///   connected     find the user ─► account, limit and first heartbeat, as for a socket ─► HubLink turns received data into heartbeats
///   call          brings back a user who left on all devices
///   disconnected  the device leaves: offline after a heartbeat interval and 2 s, unless it is back (a reloaded page)
///   cut off       the lease expires
///   signed out, disabled, deleted, sign-in ended   the connection is aborted
/// </code>
/// Threading: any thread.
/// </remarks>
internal sealed class HubPresence(PresenceHost host, Callers callers, HubPresenceOptions options, IHostApplicationLifetime lifetime)
    : IHubFilter
{
    public async Task OnConnectedAsync(HubLifetimeContext context, Func<HubLifetimeContext, Task> next)
    {
        await BeginAsync(context.Context);
        try
        {
            await next(context);
        }
        catch when (context.Context.Features.Get<HubLink>() is { } link)
        {
            // SignalR closes the connection after this; a client that connects again then finds its place free
            await link.EndAsync(leaves: false);
            throw;
        }
    }

    public ValueTask<object?> InvokeMethodAsync(HubInvocationContext invocationContext, Func<HubInvocationContext, ValueTask<object?>> next)
    {
        invocationContext.Context.Features.Get<HubLink>()?.OnHubCall();
        return next(invocationContext);
    }

    public async Task OnDisconnectedAsync(HubLifetimeContext context, Exception? exception, Func<HubLifetimeContext, Exception?, Task> next)
    {
        try
        {
            await next(context, exception);
        }
        finally
        {
            // when the server stops, it closes all connections, and no device leaves
            if (context.Context.Features.Get<HubLink>() is { } link)
                await link.EndAsync(leaves: exception is null && !lifetime.ApplicationStopping.IsCancellationRequested);
        }
    }

    private async ValueTask BeginAsync(HubCallerContext context)
    {
        if ((options.User is { } user ? user(context) : Callers.Of(context.User)) is not { } who)
            return;
        var request = context.GetHttpContext();
        var transport = context.Features.GetRequiredFeature<IConnectionTransportFeature>();
        try
        {
            var link = new HubLink(context, who, ClientOf(request), host.Sockets);
            transport.Transport = await link.BeginAsync(transport.Transport);
            context.Features.Set(link);
        }
        catch (ProblemException refused)
        {
            throw new HubException($"{refused.Title}: {refused.Message}", refused);
        }
        catch (NotInThisDeploymentException refused)
        {
            throw new HubException(refused.Message, refused);
        }
    }

    private Client ClientOf(HttpContext? request)
    {
        if (request is null)
            return new Client(Caller: null, Address: null, Device.Unnamed());
        var device = DeviceNames.DeviceOf(
            RequestParameters.Text(request, Routes.DeviceIdQuery), RequestParameters.Text(request, Routes.DeviceKindQuery));
        return new Client(Caller: null, request.Connection.RemoteIpAddress, device ?? Device.Unnamed(), callers.SessionOf(request));
    }
}

/// <summary>Checks at the start that connections to hubs can be devices in this application.</summary>
internal sealed class HubPresenceCheck(IServiceProvider services, HubPresenceOptions options) : IHostedService
{
    // SignalR's default for ClientTimeoutInterval
    private static readonly TimeSpan DefaultSilence = TimeSpan.FromSeconds(30);

    public Task StartAsync(CancellationToken cancellationToken)
    {
        var host = services.GetRequiredService<PresenceHost>();
        if (options.User is null && services.GetService<IAuthenticationSchemeProvider>() is null)
        {
            throw new InvalidOperationException(
                "Connections to the hubs have no user. Call builder.Services.AddAuthentication(), or set "
                + $"{nameof(HubPresenceOptions.User)} in AddAglowPresence(options => options.User = …).");
        }

        // a client may be silent for almost this long before SignalR drops it, so the lease must not be shorter
        var silence = services.GetRequiredService<IOptions<HubOptions>>().Value.ClientTimeoutInterval ?? DefaultSilence;
        var lease = TimeSpan.FromSeconds(host.Options.LeaseSeconds);
        if (silence > lease)
        {
            throw new InvalidOperationException(
                $"ClientTimeoutInterval of SignalR ({silence.TotalSeconds} s) is longer than LeaseSeconds ({lease.TotalSeconds} s), so "
                + "a client that pings as seldom as SignalR allows would be shown offline. Set ClientTimeoutInterval to LeaseSeconds at "
                + "most, and the keep-alive interval of the clients to half of that.");
        }

        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
}
