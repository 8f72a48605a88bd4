using Aglow.AspNetCore;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Logging;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Maps Aglow's calls into an application.</summary>
public static class AglowEndpoints
{
    /// <summary>Maps all calls of the API; add a prefix with a route group. Services come from <c>AddAglow()</c>.</summary>
    public static IEndpointRouteBuilder MapAglow(this IEndpointRouteBuilder routes)
    {
        var host = routes.ServiceProvider.GetRequiredService<PresenceHost>();
        var problems = new ProblemAnswers(routes.ServiceProvider.GetRequiredService<ILoggerFactory>().CreateLogger("Aglow.Http"));
        new HeartbeatEndpoints(host, problems).Map(routes);
        new StatusEndpoints(host, problems).Map(routes);
        new UserEndpoints(host, problems).Map(routes);
        new OnlineEndpoints(host, problems).Map(routes);
        new WatchEndpoints(host, problems).Map(routes);
        new OperationsEndpoints(host, problems, routes.ServiceProvider.GetRequiredService<PrometheusText>()).Map(routes);
        // described are the calls mapped here, whatever else the application maps
        var described = new OpenApi(new CompositeEndpointDataSource(routes.DataSources));
        routes.MapGet(Routes.OpenApi, problems.Guard(described.HandleAsync)).WithDisplayName("openapi");
        return routes;
    }

    /// <summary>Answers every path that nothing else is mapped to with a problem document. For a server of Aglow's own.</summary>
    public static IEndpointConventionBuilder MapAglowFallback(this IEndpointRouteBuilder routes) =>
        routes.MapFallback("{**path}", static context => ProblemAnswers.SendAsync(
            context, 404, "No such path", "There is no such call. See /openapi/v1.json for those there are."));
}
