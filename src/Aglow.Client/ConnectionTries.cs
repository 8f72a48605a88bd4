using System.Net.WebSockets;

namespace Aglow.Client;

/// <summary>The result of a try to connect, when its connection has ended.</summary>
/// <param name="Failure">Why there was no connection, or why the server ended it; null: a working connection was lost.</param>
/// <param name="IsFinal">Whether the server refused, and would refuse again.</param>
/// <param name="MayHaveNewToken">Whether the server refused the token, and the application may give a valid one.</param>
/// <param name="ReconnectAfter">When to connect again, if the server said so.</param>
internal readonly record struct TryResult(
    AglowException? Failure, bool IsFinal = false, bool MayHaveNewToken = false, TimeSpan? ReconnectAfter = null);

/// <summary>
/// Tries to connect: selects the address and the token of each try, and says when the next one is due, with full jitter. With several
/// addresses, it goes on to the next one when a try fails, and when the server asks the client to reconnect.
/// </summary>
/// <remarks>
/// Two handshakes begin at least a second apart, whatever the application calls. If the server refuses the token, the client requests a new
/// one three times before the refusal is final: an application may have cached a token that was about to end. Threading: one loop; the
/// others note what they observe.
/// </remarks>
internal sealed class ConnectionTries(ServerCalls calls, TokenSource tokens, AglowClientOptions options)
{
    private const int MaxRefusedTokens = 3;
    // 2^5 times the first wait of 1 s is above the longest wait of 30 s
    private const int SlowestAttempt = 5;

    private static readonly TimeSpan DialSpacing = TimeSpan.FromSeconds(1);

    private int _failures;
    private int _refusedTokens;
    private string? _refusedToken;
    private AglowException? _tokenRefusal;
    private long? _dialedAt;
    private Uri? _dialed; // the address of the current try; null until it has a token

    /// <summary>The server has sent its welcome, so it accepted the token.</summary>
    public void Connected() => (_refusedTokens, _refusedToken) = (0, null);

    /// <summary>A connection has worked for the time of a tick, so the next wait is short.</summary>
    public void Ticked() => _failures = 0;

    /// <summary>Forgets earlier failures, because the application asks for another try.</summary>
    public void Reset()
    {
        Connected();
        Ticked();
    }

    /// <summary>Makes one try. Completes when its connection has ended.</summary>
    /// <param name="run">Runs a session on the open socket, with its token and the time that is left until the welcome.</param>
    /// <param name="stop">Ends the try.</param>
    public async Task<TryResult> RunAsync(Func<WebSocket, string?, TimeSpan, Task<SessionEnd>> run, CancellationToken stop)
    {
        var (end, failure) = await TryAsync(run, stop);
        if (end?.WasWelcome == false && failure is null)
        {
            failure = AglowException.NotConnected(
                $"The connection to {_dialed} ended before the welcome ({Describe(end.Value)}). "
                    + "The client tries again until it succeeds.");
        }

        if (failure is { Status: 401, IsTransient: false } && tokens.IsCallback && ++_refusedTokens < MaxRefusedTokens)
        {
            _tokenRefusal = failure;
            return new TryResult(failure, MayHaveNewToken: true, ReconnectAfter: end?.ReconnectAfter);
        }

        if (failure is { IsTransient: false })
            return new TryResult(failure, IsFinal: true);
        if (_dialed is { } dialed && (failure is null ? end?.ReconnectAfter is not null : failure.MayDifferElsewhere))
            calls.Leave(dialed);
        return new TryResult(failure, ReconnectAfter: end?.ReconnectAfter);
    }

    /// <summary>The wait before the try that follows this one.</summary>
    public TimeSpan NextWait(TryResult last)
    {
        if (last.ReconnectAfter is { } requested)
            return requested;
        if (last.Failure is { Status: 429, RetryAfter: null })
            _failures = Math.Max(_failures, SlowestAttempt);
        var wait = Jitter.Retry(_failures++, options.FirstRetryWithin, options.RetryWithin, options.Random);
        return last.Failure?.RetryAfter is { } least && least > wait ? least : wait;
    }

    /// <summary>The refusal that a session's end expresses; null if it expresses none.</summary>
    public static AglowException? RefusalOf(SessionEnd end) => end.Code switch
    {
        4401 => AglowException.Refused(
            401, "Not authenticated",
            end.Reason.Length > 0 ? end.Reason : "The token is missing, has expired, or was revoked. Get another one."),
        4403 => AglowException.Refused(403, "Not allowed", end.Reason.Length > 0 ? end.Reason : "This user may not connect."),
        4429 => AglowException.Refused(429, "Too many connections", end.Reason.Length > 0 ? end.Reason : "Close some, and try again."),
        _ => null,
    };

    private async Task<(SessionEnd? End, AglowException? Failure)> TryAsync(
        Func<WebSocket, string?, TimeSpan, Task<SessionEnd>> run, CancellationToken stop)
    {
        _dialed = null;
        try
        {
            if (_dialedAt is { } at && DialSpacing - options.TimeProvider.GetElapsedTime(at) is { Ticks: > 0 } wait)
                await Task.Delay(wait, options.TimeProvider, stop);
            var token = await tokens.RequestAsync(stop);
            if (token is not null && token == _refusedToken && tokens.IsCallback)
                return (null, _tokenRefusal);
            _refusedToken = null;
            var began = options.TimeProvider.GetTimestamp();
            _dialedAt = began;
            var socket = await DialAsync(_dialed = calls.Address, token, stop);
            var left = options.ConnectTimeout - options.TimeProvider.GetElapsedTime(began);
            var end = await run(socket, token, left > TimeSpan.Zero ? left : TimeSpan.FromMilliseconds(1));
            var refusal = RefusalOf(end);
            if (refusal?.Status == 401)
                _refusedToken = token;
            return (end, refusal);
        }
        catch (Exception failure) when (!stop.IsCancellationRequested)
        {
            return (null, failure as AglowException ?? AglowException.NotConnected(_dialed ?? calls.Address, failure));
        }
    }

    private async Task<WebSocket> DialAsync(Uri address, string? token, CancellationToken stop)
    {
        using var patience = new CancellationTokenSource(options.ConnectTimeout, options.TimeProvider);
        using var both = CancellationTokenSource.CreateLinkedTokenSource(stop, patience.Token);
        try
        {
            return await calls.OpenSocketAsync(address, token, both.Token);
        }
        catch (AglowException refusal) when (refusal.Status == 401)
        {
            _refusedToken = token;
            throw;
        }
        catch (Exception late) when (patience.IsCancellationRequested && !stop.IsCancellationRequested)
        {
            throw new TimeoutException($"no answer within {options.ConnectTimeout.TotalSeconds:0.#} s", late);
        }
    }

    private static string Describe(SessionEnd end) =>
        end.Code is { } code ? $"closed with {code}{(end.Reason.Length > 0 ? ": " : "")}{end.Reason}" : end.Reason;
}
