using System.Net;
using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Http;
using Aglow.AspNetCore.Sockets;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// The one way in: every call, handshake, stream, page and description passes it, over whatever transport it comes.
/// </summary>
/// <remarks>
/// <code>
///   HTTP/1.1, HTTP/2 ─► Guard ──────┐
///   raw GET /ws      ─► AdmitAsync ─┴─► path short? ─► address pays ─► credential known? ─► may they call? ─► caller pays ─► account live? ─► the call
///                                                                       └─ else it is checked, once
///   body, users, watches, messages ─► Charge: the same person (or key) and address pay for what turns out to be asked
/// </code>
/// The address pays first, so that guessing tokens is limited, too. What the gate remembers is keyed by the credential alone
/// (<see cref="LastCaller"/>, <see cref="KnownCallers"/>), never by the connection: a balancer sends the requests of many people over one. The usual request passes without waiting
/// and without memory. A caller who goes on after a refusal waits for the next ones (<see cref="RefuseAsync"/>), so that refusals cost the server little.
/// </remarks>
internal sealed class Gate(Callers callers, RateLimits rates, Holdings holdings, ProblemAnswers problems, TimeProvider time)
{
    // refusals a second that are answered at once, of one person, key or address
    private const int QuickRefusals = 20;

    // what a refusal that waits keeps in memory
    private const int WaitingBytes = 8 * 1024;
    private static readonly TimeSpan RefusalWaits = TimeSpan.FromSeconds(1);

    private readonly KnownCallers? _tokens = callers.Tokens;
    private readonly RateBuckets? _refusals = rates.AreOff ? null : new RateBuckets(QuickRefusals, time);

    /// <summary>What each caller holds.</summary>
    public Holdings Holdings => holdings;

    /// <summary>The gate that a request came through; null where it is none of ours.</summary>
    public static Gate? Of(HttpContext context) => context.GetEndpoint()?.Metadata.GetMetadata<Gate>();

    /// <summary>A call behind the gate.</summary>
    public RequestDelegate Guard(Call call) => context =>
    {
        try
        {
            RequireShort(context, call.TargetBytes);
            if (rates.Charge(ClientAddress.Of(context), call.Cost) is { } refused)
                return RefuseAsync(context, call, refused, caller: null);
            if (_tokens is null || call.Access == CallAccess.Anybody)
                return call.Handle(context);
            var headers = context.Request.Headers.Authorization;
            // what a browser cannot put into a header is looked for elsewhere only if the header has none
            if (headers is [{ } header] && Credentials.InHeader(header) is { IsEmpty: false } bearer)
                return Find(context, header, bearer) is { } known ? Admit(context, call, known) : AuthenticateAsync(context, call, bearer.ToString());
            if (headers.Count > 1)
                throw Problems.Malformed("Authorization is given twice: send it once.");
            if (call.TakesTokenInUrl && Credentials.OfStream(context.Request) is { } elsewhere)
                return AuthenticateAsync(context, call, elsewhere);
            call.Access.Require(caller: null);
            return call.Handle(context);
        }
        catch (ProblemException refused)
        {
            return RefuseAsync(context, call, refused, caller: null);
        }
    };

    /// <summary>Something that is no call (a page, a description, a path that is not there), for anybody.</summary>
    public RequestDelegate Guard(RequestDelegate handle)
    {
        var call = new Call(HttpMethods.Get, "", "", "", handle) { Access = CallAccess.Anybody };
        return Guard(call);
    }

    /// <summary>
    /// Who opens a socket whose handshake was taken before HTTP; null where no tokens are taken.
    /// </summary>
    /// <exception cref="ProblemException">They may not: HTTP answers.</exception>
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

    /// <summary>Who a newer token of an open socket stands for.</summary>
    /// <exception cref="ProblemException">Nobody.</exception>
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
                // who guesses is known by the address only
                rates.Charge(address, Cost.RefusedCredential);
                throw;
            }
        }
    }

    /// <summary>Notes that a limit refused a message.</summary>
    public void Note(ProblemException refused, IPAddress? address) => problems.Note(refused, address);

    /// <summary>Takes what a request turns out to cost.</summary>
    /// <exception cref="ProblemException">There is not enough (429).</exception>
    public void Charge(HttpContext context, int cost)
    {
        if (cost > 0)
            Charge(Callers.Current(context), ClientAddress.Of(context), cost);
    }

    /// <summary>The same for whom a socket is of.</summary>
    public void Charge(Caller? caller, IPAddress? address, int cost)
    {
        Throw(rates.Charge(caller, cost));
        Throw(rates.Charge(address, cost));
    }

    /// <summary>Takes users that are registered.</summary>
    /// <exception cref="ProblemException">They are too many at a time (429).</exception>
    public void ChargeRegistrations(HttpContext context, int count) => ChargeRegistrations(Callers.Current(context), ClientAddress.Of(context), count);

    /// <summary>The same for whom a socket is of.</summary>
    public void ChargeRegistrations(Caller? caller, IPAddress? address, int count) => Throw(rates.ChargeRegistrations(caller, address, count));

    /// <summary>What a request holds while it arrives or is answered.</summary>
    public static Holding Hold(HttpContext context) => new(Of(context)?.Holdings, Callers.Current(context));

    private static void RequireShort(HttpContext context, int most)
    {
        var request = context.Request;
        var length = (request.QueryString.Value?.Length ?? 0) + (request.Path.Value?.Length ?? 0);
        // the web server keeps the last target of a connection while that is open: a silent one would hold a megabyte and a half
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
            done = Admit(context, call, await CheckAsync(ClientAddress.Of(context), credential));
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

    // Who is refused again and again waits a second for each answer: a client that does not wait by itself makes few calls a second then. Where too many wait already the request is aborted.
    private async Task RefuseAsync(HttpContext context, Call call, ProblemException refused, Caller? caller)
    {
        if (refused.Status == StatusCodes.Status429TooManyRequests && _refusals is not null && !_refusals.TryTake(caller?.Hash ?? RateLimits.HashOf(ClientAddress.Of(context))))
        {
            if (!holdings.TryHold(caller, WaitingBytes))
            {
                problems.Note(context, refused);
                context.Abort();
                return;
            }

            try
            {
                await Task.Delay(RefusalWaits, time, context.RequestAborted);
            }
            catch (OperationCanceledException)
            {
                return;
            }
            finally
            {
                holdings.Release(caller, WaitingBytes);
            }
        }

        await (call.Refuse is { } refuse ? refuse(context, refused) : problems.AnswerAsync(context, refused));
    }
}
