using System.Net.WebSockets;
using System.Text;
using System.Text.Json.Nodes;

namespace Aglow.Client.Tests.Behaviour;

/// <summary>A client's WebSocket whose other end is a scenario. Nothing here takes time or another thread.</summary>
internal sealed class StepSocket : WebSocket
{
    private readonly Queue<object> _coming = [];
    private TaskCompletionSource? _waiting;
    private WebSocketCloseStatus? _closeStatus;
    private string? _closeReason;

    /// <summary>What the client sent and no step has heard.</summary>
    public List<JsonObject> Received { get; } = [];

    /// <summary>Whether what the client sends is lost.</summary>
    public bool IsMuted { get; set; }

    /// <summary>Whether the client has closed it, and with which code.</summary>
    public (bool IsClosed, int? Code) Client { get; private set; }

    public override WebSocketCloseStatus? CloseStatus => _closeStatus;

    public override string? CloseStatusDescription => _closeReason;

    public override string? SubProtocol => null;

    public override WebSocketState State =>
        Client.IsClosed ? WebSocketState.Closed : _closeStatus is null ? WebSocketState.Open : WebSocketState.CloseReceived;

    public void Say(string text) => Come(Encoding.UTF8.GetBytes(text));

    public void Close(int code, string reason) => Come((code, reason));

    public void Drop() => Come(new WebSocketException(WebSocketError.ConnectionClosedPrematurely));

    public override async ValueTask<ValueWebSocketReceiveResult> ReceiveAsync(Memory<byte> buffer, CancellationToken cancellationToken)
    {
        if (_coming.Count == 0)
        {
            var waiting = _waiting = new TaskCompletionSource();
            await using (cancellationToken.Register(() => waiting.TrySetCanceled(cancellationToken)))
                await waiting.Task;
        }

        switch (_coming.Dequeue())
        {
            case byte[] text:
                text.CopyTo(buffer);
                return new ValueWebSocketReceiveResult(text.Length, WebSocketMessageType.Text, endOfMessage: true);
            case (int code, string reason):
                (_closeStatus, _closeReason) = ((WebSocketCloseStatus)code, reason);
                return new ValueWebSocketReceiveResult(0, WebSocketMessageType.Close, endOfMessage: true);
            case var failure:
                throw (Exception)failure;
        }
    }

    public override ValueTask SendAsync(
        ReadOnlyMemory<byte> buffer, WebSocketMessageType messageType, bool endOfMessage, CancellationToken cancellationToken)
    {
        if (!IsMuted)
            Received.Add(JsonNode.Parse(buffer.Span)!.AsObject());
        return default;
    }

    public override Task<WebSocketReceiveResult> ReceiveAsync(ArraySegment<byte> buffer, CancellationToken cancellationToken) =>
        throw new NotSupportedException();

    public override Task SendAsync(
        ArraySegment<byte> buffer, WebSocketMessageType messageType, bool endOfMessage, CancellationToken cancellationToken) =>
        SendAsync(buffer.AsMemory(), messageType, endOfMessage, cancellationToken).AsTask();

    public override Task CloseOutputAsync(WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken)
    {
        if (!Client.IsClosed)
            Client = (true, (int)closeStatus);
        return Task.CompletedTask;
    }

    public override Task CloseAsync(WebSocketCloseStatus closeStatus, string? statusDescription, CancellationToken cancellationToken) =>
        CloseOutputAsync(closeStatus, statusDescription, cancellationToken);

    public override void Abort() => Dispose();

    public override void Dispose()
    {
        if (!Client.IsClosed)
            Client = (true, null);
    }

    private void Come(object what)
    {
        _coming.Enqueue(what);
        _waiting?.TrySetResult();
    }
}
