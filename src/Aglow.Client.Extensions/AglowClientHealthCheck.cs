using Microsoft.Extensions.Diagnostics.HealthChecks;
using Microsoft.Extensions.Options;
using Microsoft.Extensions.DependencyInjection;

namespace Aglow.Client;

/// <summary>
/// Healthy: at least one of the server's addresses is ready. Degraded: the server refused this client. Otherwise: the failure status of the
/// registration.
/// </summary>
internal sealed class AglowClientHealthCheck(
    AglowClient client, LastRefusal last, IHttpClientFactory http, IOptions<AglowClientSettings> settings)
    : IHealthCheck
{
    /// <summary>The path of the server's own health.</summary>
    public const string Path = "health/ready";

    // of each address; orchestrators ask every 10 s or so
    private static readonly TimeSpan AnswersWithin = TimeSpan.FromSeconds(5);

    public async Task<HealthCheckResult> CheckHealthAsync(HealthCheckContext context, CancellationToken cancellationToken = default)
    {
        if ((client.Refusal?.Message ?? last.Why) is { } refusal)
            return HealthCheckResult.Degraded($"The presence server refused this client: {refusal}");
        var options = settings.Value.ToOptions(http: null, TimeProvider.System);
        using var caller = http.CreateClient(AglowClientRegistration.Name);
        var why = "";
        foreach (var address in options.OtherAddresses.Prepend(options.Address))
        {
            using var limit = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
            limit.CancelAfter(AnswersWithin);
            try
            {
                using var answer = await caller.GetAsync(new Uri(address, Path), limit.Token);
                if (answer.IsSuccessStatusCode)
                    return HealthCheckResult.Healthy($"{address} is ready.");
                why = $"{address} answers {(int)answer.StatusCode}.";
            }
            catch (HttpRequestException failure)
            {
                why = $"{address} is not reached: {failure.Message}";
            }
            catch (OperationCanceledException) when (!cancellationToken.IsCancellationRequested)
            {
                why = $"{address} does not answer within {AnswersWithin.TotalSeconds} s.";
            }
        }

        return new HealthCheckResult(context.Registration.FailureStatus, why);
    }
}
