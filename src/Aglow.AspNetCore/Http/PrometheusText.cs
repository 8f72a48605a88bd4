using System.Globalization;
using System.Text;
using Aglow.Diagnostics;

namespace Aglow.AspNetCore.Http;

/// <summary>Writes every <see cref="Metric"/> as Prometheus text (0.0.4).</summary>
/// <remarks>
/// Names are those of <see cref="AglowMetrics"/>, with underscores for dots and <c>_total</c> for counters. Prometheus makes the same names
/// when it gets these instruments by OpenTelemetry. Nothing is computed between scrapes.
/// </remarks>
internal static class PrometheusText
{
    public static byte[] Write(AglowMetrics metrics)
    {
        var text = new StringBuilder();
        foreach (var metric in metrics.All)
            Write(text, metric);
        return Encoding.UTF8.GetBytes(text.ToString());
    }

    private static void Write(StringBuilder text, Metric metric)
    {
        var name = metric.Name.Replace('.', '_') + (metric.Kind == MetricKind.Counter ? "_total" : "");
        text.Append("# HELP ").Append(name).Append(' ').Append(metric.Description).Append('\n')
            .Append("# TYPE ").Append(name).Append(' ').Append(metric.Kind.ToString().ToLowerInvariant()).Append('\n');
        foreach (var series in metric.Series)
        {
            if (series.Histogram is { } histogram)
                Write(text, name, series, histogram);
            else
                Line(text, name, series, bound: null, series.Read());
        }
    }

    // A bucket counts the values up to its bound, so the counts are cumulative.
    private static void Write(StringBuilder text, string name, MetricSeries series, MetricHistogram histogram)
    {
        var count = 0L;
        for (var bucket = 0; bucket <= histogram.Bounds.Count; bucket++)
        {
            count += histogram[bucket];
            Line(text, name + "_bucket", series, bucket < histogram.Bounds.Count ? Number(histogram.Bounds[bucket]) : "+Inf", count);
        }

        Line(text, name + "_sum", series, bound: null, histogram.Sum);
        Line(text, name + "_count", series, bound: null, count);
    }

    private static void Line(StringBuilder text, string name, MetricSeries series, string? bound, double value)
    {
        var labels = series.Labels.Select(static label => $"{label.Name}=\"{Escape(label.Value)}\"").ToList();
        if (bound is not null)
            labels.Add($"le=\"{bound}\"");
        text.Append(name);
        if (labels.Count > 0)
            text.Append('{').AppendJoin(',', labels).Append('}');
        text.Append(' ').Append(Number(value)).Append('\n');
    }

    private static string Escape(string value) => value.Replace("\\", "\\\\").Replace("\"", "\\\"").Replace("\n", "\\n");

    private static string Number(double value) => value.ToString("R", CultureInfo.InvariantCulture);
}
