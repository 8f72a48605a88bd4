using System.Collections.Concurrent;
using System.Net;
using System.Text;

namespace Aglow.Operations.Tests;

/// <summary>A collector of OpenTelemetry data on loopback: takes OTLP over HTTP as protobuf, and keeps the names it was sent.</summary>
internal sealed class Collector : IAsyncDisposable
{
    private readonly HttpListener _listener = new();
    private readonly ConcurrentQueue<byte[]> _bodies = new();
    private readonly ConcurrentDictionary<string, string> _metrics = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, int> _spans = new(StringComparer.Ordinal);
    private readonly ConcurrentDictionary<string, string> _resource = new(StringComparer.Ordinal);
    private readonly Task _loop;

    public Collector()
    {
        // somebody else may take a free port before it is listened on
        for (var attempt = 0; ; attempt++)
        {
            Url = $"http://127.0.0.1:{Ports.Free()}";
            _listener.Prefixes.Clear();
            _listener.Prefixes.Add($"{Url}/");
            try
            {
                _listener.Start();
                break;
            }
            catch (HttpListenerException) when (attempt < 10)
            {
                // once more, on another
            }
        }

        _loop = Task.Run(TakeAsync);
    }

    public string Url { get; }

    /// <summary>Instruments, and what each is: gauge, sum or histogram.</summary>
    public IReadOnlyDictionary<string, string> Metrics => _metrics;

    /// <summary>Spans by name, and how many of each.</summary>
    public IReadOnlyDictionary<string, int> Spans => _spans;

    /// <summary>Who sends.</summary>
    public IReadOnlyDictionary<string, string> Resource => _resource;

    /// <summary>All that was sent, as text: names are readable in it.</summary>
    public string Text => string.Concat(_bodies.Select(Encoding.UTF8.GetString));

    public async ValueTask DisposeAsync()
    {
        _listener.Stop();
        await _loop;
        _listener.Close();
    }

    private async Task TakeAsync()
    {
        while (_listener.IsListening)
        {
            try
            {
                var context = await _listener.GetContextAsync();
                using var body = new MemoryStream();
                await context.Request.InputStream.CopyToAsync(body);
                _bodies.Enqueue(body.ToArray());
                context.Response.StatusCode = Take(context.Request, body.ToArray()) ? 200 : 404;
                context.Response.ContentType = "application/x-protobuf";
                context.Response.Close();
            }
            catch (Exception e) when (e is HttpListenerException or ObjectDisposedException)
            {
                // stopped, or the sender is gone
            }
        }
    }

    // ExportMetricsServiceRequest and ExportTraceServiceRequest are alike: resources, in them scopes, in them what was measured.
    private bool Take(HttpListenerRequest request, byte[] body)
    {
        if (request.ContentType != "application/x-protobuf")
            return false;
        foreach (var resource in Protobuf.Read(body).Messages(1))
        {
            foreach (var attribute in resource.Messages(1).SelectMany(static r => r.Messages(1)))
                _resource[attribute.Text(1)] = attribute.Messages(2).Single().Text(1);
            foreach (var measured in resource.Messages(2).SelectMany(static scope => scope.Messages(2)))
            {
                if (request.RawUrl == "/v1/metrics")
                    _metrics[measured.Text(1)] = measured.Has(5) ? "gauge" : measured.Has(7) ? "sum" : measured.Has(9) ? "histogram" : "?";
                else if (request.RawUrl == "/v1/traces")
                    _spans.AddOrUpdate(measured.Text(5), 1, static (_, count) => count + 1);
                else
                    return false;
            }
        }

        return true;
    }
}

/// <summary>As much of protobuf as names need: the length-delimited fields of a message.</summary>
internal sealed class Protobuf
{
    private readonly List<(int Field, byte[] Bytes)> _fields = [];

    public static Protobuf Read(byte[] bytes)
    {
        var message = new Protobuf();
        for (var at = 0; at < bytes.Length;)
        {
            var key = Number(bytes, ref at);
            switch (key & 7)
            {
                case 0:
                    Number(bytes, ref at);
                    break;
                case 1:
                    at += 8;
                    break;
                case 2:
                    var length = (int)Number(bytes, ref at);
                    message._fields.Add(((int)(key >> 3), bytes[at..(at + length)]));
                    at += length;
                    break;
                case 5:
                    at += 4;
                    break;
                default:
                    throw new FormatException("That is not protobuf.");
            }
        }

        return message;
    }

    public bool Has(int field) => _fields.Any(f => f.Field == field);

    public IEnumerable<Protobuf> Messages(int field) => _fields.Where(f => f.Field == field).Select(static f => Read(f.Bytes));

    public string Text(int field) => Encoding.UTF8.GetString(_fields.FirstOrDefault(f => f.Field == field).Bytes ?? []);

    private static ulong Number(byte[] bytes, ref int at)
    {
        var value = 0UL;
        for (var shift = 0; ; shift += 7)
        {
            var part = bytes[at++];
            value |= (ulong)(part & 0x7F) << shift;
            if (part < 0x80)
                return value;
        }
    }
}
