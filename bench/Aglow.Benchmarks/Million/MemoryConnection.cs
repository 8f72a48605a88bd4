using System.Buffers;
using System.Buffers.Text;
using System.Diagnostics;
using System.IO.Pipelines;
using System.Net;
using Aglow.Benchmarks.Sockets;
using Microsoft.AspNetCore.Connections;
using Microsoft.AspNetCore.Http.Features;

namespace Aglow.Benchmarks.Million;

/// <summary>
/// A connection in memory, with its client: the server's middleware runs on it as on one of Kestrel's connections. The client answers
/// pings, closes when it is told to, and notes what it hears.
/// </summary>
/// <remarks>
/// <code>
///   server ─► Output: this class reads the frames at once, on the hub's thread      ping ─► pong ─► a pipe ─► Input ─► server
/// </code>
/// Threading: the server writes from one thread at a time.
/// </remarks>
internal sealed class MemoryConnection(int index, MillionCounts counts, PipeOptions options) : ConnectionContext, IDuplexPipe
{
    private static readonly IPEndPoint Here = new(IPAddress.Loopback, 1);

    private static readonly byte[] Pong = Frames.Write(Frames.Pong, []);
    private static readonly byte[] Close = Frames.Write(Frames.Close, [0x03, 0xE9]);

    private readonly Pipe _input = new(options);
    private readonly FeatureCollection _features = new(0);
    private ClientEnd? _client;
    private bool _isOpen;
    private bool _isClosed;

    /// <summary>When the server said that it would close; 0: never.</summary>
    public long ClosesAt { get; private set; }

    /// <summary>When the server closed; 0: not yet.</summary>
    public long ClosedAt { get; private set; }

    public override IDuplexPipe Transport
    {
        get => this;
        set => throw new NotSupportedException();
    }

    public PipeReader Input => _input.Reader;

    public PipeWriter Output => _client ??= new ClientEnd(this);

    public override string ConnectionId
    {
        get => $"{index}";
        set => throw new NotSupportedException();
    }

    public override IFeatureCollection Features => _features;

    public override IDictionary<object, object?> Items
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    public override EndPoint? LocalEndPoint
    {
        get => Here;
        set => throw new NotSupportedException();
    }

    public override EndPoint? RemoteEndPoint
    {
        get => Here;
        set => throw new NotSupportedException();
    }

    /// <summary>Sends bytes to the server.</summary>
    public void Say(ReadOnlySpan<byte> bytes)
    {
        _input.Writer.Write(bytes);
        var flush = _input.Writer.FlushAsync();
        if (!flush.IsCompletedSuccessfully)
            throw new BenchmarkException("the server does not read.");
    }

    private void Receive(ReadOnlySpan<byte> bytes)
    {
        if (!_isOpen)
        {
            _isOpen = true;
            counts.Opened();
            return;
        }

        while (Frames.Read(bytes, out var opcode, out var payload) is > 0 and var length)
        {
            bytes = bytes[length..];
            if (opcode == Frames.Ping)
                Say(Pong);
            else if (opcode == Frames.Text)
                ReceiveText(payload);
            else if (opcode == Frames.Close && !_isClosed)
                End();
        }
    }

    private void ReceiveText(ReadOnlySpan<byte> text)
    {
        var after = "{\"type\":\"reconnect\",\"after_ms\":"u8;
        if (text.StartsWith("{\"type\":\"presence\""u8))
        {
            counts.Receive(text);
        }
        else if (text.StartsWith(after))
        {
            _ = Utf8Parser.TryParse(text[after.Length..], out int milliseconds, out _);
            ClosesAt = Stopwatch.GetTimestamp() + (milliseconds * Stopwatch.Frequency / 1000);
        }
    }

    private void End()
    {
        _isClosed = true;
        ClosedAt = Stopwatch.GetTimestamp();
        Say(Close);
        _input.Writer.Complete();
        counts.Closed();
    }

    // All connections share a buffer for what a thread writes, because each write is read at once.
    private sealed class ClientEnd(MemoryConnection owner) : PipeWriter
    {
        [ThreadStatic]
        private static byte[]? _buffer;

        [ThreadStatic]
        private static int _written;

        public override void Advance(int bytes) => _written += bytes;

        public override Memory<byte> GetMemory(int sizeHint = 0) => (_buffer ??= new byte[1024 * 1024]).AsMemory(_written);

        public override Span<byte> GetSpan(int sizeHint = 0) => GetMemory(sizeHint).Span;

        public override ValueTask<FlushResult> FlushAsync(CancellationToken cancellationToken = default)
        {
            owner.Receive(_buffer.AsSpan(0, _written));
            _written = 0;
            return default;
        }

        public override void CancelPendingFlush()
        {
        }

        public override void Complete(Exception? exception = null)
        {
        }
    }
}
