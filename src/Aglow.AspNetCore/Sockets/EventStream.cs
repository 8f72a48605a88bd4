using System.Buffers.Text;
using System.IO.Pipelines;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Aglow.Watching;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// <c>GET /watch</c>: the same changes as server-sent events, for those who only watch.
/// </summary>
/// <remarks>
/// <code>
///   event: presence
///   data: {"users":[record,…]}
/// </code>
/// The first is the snapshot; a stream that the server ends says <c>retry:</c> with jitter first, so that many do not come back at once; <c>stale</c> and <c>fresh</c> are events of those names; a comment line every 15 s keeps proxies from closing it.
/// Whatever <c>Last-Event-ID</c> says, a stream begins with a snapshot, so nothing can be missed. The framework's writer of server-sent events was not
/// used: it has no comments, and pulls from a sequence, where here one loop pushes to all.
/// </remarks>
internal sealed class EventStream : WatchConnection
{
    private static readonly TimeSpan CommentInterval = TimeSpan.FromSeconds(15);

    private const int MostRetryMilliseconds = 5000;

    private readonly PipeWriter _output;
    private readonly WatchHub _hub;
    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private readonly Func<TimeSpan>? _left;
    private bool _saidRetry;

    private EventStream(PipeWriter output, WatchHub hub, uint viewer, Func<TimeSpan>? left)
        : base(viewer)
    {
        _left = left;
        _output = output;
        _hub = hub;
    }

    protected override TimeSpan TickInterval => SoonerOf(CommentInterval, _left?.Invoke());

    /// <summary>Streams until the client goes away, the server stops, or there is nothing <paramref name="left"/>: the token has expired.</summary>
    public static async Task RunAsync(HttpContext context, UserBatch users, Definition definition, WatchHub hub, LocalSockets open, uint viewer, Func<TimeSpan>? left)
    {
        context.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        context.Response.ContentType = Routes.EventStream;
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers["X-Accel-Buffering"] = "no";
        await context.Response.StartAsync(context.RequestAborted);
        if (HttpMethods.IsHead(context.Request.Method))
        {
            users.Dispose();
            return;
        }

        var stream = new EventStream(context.Response.BodyWriter, hub, viewer, left);
        hub.Open(stream, []);
        hub.Watch(stream, users, definition);
        open.Add(stream);
        await using (context.RequestAborted.Register(() => stream._ended.TrySetResult()))
            await stream._ended.Task;
        open.Remove(stream);
        hub.Close(stream);
        await stream._released.Task;
    }

    protected override bool Send(ReadOnlySpan<byte> json)
    {
        if (json.IsEmpty)
            return true;
        if (json.StartsWith(Reconnect))
        {
            SayRetry(Utf8Parser.TryParse(json[Reconnect.Length..], out int milliseconds, out _) ? milliseconds : Random.Shared.Next(MostRetryMilliseconds));
            return Flush();
        }

        var users = json.IndexOf("\"users\":["u8);
        if (users > 0)
        {
            _output.Put("event: presence\ndata: {"u8);
            _output.Put(json[users..]);
        }
        else
        {
            _output.Put(json.StartsWith("{\"type\":\"stale\""u8) ? "event: stale\ndata: "u8 : json.StartsWith("{\"type\":\"fresh\""u8) ? "event: fresh\ndata: "u8 : "event: error\ndata: "u8);
            _output.Put(json);
        }

        _output.Put("\n\n"u8);
        return Flush();
    }

    protected override bool Tick()
    {
        if (_left?.Invoke() == TimeSpan.Zero)
        {
            End(SocketClose.TokenEnded);
            return false;
        }

        if (IsFull)
            return false;
        _output.Put(":\n\n"u8);
        return Flush();
    }

    protected override bool Answer(ReadOnlySpan<byte> pingPayload) => true;

    protected override void End(int code)
    {
        if (!_saidRetry && !IsFull)
        {
            SayRetry(Random.Shared.Next(MostRetryMilliseconds));
            Flush();
        }

        _ended.TrySetResult();
    }

    protected override void Released() => _released.TrySetResult();

    private static ReadOnlySpan<byte> Reconnect => "{\"type\":\"reconnect\",\"after_ms\":"u8;

    // A browser waits for so long before it comes back.
    private void SayRetry(int milliseconds)
    {
        _saidRetry = true;
        _output.Put("retry: "u8);
        _output.Advance(PresenceRecord.WriteNumber(_output.GetSpan(PresenceRecord.MaxNumberBytes), (uint)milliseconds));
        _output.Put("\n\n"u8);
    }

    private bool Flush() => _output.Push(this, static stream => stream._hub.Writable(stream));
}
