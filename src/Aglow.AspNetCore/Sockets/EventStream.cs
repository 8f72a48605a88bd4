using System.Buffers.Text;
using System.IO.Pipelines;
using Aglow.AspNetCore.Access;
using Aglow.Users;
using Aglow.Watching;
using Microsoft.AspNetCore.Http.Features;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// <c>GET /watch</c>: the changes that a socket sends, as server-sent events, for clients that only watch.
/// </summary>
/// <remarks>
/// <code>
///   event: presence
///   data: {"users":[record,…]}
/// </code>
/// The first event is the snapshot. A stream ignores <c>Last-Event-ID</c> and always begins with a snapshot, so no client misses a change.
/// Before the server ends a stream it sends <c>retry:</c> with jitter, so that clients do not all reconnect at once. <c>stale</c> and
/// <c>fresh</c> are events of those names. A comment line every 15 s keeps proxies from closing the stream.
/// Rejected alternative: the framework's writer of server-sent events. It has no comments, and it pulls from a sequence, while here one
/// loop pushes to all streams.
/// </remarks>
internal sealed class EventStream(PipeWriter output, SocketHost host, uint viewer, Caller? caller, AppSession? session)
    : WatchConnection(viewer)
{
    private static readonly TimeSpan CommentInterval = TimeSpan.FromSeconds(15);

    private const int MostRetryMilliseconds = 5000;

    private readonly TaskCompletionSource _released = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource _ended = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private bool _wasRetryWritten;

    protected override TimeSpan TickInterval => SoonerOf(CommentInterval, Left);

    private TimeSpan? Left => session?.Left() ?? caller?.Left(host.Tokens!.Now);

    /// <summary>Streams until the client disconnects, the server stops, or the <paramref name="caller"/> may no longer watch.</summary>
    public static async Task RunAsync(
        HttpContext context,
        UserBatch users,
        Definition definition,
        SocketHost host,
        uint viewer,
        Caller? caller,
        AppSession? session)
    {
        if (!await BeginAsync(context))
        {
            users.Dispose();
            return;
        }

        var stream = new EventStream(context.Response.BodyWriter, host, viewer, caller, session);
        host.Hub.Open(stream, []);
        host.Hub.Watch(stream, users, definition);
        host.Begin(stream, caller);
        await using (context.RequestAborted.Register(() => stream._ended.TrySetResult()))
            await stream._ended.Task;
        host.Sockets.Remove(stream);
        host.Hub.Close(stream);
        await stream._released.Task;
    }

    /// <summary>Begins a stream of events; false if the client asked only for its head.</summary>
    public static async ValueTask<bool> BeginAsync(HttpContext context)
    {
        context.Features.Get<IHttpResponseBodyFeature>()?.DisableBuffering();
        context.Response.ContentType = Routes.EventStream;
        context.Response.Headers.CacheControl = "no-store";
        context.Response.Headers["X-Accel-Buffering"] = "no";
        await context.Response.StartAsync(context.RequestAborted);
        return !HttpMethods.IsHead(context.Request.Method);
    }

    protected override bool Send(ReadOnlySpan<byte> json)
    {
        if (json.IsEmpty)
            return true;
        if (json.StartsWith(Reconnect))
        {
            WriteRetry(
                Utf8Parser.TryParse(json[Reconnect.Length..], out int milliseconds, out _)
                    ? milliseconds
                    : Random.Shared.Next(MostRetryMilliseconds));
            return Flush();
        }

        var users = json.IndexOf("\"users\":["u8);
        if (users > 0)
        {
            output.Put("event: presence\ndata: {"u8);
            output.Put(json[users..]);
        }
        else
        {
            output.Put(
                json.StartsWith("{\"type\":\"stale\""u8) ? "event: stale\ndata: "u8
                : json.StartsWith("{\"type\":\"fresh\""u8) ? "event: fresh\ndata: "u8
                : "event: error\ndata: "u8);
            output.Put(json);
        }

        output.Put("\n\n"u8);
        return Flush();
    }

    protected override bool Tick()
    {
        if (Left == TimeSpan.Zero)
        {
            End(SocketClose.TokenEnded);
            return false;
        }

        if (LocalSockets.IsUnknown(this, caller))
            host.EndIfKnown(this, caller!);
        if (IsFull)
            return false;
        output.Put(":\n\n"u8);
        return Flush();
    }

    protected override bool Answer(ReadOnlySpan<byte> pingPayload) => true;

    protected override void End(int code)
    {
        if (!_wasRetryWritten && !IsFull)
        {
            WriteRetry(Random.Shared.Next(MostRetryMilliseconds));
            Flush();
        }

        _ended.TrySetResult();
    }

    protected override void Released() => _released.TrySetResult();

    private static ReadOnlySpan<byte> Reconnect => "{\"type\":\"reconnect\",\"after_ms\":"u8;

    // A browser waits this long before it reconnects.
    private void WriteRetry(int milliseconds)
    {
        _wasRetryWritten = true;
        output.Put("retry: "u8);
        output.Advance(PresenceRecord.WriteNumber(output.GetSpan(PresenceRecord.MaxNumberBytes), (uint)milliseconds));
        output.Put("\n\n"u8);
    }

    // False: either the answer is full until the hub is notified, or the client has disconnected and the request ends.
    private bool Flush()
    {
        var flush = output.FlushAsync();
        if (flush.IsCompletedSuccessfully)
            return !flush.Result.IsCompleted;
        _ = FinishAsync(flush);
        return false;
    }

    private async Task FinishAsync(ValueTask<FlushResult> flush)
    {
        try
        {
            if (!(await flush).IsCompleted)
                host.Hub.Writable(this);
        }
        catch (Exception e) when (e is IOException or OperationCanceledException or InvalidOperationException)
        {
            // the connection was aborted, which ends the request, too
        }
    }
}
