using System.Diagnostics;
using System.Diagnostics.Metrics;
using System.Globalization;
using System.Text;

namespace Aglow.AspNetCore;

/// <summary>
/// Writes the meter <see cref="AglowMetrics.MeterName"/> and the process's own figures as Prometheus text (0.0.4).
/// </summary>
/// <remarks>
/// Names are those of <see cref="AglowMetrics"/> with dots as underscores, counters with <c>_total</c>. All instruments there are observed, so nothing
/// is counted here between scrapes. One scrape at a time; an OpenTelemetry exporter would read the same meter, at the price of several packages.
/// </remarks>
internal sealed class PrometheusText : IDisposable
{
    private readonly Lock _gate = new();
    private readonly MeterListener _listener = new();
    private readonly StringBuilder _text = new();

    public PrometheusText()
    {
        _listener.InstrumentPublished = static (instrument, listener) =>
        {
            if (instrument.Meter.Name == AglowMetrics.MeterName)
                listener.EnableMeasurementEvents(instrument);
        };
        _listener.SetMeasurementEventCallback<long>((instrument, value, _, _) => Write(instrument, value.ToString(CultureInfo.InvariantCulture)));
        _listener.SetMeasurementEventCallback<double>((instrument, value, _, _) => Write(instrument, value.ToString("R", CultureInfo.InvariantCulture)));
        _listener.Start();
    }

    /// <summary>All figures, now.</summary>
    public byte[] Scrape()
    {
        lock (_gate)
        {
            _text.Clear();
            _listener.RecordObservableInstruments();
            WriteProcess();
            return Encoding.UTF8.GetBytes(_text.ToString());
        }
    }

    public void Dispose() => _listener.Dispose();

    private void Write(Instrument instrument, string value)
    {
        var counter = instrument is ObservableCounter<long>;
        Write(instrument.Name.Replace('.', '_') + (counter ? "_total" : ""), instrument.Description ?? "", counter ? "counter" : "gauge", value);
    }

    private void Write(string name, string help, string type, string value) =>
        _text.Append("# HELP ").Append(name).Append(' ').Append(help).Append('\n')
            .Append("# TYPE ").Append(name).Append(' ').Append(type).Append('\n')
            .Append(name).Append(' ').Append(value).Append('\n');

    private void WriteProcess()
    {
        using var process = Process.GetCurrentProcess();
        Write("process_cpu_seconds_total", "CPU time of this process, user and system.", "counter", Seconds(process.TotalProcessorTime));
        Write("process_resident_memory_bytes", "Memory of this process that is in RAM.", "gauge", $"{process.WorkingSet64}");
        Write("process_start_time_seconds", "When this process started, seconds since 1970-01-01 UTC.", "gauge", Seconds(process.StartTime.ToUniversalTime() - DateTime.UnixEpoch));
        Write("process_threads", "Threads of this process.", "gauge", $"{process.Threads.Count}");
        Write("dotnet_gc_heap_bytes", "Memory of objects; words are outside of it.", "gauge", $"{GC.GetTotalMemory(forceFullCollection: false)}");
        Write("dotnet_gc_pause_seconds_total", "Time this process stood still for collections.", "counter", Seconds(GC.GetTotalPauseDuration()));
    }

    private static string Seconds(TimeSpan time) => time.TotalSeconds.ToString("0.000", CultureInfo.InvariantCulture);
}
