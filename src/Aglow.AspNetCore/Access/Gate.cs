using Aglow.AspNetCore.Endpoints;
using Aglow.AspNetCore.Http;
using Microsoft.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// What stands before every call: how often it may be made, by whom, and who that is.
/// </summary>
/// <remarks>
/// <code>
///   address within its rate? ─► token or key good? ─► may they make this call? ─► user or key within its rate? ─► the call
/// </code>
/// The address is asked first, so that guessing tokens is limited, too. Where nothing is asked (open mode, no rates; or an application, which has its own authentication and
/// rates) calls are mapped without it. The usual request, on a connection whose token was checked before, passes without waiting.
/// </remarks>
internal sealed class Gate(Callers callers, RateLimits rates, ProblemAnswers problems)
{
    /// <summary>A call behind the gate.</summary>
    public RequestDelegate Guard(Call call)
    {
        var tokens = callers.Tokens;
        if (tokens is null && rates.AreOff)
            return call.Handle;
        return context =>
        {
            try
            {
                rates.RequireAddress(context.Connection.RemoteIpAddress);
                if (tokens is null || call.Access == CallAccess.Anybody)
                    return call.Handle(context);
                if (context.Request.Headers.Authorization is [{ } authorization]
                    && context.Features.Get<ConnectionCaller>()?.Of(authorization) is { } kept
                    && kept.IsGoodAt(tokens.Now))
                {
                    return AdmitAsync(context, call, kept);
                }
            }
            catch (ProblemException refused)
            {
                return RefuseAsync(context, call, refused);
            }

            return AuthenticateAsync(context, call, tokens);
        };
    }

    private async Task AuthenticateAsync(HttpContext context, Call call, KnownCallers tokens)
    {
        Task done;
        try
        {
            var request = context.Request;
            var authorization = request.Headers.Authorization;
            if (authorization.Count > 1)
                throw Problems.Malformed("Authorization is given twice: send it once.");
            var credential = call.TakesTokenInUrl ? Credentials.OfStream(request) : Credentials.OfHeader(authorization);
            Caller? caller = null;
            if (credential is not null)
            {
                caller = await tokens.CheckAsync(credential);
                // only what the header itself says: a token in the URL says nothing of the requests after it
                if (authorization is [{ } header] && Credentials.OfHeader(header) == credential)
                    context.Features.Get<ConnectionCaller>()?.Keep(header, caller);
            }

            done = AdmitAsync(context, call, caller);
        }
        catch (ProblemException refused)
        {
            done = RefuseAsync(context, call, refused);
        }

        await done;
    }

    private Task RefuseAsync(HttpContext context, Call call, ProblemException refused) =>
        call.Refuse is { } refuse ? refuse(context, refused) : problems.AnswerAsync(context, refused);

    private Task AdmitAsync(HttpContext context, Call call, Caller? caller)
    {
        call.Access.Require(caller);
        rates.RequireCaller(caller);
        context.Features.Set(caller);
        var live = callers.RequireLiveAsync(caller);
        return live.IsCompletedSuccessfully ? call.Handle(context) : AdmitWhenLiveAsync(context, call, live);
    }

    private async Task AdmitWhenLiveAsync(HttpContext context, Call call, ValueTask live)
    {
        var handle = call.Handle;
        try
        {
            await live;
        }
        catch (ProblemException refused)
        {
            handle = _ => RefuseAsync(context, call, refused);
        }
        catch (Exception failure)
        {
            handle = _ => problems.AnswerAsync(context, failure);
        }

        await handle(context);
    }
}
