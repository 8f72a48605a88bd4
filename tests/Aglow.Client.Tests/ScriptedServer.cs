using System.IO.Pipelines;
using System.Net.WebSockets;
using System.Threading.Channels;

namespace Aglow.Client.Tests;

/// <summary>
/// A server that says what a test says: the other ends of a client's WebSockets, in memory, with the framework's own framing on both. For
/// what a real server does not do on demand: losing its store, falling silent for exactly so long.
/// </summary>
internal sealed class ScriptedServer
{
    private readonly Channel<WebSocket> _sockets = Channel.CreateUnbounded<WebSocket>();

    public int Connections { get; private set; }

    /// <summary>What <see cref="AglowClientOptions.ConnectSocket"/> takes.</summary>
    public ValueTask<WebSocket> ConnectAsync(Uri address, string? token, CancellationToken cancellationToken)
    {
        address.AbsoluteUri.ShouldStartWith("ws://presence.example/ws");
        var (up, down) = (new Pipe(), new Pipe());
        _sockets.Writer.TryWrite(
            WebSocket.CreateFromStream(new Duplex(up.Reader, down.Writer), new WebSocketCreationOptions { IsServer = true }));
        Connections++;
        return ValueTask.FromResult(WebSocket.CreateFromStream(new Duplex(down.Reader, up.Writer), new WebSocketCreationOptions()));
    }

    /// <summary>The next client, welcomed.</summary>
    public async Task<ScriptedSocket> AcceptAsync()
    {
        using var limit = new CancellationTokenSource(Watching.Patience);
        var socket = new ScriptedSocket(await _sockets.Reader.ReadAsync(limit.Token));
        await socket.SayAsync("{\"type\":\"welcome\",\"user_id\":1,\"offline_after_seconds\":30,\"tick_seconds\":10}");
        return socket;
    }

    private sealed class Duplex(PipeReader input, PipeWriter output) : Stream
    {
        private readonly Stream _input = input.AsStream();
        private readonly Stream _output = output.AsStream();

        public override bool CanRead => true;

        public override bool CanWrite => true;

        public override bool CanSeek => false;

        public override long Length => throw new NotSupportedException();

        public override long Position { get => throw new NotSupportedException(); set => throw new NotSupportedException(); }

        public override ValueTask<int> ReadAsync(Memory<byte> buffer, CancellationToken cancellationToken = default) =>
            _input.ReadAsync(buffer, cancellationToken);

        public override ValueTask WriteAsync(ReadOnlyMemory<byte> buffer, CancellationToken cancellationToken = default) =>
            _output.WriteAsync(buffer, cancellationToken);

        public override Task FlushAsync(CancellationToken cancellationToken) => _output.FlushAsync(cancellationToken);

        public override void Flush() => _output.Flush();

        public override int Read(byte[] buffer, int offset, int count) => _input.Read(buffer, offset, count);

        public override void Write(byte[] buffer, int offset, int count) => _output.Write(buffer, offset, count);

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        protected override void Dispose(bool disposing)
        {
            // a pipe does not end a read that waits, as a socket does
            input.CancelPendingRead();
            _input.Dispose();
            _output.Dispose();
            base.Dispose(disposing);
        }
    }
}

/// <summary>One client's socket, from the server's side.</summary>
internal sealed class ScriptedSocket(WebSocket socket)
{
    public Task SayAsync(string json) =>
        socket.SendAsync(Encoding.UTF8.GetBytes(json), WebSocketMessageType.Text, endOfMessage: true, CancellationToken.None);

    public Task SayAsync(int user, string status) =>
        SayAsync(
            $"{{\"type\":\"presence\",\"users\":[{{\"user_id\":{user},\"is_online\":{(status == "offline" ? "false" : "true")},"
                + $"\"status\":\"{status}\",\"last_seen\":1763763300}}]}}");

    public Task CloseAsync(int code) => socket.CloseOutputAsync((WebSocketCloseStatus)code, null, CancellationToken.None);

    /// <summary>The next message of the client, as "type:users".</summary>
    public async Task<string> ReceiveAsync()
    {
        using var limit = new CancellationTokenSource(Watching.Patience);
        var buffer = new byte[64 * 1024];
        var length = 0;
        while (true)
        {
            var part = await socket.ReceiveAsync(buffer.AsMemory(length), limit.Token);
            length += part.Count;
            if (!part.EndOfMessage)
                continue;
            var message = JsonDocument.Parse(buffer.AsMemory(0, length)).RootElement;
            // answered at once, with nobody: what a test says then is a change
            if (message.TryGetProperty("id", out var id))
                await SayAsync(
                    message.GetProperty("type").GetString() == "watch"
                        ? $"{{\"type\":\"presence\",\"id\":{id},\"users\":[]}}"
                        : $"{{\"type\":\"ok\",\"id\":{id}}}");
            var users = message.TryGetProperty("users", out var list) ? $":{list.GetRawText()}" : "";
            return message.GetProperty("type").GetString() + users;
        }
    }
}
