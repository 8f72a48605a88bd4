using System.IO.Pipelines;
using Aglow.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Server.Kestrel.Core.Features;

namespace Aglow.AspNetCore.Http;

/// <summary>
/// One request's body, read to its end; whoever sends it slowly is given up.
/// </summary>
/// <remarks>
/// By <see cref="BodyTimeouts"/>, and not by the web server, which ends all that are too slow in one go, once a second: of three thousand that began together, 30 to 45 ms during which nobody else
/// is answered. What waits is counted from the first read on that is not answered at once; a body that came with its head never waits.
/// Threading: one loop.
/// </remarks>
internal sealed class RequestBodyReader : IDisposable
{
    // what was answered is with the kernel by then
    private static readonly TimeSpan UntilAnswered = TimeSpan.FromMilliseconds(100);

    private readonly HttpContext _context;
    private readonly BodyTimeouts _timeouts;
    private readonly PipeReader _body;
    private ReadTimeouts.Wait? _wait;

    public RequestBodyReader(HttpContext context, BodyTimeouts timeouts)
    {
        (_context, _timeouts, _body) = (context, timeouts, context.Request.BodyReader);
        LeaveUntimed(context);
    }

    /// <summary>What has come since the last read, all of which is to be given back by <see cref="AdvanceTo"/>.</summary>
    /// <exception cref="ProblemException">It came too slowly (408), or is broken (400).</exception>
    public async ValueTask<ReadResult> ReadAsync()
    {
        try
        {
            var reading = _body.ReadAsync(_context.RequestAborted);
            if (!reading.IsCompleted)
                _wait ??= _timeouts.Begin(_body);
            var read = await reading;
            if (_wait is null)
                return read;
            _wait.Received += read.Buffer.Length;
            // whoever was given up in the moment in which the rest came is too late: a later read would be cancelled
            if (!_wait.IsTooLong && (!read.IsCompleted || _wait.TryEnd()))
                return read;
            _body.AdvanceTo(read.Buffer.End);
            throw TooSlow();
        }
        catch (Exception failure) when (IsBroken(failure))
        {
            throw Problems.Malformed(Problems.BrokenBody);
        }
    }

    /// <summary>What has come of a body, where anything has; to be given back to the request's reader.</summary>
    /// <exception cref="ProblemException">It is broken (400).</exception>
    public static bool TryRead(HttpContext context, out ReadResult read)
    {
        LeaveUntimed(context);
        try
        {
            return context.Request.BodyReader.TryRead(out read);
        }
        catch (Exception failure) when (IsBroken(failure))
        {
            throw Problems.Malformed(Problems.BrokenBody);
        }
    }

    public void AdvanceTo(SequencePosition consumed) => _body.AdvanceTo(consumed);

    public void Dispose() => _wait?.Dispose();

    // takes a body out of the web server's own timing, before anything of it is read
    private static void LeaveUntimed(HttpContext context)
    {
        if (context.Features.Get<IHttpMinRequestBodyDataRateFeature>() is { } rate)
            rate.MinDataRate = null;
    }

    // what is no bad request to the web server, but a failure of its own: a chunk's length of 2^63, a trailer that is no text
    private static bool IsBroken(Exception failure) => failure is InvalidOperationException or (IOException and not BadHttpRequestException);

    private ProblemException TooSlow()
    {
        // over HTTP/2 the stream alone ends
        if (HttpProtocol.IsHttp11(_context.Request.Protocol))
        {
            _context.Response.Headers.Connection = "close";
            _context.Response.OnCompleted(HangUpAsync);
        }

        return Problems.BodyTooSlow();
    }

    // The web server would wait five seconds for the rest, and then end all of those in one go.
    private async Task HangUpAsync()
    {
        await Task.Delay(UntilAnswered, _timeouts.Time);
        _context.Abort();
    }
}
