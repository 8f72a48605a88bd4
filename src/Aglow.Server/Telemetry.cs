using System.Diagnostics.Tracing;
using System.Globalization;
using Aglow.Diagnostics;
using OpenTelemetry;
using OpenTelemetry.Metrics;
using OpenTelemetry.Resources;
using OpenTelemetry.Trace;

namespace Aglow.Server;

/// <summary>Sends metrics and traces by OTLP, if <c>--otlp</c> or a standard <c>OTEL_…</c> variable asks for it.</summary>
/// <remarks>
/// <code>
///   --otlp http://127.0.0.1:4318   sets OTEL_EXPORTER_OTLP_ENDPOINT=http://127.0.0.1:4318; the other variables apply too
/// </code>
/// Metrics are read from the counters of <c>/metrics</c> once per interval (OTEL_METRIC_EXPORT_INTERVAL, 60 s), so heartbeats cost nothing
/// more. One call in a hundred is traced, unless OTEL_TRACES_SAMPLER says otherwise. Telemetry starts after presence is open and stops
/// before presence closes, because it reads from presence. The protocol is HTTP unless the variables select gRPC.
/// </remarks>
internal sealed class Telemetry(AglowOptions options, ILogger<Telemetry> log) : IHostedService, IDisposable
{
    private const string Endpoint = "OTEL_EXPORTER_OTLP_ENDPOINT";
    private const string Protocol = "OTEL_EXPORTER_OTLP_PROTOCOL";
    private const double SampledShare = 0.01;

    // an unreachable collector must not delay a stop
    private static readonly TimeSpan StopWithin = TimeSpan.FromSeconds(2);

    private MeterProvider? _metrics;
    private TracerProvider? _traces;
    private ExportFailures? _failures;

    /// <summary>Whether the settings ask for telemetry.</summary>
    public static bool IsRequested(string? otlp) =>
        !string.Equals(Variable("OTEL_SDK_DISABLED"), "true", StringComparison.OrdinalIgnoreCase)
        && (otlp ?? Variable(Endpoint) ?? Variable("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT")
            ?? Variable("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")) is not null;

    /// <summary>Sets the standard variable from <c>--otlp</c>.</summary>
    public static void Point(string? otlp)
    {
        if (otlp is not null)
            Environment.SetEnvironmentVariable(Endpoint, otlp);
        if (Variable(Protocol) is null)
            Environment.SetEnvironmentVariable(Protocol, "http/protobuf");
    }

    public Task StartAsync(CancellationToken cancellationToken)
    {
        _failures = new ExportFailures(log);
        var resource = ResourceBuilder.CreateEmpty()
            .AddService(
                "aglow",
                serviceVersion: typeof(Telemetry).Assembly.GetName().Version?.ToString(3),
                autoGenerateServiceInstanceId: false,
                serviceInstanceId: options.NodeName)
            .AddTelemetrySdk()
            .AddEnvironmentVariableDetector();
        if (IsExported("OTEL_METRICS_EXPORTER"))
            _metrics =
                Sdk.CreateMeterProviderBuilder().SetResourceBuilder(resource).AddMeter(AglowMetrics.MeterName).AddOtlpExporter().Build();
        if (IsExported("OTEL_TRACES_EXPORTER"))
        {
            var traces = Sdk.CreateTracerProviderBuilder().SetResourceBuilder(resource).AddSource(AglowTraces.SourceName).AddOtlpExporter();
            if (Variable("OTEL_TRACES_SAMPLER") is null)
                traces.SetSampler(new ParentBasedSampler(new TraceIdRatioBasedSampler(SampledShare)));
            _traces = traces.Build();
        }

        ServerLog.TelemetryIsOn(log, Variable(Endpoint) ?? "what OTEL_… says");
        return Task.CompletedTask;
    }

    public Task StopAsync(CancellationToken cancellationToken)
    {
        _traces?.Shutdown((int)StopWithin.TotalMilliseconds);
        _metrics?.Shutdown((int)StopWithin.TotalMilliseconds);
        return Task.CompletedTask;
    }

    public void Dispose()
    {
        _traces?.Dispose();
        _metrics?.Dispose();
        _failures?.Dispose();
    }

    private static bool IsExported(string variable) => Variable(variable) is null or "otlp";

    private static string? Variable(string name) => Environment.GetEnvironmentVariable(name) is { Length: > 0 } value ? value : null;

    /// <summary>Logs what the exporter could not send, once a minute at most. Without it, a wrong URL would go unnoticed.</summary>
    private sealed class ExportFailures(ILogger log) : EventListener
    {
        private static readonly long Pause = (long)TimeSpan.FromMinutes(1).TotalMilliseconds;
        private long _loggedAt = -Pause;

        protected override void OnEventSourceCreated(EventSource eventSource)
        {
            if (eventSource.Name.StartsWith("OpenTelemetry-Exporter", StringComparison.Ordinal))
                EnableEvents(eventSource, EventLevel.Error);
        }

        protected override void OnEventWritten(EventWrittenEventArgs eventData)
        {
            if (log is null || eventData.Level > EventLevel.Error || eventData.EventId == 0)
                return;
            var (now, loggedAt) = (Environment.TickCount64, Volatile.Read(ref _loggedAt));
            if (now - loggedAt < Pause || Interlocked.CompareExchange(ref _loggedAt, now, loggedAt) != loggedAt)
                return;
            var what = string.Format(
                CultureInfo.InvariantCulture, eventData.Message ?? "{0}", [.. eventData.Payload ?? (IEnumerable<object?>)[""]]);
            var end = what.IndexOfAny(['\r', '\n']);
            ServerLog.TelemetryNotSent(log, end < 0 ? what : what[..end]);
        }
    }
}
