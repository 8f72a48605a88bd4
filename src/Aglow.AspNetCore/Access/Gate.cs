using System.Net;
using Aglow.Storage;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Admits or refuses every call, handshake, stream, page and description, over every transport.
/// </summary>
/// <remarks>
/// <code>
///   HTTP/1.1, HTTP/2 ─► Guard ──────┐
///   raw GET /ws      ─► AdmitAsync ─┴─► path valid? ─► address pays ─► credential known? ─► may call? ─► caller pays ─► live? ─► call
///                                                                       └─ else it is checked, once
///   body, users, watches, messages ─► Charge: the same person (or key) and address pay for the rest of the cost
/// </code>
/// The address pays first, which limits guessing of tokens, too. The gate's caches (<see cref="LastCaller"/>, <see cref="KnownCallers"/>)
/// use the credential as key. They never use the connection, because a load balancer sends the requests of many people over one. The usual
/// request passes without waiting and without allocations. A caller who goes on after a refusal gets later refusals with a delay
/// (<see cref="SlowDownAsync"/>), so that refusals cost the server little.
/// </remarks>
internal sealed class Gate(Callers callers, RateLimits rates, Holdings holdings, ProblemAnswers problems, TimeProvider time)
{
    // refusals per second of one person, key or address that are answered without a delay
    private const int QuickRefusals = 20;

    // the memory that a delayed refusal is counted with
    private const int WaitingBytes = 8 * 1024;
    private static readonly TimeSpan RefusalWaits = TimeSpan.FromSeconds(1);

    private readonly KnownCallers? _tokens = callers.Tokens;
    private readonly RateBuckets? _refusals = rates.AreOff ? null : new RateBuckets(QuickRefusals, time);

    public Holdings Holdings => holdings;

    /// <summary>The gate that a request came through; null if its endpoint is not Aglow's.</summary>
    public static Gate? Of(HttpContext context) => context.GetEndpoint()?.Metadata.GetMetadata<Gate>();

    public RequestDelegate Guard(Call call) => context =>
    {
        try
        {
            RequireShort(context, call.TargetBytes);
            if (rates.Charge(context.Connection.RemoteIpAddress, call.Cost) is { } refused)
                return RefuseAsync(context, call, refused, caller: null);
            RequestParameters.RequireNoDots(context);
            if (_tokens is null || call.Access == CallAccess.Anybody)
                return call.Handle(context);
            var headers = context.Request.Headers.Authorization;
            // a token in the URL or subprotocol counts only if the header has none
            if (headers is [{ } header] && Credentials.InHeader(header) is { IsEmpty: false } bearer)
                return Find(context, header, bearer) is { } known
                    ? Admit(context, call, known)
                    : AuthenticateAsync(context, call, bearer.ToString());
            if (headers.Count > 1)
                throw Problems.Malformed("Authorization is given twice: send it once.");
            if (call.TakesTokenInUrl)
            {
                return Credentials.OfStream(context.Request) is { } elsewhere
                    ? AuthenticateAsync(context, call, elsewhere)
                    : throw Problems.StreamTokenMissing(call.Path == Routes.Socket);
            }

            call.Access.Require(caller: null);
            return call.Handle(context);
        }
        catch (ProblemException refused)
        {
            return RefuseAsync(context, call, refused, caller: null);
        }
    };

    /// <summary>Wraps a handler that is not a call (a page, a description, an unknown path) and that anybody may use.</summary>
    public RequestDelegate Guard(RequestDelegate handle)
    {
        var call = new Call(HttpMethods.Get, "", "", "", handle) { Access = CallAccess.Anybody };
        return Guard(call);
    }

    /// <summary>Wraps the handler of a call so that its failures become problem documents.</summary>
    public RequestDelegate AnswerFailures(RequestDelegate handle) => async context =>
    {
        try
        {
            await handle(context);
        }
        catch (Exception failure) when (!context.RequestAborted.IsCancellationRequested && !context.Response.HasStarted)
        {
            // some costs are known only after the body was read, so a 429 may come from the handler as well as from the gate
            if (failure is not ProblemException { Status: StatusCodes.Status429TooManyRequests } refused
                || await SlowDownAsync(context, Callers.Current(context), refused))
                await problems.AnswerAsync(context, failure);
        }
        catch (Exception failure) when (context.RequestAborted.IsCancellationRequested
            && failure is OperationCanceledException or ProblemException or IOException or StoreUnavailableException
                or NotInThisDeploymentException)
        {
            // the client has disconnected: there is nobody to answer, and the server did not fail
        }
    };

    /// <summary>
    /// Admits a socket whose handshake was taken before HTTP, and returns its caller; null if the server takes no tokens.
    /// </summary>
    /// <exception cref="ProblemException">The caller may not open a socket; the handshake then goes to HTTP, which answers it.</exception>
    public async ValueTask<Caller?> AdmitAsync(IPAddress? address, string? credential, CallAccess access)
    {
        Throw(rates.Charge(address, Cost.Socket));
        if (_tokens is null)
            return null;
        var caller = credential is null ? null : await CheckAsync(address, credential);
        access.Require(caller);
        Throw(rates.Charge(caller, Cost.Socket));
        await callers.RequireLiveAsync(caller);
        return caller;
    }

    /// <summary>Checks a credential, such as a newer token of an open socket, and returns its caller.</summary>
    /// <exception cref="ProblemException">The credential is not valid.</exception>
    public ValueTask<Caller> CheckAsync(IPAddress? address, string credential)
    {
        return _tokens!.Find(credential) is { } known ? new(known) : CheckNewAsync();

        async ValueTask<Caller> CheckNewAsync()
        {
            try
            {
                return await _tokens.CheckAsync(credential);
            }
            catch (ProblemException refused) when (refused.Status == StatusCodes.Status401Unauthorized)
            {
                // a client that guesses tokens is known only by its address
                rates.Charge(address, Cost.RefusedCredential);
                throw;
            }
        }
    }

    /// <summary>Notes that a limit refused a message.</summary>
    public void Note(ProblemException refused, IPAddress? address) => problems.Note(refused, address);

    /// <summary>Charges a further cost of a request.</summary>
    /// <exception cref="ProblemException">The caller or the address cannot pay it (429).</exception>
    public void Charge(HttpContext context, int cost)
    {
        if (cost > 0)
            Charge(Callers.Current(context), context.Connection.RemoteIpAddress, cost);
    }

    /// <summary>The same for the caller and address of a socket.</summary>
    public void Charge(Caller? caller, IPAddress? address, int cost)
    {
        Throw(rates.Charge(caller, cost));
        Throw(rates.Charge(address, cost));
    }

    /// <summary>Charges users that a request registers.</summary>
    /// <exception cref="ProblemException">There are too many at a time (429).</exception>
    public void ChargeRegistrations(HttpContext context, int count) =>
        ChargeRegistrations(Callers.Current(context), context.Connection.RemoteIpAddress, count);

    /// <summary>The same for the caller and address of a socket.</summary>
    public void ChargeRegistrations(Caller? caller, IPAddress? address, int count) =>
        Throw(rates.ChargeRegistrations(caller, address, count));

    /// <summary>Counts the bytes that a request holds while it arrives or is answered.</summary>
    public static Holding Hold(HttpContext context) => new(Of(context)?.Holdings, Callers.Current(context));

    private static void RequireShort(HttpContext context, int most)
    {
        var request = context.Request;
        var length = (request.QueryString.Value?.Length ?? 0) + (request.Path.Value?.Length ?? 0);
        // Kestrel keeps the last target of a connection while it is open: a silent connection would hold up to 1.5 MB
        if (length > Limits.TargetBytes && !HttpProtocol.IsHttp2(request.Protocol))
            context.Response.Headers.Connection = "close";
        if (length > most)
            throw Problems.TargetTooLong(most);
    }

    private static void Throw(ProblemException? refused)
    {
        if (refused is not null)
            throw refused;
    }

    private Caller? Find(HttpContext context, string header, ReadOnlySpan<char> credential)
    {
        var last = context.Features.Get<LastCaller>();
        if (last?.Find(header) is { } same && same.IsGoodAt(_tokens!.Now))
            return same;
        var known = _tokens!.Find(credential);
        if (known is not null)
            last?.Keep(header, known);
        return known;
    }

    private async Task AuthenticateAsync(HttpContext context, Call call, string credential)
    {
        Task done;
        try
        {
            done = Admit(context, call, await CheckAsync(context.Connection.RemoteIpAddress, credential));
        }
        catch (ProblemException refused)
        {
            done = RefuseAsync(context, call, refused, caller: null);
        }

        await done;
    }

    private Task Admit(HttpContext context, Call call, Caller caller)
    {
        call.Access.Require(caller);
        if (rates.Charge(caller, call.Cost) is { } refused)
            return RefuseAsync(context, call, refused, caller);
        context.Features.Set(caller);
        var live = callers.RequireLiveAsync(caller);
        return live.IsCompletedSuccessfully ? call.Handle(context) : AdmitWhenLiveAsync(context, call, caller, live);
    }

    private async Task AdmitWhenLiveAsync(HttpContext context, Call call, Caller caller, ValueTask live)
    {
        var handle = call.Handle;
        try
        {
            await live;
        }
        catch (ProblemException refused)
        {
            handle = _ => RefuseAsync(context, call, refused, caller);
        }
        catch (Exception failure)
        {
            handle = _ => problems.AnswerAsync(context, failure);
        }

        await handle(context);
    }

    private async Task RefuseAsync(HttpContext context, Call call, ProblemException refused, Caller? caller)
    {
        if (refused.Status == StatusCodes.Status429TooManyRequests && !await SlowDownAsync(context, caller, refused))
            return;
        await call.AnswerAsync(problems, context, refused);
    }

    // A caller who is refused many times waits a second for each answer. So a client that does not wait by itself makes only a few calls
    // per second. If the caller's waiting requests already hold too much memory, the request is aborted.
    private async ValueTask<bool> SlowDownAsync(HttpContext context, Caller? caller, ProblemException refused)
    {
        if (_refusals?.TryTake(caller?.Hash ?? RateLimits.HashOf(context.Connection.RemoteIpAddress)) != false)
            return true;
        if (!holdings.TryHold(caller, WaitingBytes))
        {
            problems.Note(context, refused);
            context.Abort();
            return false;
        }

        try
        {
            await Task.Delay(RefusalWaits, time, context.RequestAborted);
            return true;
        }
        catch (OperationCanceledException)
        {
            return false;
        }
        finally
        {
            holdings.Release(caller, WaitingBytes);
        }
    }
}
