using System.Diagnostics.CodeAnalysis;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Hosting;
using Aglow.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps Aglow's calls into an application.</summary>
public static class AglowEndpoints
{
    /// <summary>
    /// Maps all calls of the API under a prefix (<c>/presence</c>), at the root where there is none. Services come from <c>AddAglow()</c>. What is returned takes
    /// conventions for all of them: <c>RequireAuthorization()</c>, <c>RequireHost()</c>, <c>RequireCors()</c>.
    /// </summary>
    /// <remarks>
    /// Where the application has authentication, a caller speaks for themself only, and who meets the policy <see cref="AglowPolicies.Backend"/> for all; where it has none,
    /// anyone speaks for anyone.
    /// </remarks>
    public static RouteGroupBuilder MapAglow(this IEndpointRouteBuilder routes, [StringSyntax("Route")] string prefix = "")
    {
        var services = routes.ServiceProvider;
        var host = services.GetService<PresenceHost>()
            ?? throw new InvalidOperationException("Aglow's services are missing: call builder.Services.AddAglow() before app.MapAglow().");
        var callers = services.GetRequiredService<Callers>();
        var rates = services.GetRequiredService<RateLimits>();
        var problems = new ProblemAnswers(services.GetRequiredService<ILoggerFactory>().CreateLogger(HttpLog.Category));
        var gate = new Gate(callers, rates, problems);
        var calls = routes.MapGroup(prefix);
        new HeartbeatEndpoints(host, callers, rates, problems).Map(calls, gate);
        new StatusEndpoints(host, callers, problems).Map(calls, gate);
        new UserEndpoints(host, callers, rates, problems).Map(calls, gate);
        new VisibilityEndpoints(host, callers, rates, problems).Map(calls, gate);
        new OnlineEndpoints(host, callers, problems).Map(calls, gate);
        new WatchEndpoints(host, callers, problems).Map(calls, gate);
        new OperationsEndpoints(host, problems).Map(calls, gate);
        // described are the calls mapped here, whatever else the application maps
        var described = new OpenApi(new CompositeEndpointDataSource(((IEndpointRouteBuilder)calls).DataSources));
        calls.MapGet(Routes.OpenApi, services.GetRequiredService<CrossOrigin>().Share(problems.Guard(described.HandleAsync))).WithDisplayName("openapi");
        return calls;
    }

    /// <summary>Answers every path that nothing else is mapped to with a problem document. For a server of Aglow's own.</summary>
    public static IEndpointConventionBuilder MapAglowFallback(this IEndpointRouteBuilder routes) =>
        routes.MapFallback("{**path}", static context => ProblemAnswers.SendAsync(
            context, 404, "No such path", "There is no such call. See /openapi/v1.json for those there are."));
}
