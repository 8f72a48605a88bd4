using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;
using Aglow.AspNetCore.Hosting;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>Probes and metrics, for operators.</summary>
internal sealed class OperationsEndpoints(PresenceHost host)
{
    public void Map(IEndpointRouteBuilder routes, Gate gate) => routes.MapCalls(
        gate,
        new Call(HttpMethods.Get, Routes.Live, "live", "Whether the process answers", LiveAsync)
        {
            Access = CallAccess.Anybody,
            Cost = Cost.Probe,
            Answers = [new(Routes.Json, typeof(HealthDocument))],
        },
        new Call(HttpMethods.Get, Routes.Ready, "ready",
            "Whether requests should be sent here: not before the start is done, nor once stopping, nor while the store is away",
            ReadyAsync)
        {
            Access = CallAccess.Anybody,
            Cost = Cost.Probe,
            Answers = [new(Routes.Json, typeof(HealthDocument))],
            Problems = [503],
        },
        new Call(HttpMethods.Get, Routes.Metrics, "metrics", "Counters, gauges and histograms as Prometheus text", MetricsAsync)
        {
            Access = CallAccess.Backends(Scopes.Operate),
            Answers = [new("text/plain")],
        });

    private static Task LiveAsync(HttpContext context) =>
        Answers.JsonAsync(context, new HealthDocument("live"), Documents.Sent.HealthDocument);

    private Task ReadyAsync(HttpContext context)
    {
        if (host.NotReady() is not { } why)
            return Answers.JsonAsync(context, new HealthDocument("ready"), Documents.Sent.HealthDocument);
        context.Response.Headers.RetryAfter = "1";
        return ProblemAnswers.SendAsync(context, StatusCodes.Status503ServiceUnavailable, "Not ready", why);
    }

    private Task MetricsAsync(HttpContext context) =>
        Answers.BytesAsync(context, Routes.PrometheusText, PrometheusText.Write(host.Presence.Metrics));
}
