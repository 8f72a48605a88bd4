using System.Diagnostics.CodeAnalysis;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Hosting;
using Microsoft.AspNetCore.Authentication;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps Aglow's calls into an application.</summary>
public static class AglowEndpoints
{
    /// <summary>
    /// Maps all calls of the API under a prefix such as <c>/presence</c>, or at the root if there is none. Call <c>AddAglow()</c> first.
    /// The returned group takes conventions for all calls: <c>RequireAuthorization()</c>, <c>RequireHost()</c>, <c>RequireCors()</c>.
    /// The JavaScript client is at <c>client/index.js</c> under the prefix, for anybody.
    /// </summary>
    /// <remarks>
    /// A caller whom the application has authenticated speaks for themself. A caller who meets the policy
    /// <see cref="AglowPolicies.Backend"/> speaks for all users. Only such callers may read metrics, explanations, and lists of the users
    /// who are online. In open mode (<see cref="AglowOptions.OpenMode"/>) anyone speaks for anyone.
    /// </remarks>
    /// <exception cref="InvalidOperationException">
    /// The application neither authenticates its callers nor sets open mode, or does both.
    /// </exception>
    public static RouteGroupBuilder MapAglow(this IEndpointRouteBuilder routes, [StringSyntax("Route")] string prefix = "")
    {
        var services = routes.ServiceProvider;
        var host = services.GetService<PresenceHost>()
            ?? throw new InvalidOperationException("Aglow's services are missing: call builder.Services.AddAglow() before app.MapAglow().");
        var callers = services.GetRequiredService<Callers>();
        RequireDecision(services, host.Options, callers);
        var problems = services.GetRequiredService<ProblemAnswers>();
        var gate = services.GetRequiredService<Gate>();
        // what refuses these calls before CallRefusals must not redirect to a page for people either
        var calls = routes.MapGroup(prefix).DisableCookieRedirect();
        new HeartbeatEndpoints(host, callers, gate, problems).Map(calls);
        new StatusEndpoints(host, callers, gate).Map(calls);
        new ReachEndpoints(host, callers, gate).Map(calls);
        new UserEndpoints(host, callers, gate).Map(calls);
        new ClaimEndpoints(host, callers, gate).Map(calls);
        new VisibilityEndpoints(host, callers, gate).Map(calls);
        new OnlineEndpoints(host, callers, gate).Map(calls);
        new ChangesEndpoints(host, callers, gate).Map(calls);
        new WebhookEndpoints(host, gate).Map(calls);
        new WatchEndpoints(host, callers, gate, problems).Map(calls);
        new OperationsEndpoints(host).Map(calls, gate);
        ClientFiles.Map(calls, gate);
        // describes only the calls that are mapped here, not other endpoints of the application
        var described = new OpenApi(new CompositeEndpointDataSource(((IEndpointRouteBuilder)calls).DataSources));
        calls.MapCalls(
            gate,
            new Call(HttpMethods.Get, Routes.OpenApi, "openapi", "This description", described.HandleAsync)
            {
                Access = CallAccess.Anybody,
                Answers = [new(Routes.Json)],
            });
        return calls;
    }

    private static void RequireDecision(IServiceProvider services, AglowOptions options, Callers callers)
    {
        if (callers.Tokens is not null)
            return;
        // AddAuthentication() registers this service
        var authenticates = services.GetService<IAuthenticationSchemeProvider>() is not null;
        if (authenticates && options.OpenMode)
            throw new InvalidOperationException(
                "This application authenticates its callers, and OpenMode lets anyone speak for anyone: leave one of them out.");
        if (!authenticates && !options.OpenMode)
        {
            throw new InvalidOperationException(
                "Nothing identifies Aglow's callers. Call builder.Services.AddAuthentication() "
                + "(also where middleware of your own sets HttpContext.User), "
                + "or set OpenMode in AddAglow(options => options.OpenMode = true), "
                + "which lets anyone who reaches the application speak for anyone.");
        }
    }

    /// <summary>Answers every path that is not mapped with a problem document. For a server that serves nothing but Aglow.</summary>
    public static IEndpointConventionBuilder MapAglowFallback(this IEndpointRouteBuilder routes) =>
        routes.MapFallback(
            "{**path}",
            routes.ServiceProvider.GetRequiredService<CrossOrigin>().Share(
                routes.ServiceProvider.GetRequiredService<Gate>().Guard(static context => ProblemAnswers.SendAsync(
                    context, 404, "No such path", "There is no such call. /openapi/v1.json lists all calls."))));
}
