using Microsoft.Extensions.Diagnostics.HealthChecks;

namespace Aglow.AspNetCore.Hosting;

/// <summary>Whether presence is ready, by the rule of <c>/health/ready</c>: for an application's own health checks.</summary>
internal sealed class PresenceHealthCheck(PresenceHost host) : IHealthCheck
{
    /// <summary>Its name. Not "aglow", which is the name of the check of <c>AddAglowClient()</c>.</summary>
    public const string Name = "presence";

    public Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default) =>
        Task.FromResult(host.NotReady() is { } why
            ? new HealthCheckResult(context.Registration.FailureStatus, why)
            : HealthCheckResult.Healthy("Presence is ready."));
}
