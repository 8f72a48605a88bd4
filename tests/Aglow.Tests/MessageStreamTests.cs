using System.Net.WebSockets;
using Aglow.AspNetCore.Sockets;

namespace Aglow.Tests;

public sealed class MessageStreamTests
{
    [Fact]
    public async Task A_stream_that_is_no_longer_read_is_disposed_although_its_client_goes_on_sending()
    {
        var client = new Talker();
        var stream = new MessageStream(client);
        // the stream buffers what nobody reads, until it is full
        var sent = -1;
        while (sent != client.Messages)
        {
            sent = client.Messages;
            await Task.Delay(50);
        }

        await stream.DisposeAsync().AsTask().WaitAsync(TimeSpan.FromSeconds(30));
        client.IsDisposed.ShouldBeTrue();
    }

    /// <summary>A client that always has one more message.</summary>
    private sealed class Talker : WebSocket
    {
        private volatile int _messages;

        public int Messages => _messages;

        public bool IsDisposed { get; private set; }

        public override WebSocketCloseStatus? CloseStatus => null;

        public override string? CloseStatusDescription => null;

        public override WebSocketState State => WebSocketState.Open;

        public override string? SubProtocol => null;

        public override async Task<WebSocketReceiveResult> ReceiveAsync(ArraySegment<byte> buffer, CancellationToken cancellationToken)
        {
            await Task.Yield();
            cancellationToken.ThrowIfCancellationRequested();
            Interlocked.Increment(ref _messages);
            return new WebSocketReceiveResult(buffer.Count, WebSocketMessageType.Text, endOfMessage: true);
        }

        public override Task SendAsync(
            ArraySegment<byte> buffer, WebSocketMessageType messageType, bool endOfMessage, CancellationToken cancellationToken) =>
            Task.CompletedTask;

        public override Task CloseAsync(WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken) =>
            Task.CompletedTask;

        public override Task CloseOutputAsync(
            WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken) => Task.CompletedTask;

        public override void Abort()
        {
        }

        public override void Dispose() => IsDisposed = true;
    }
}
