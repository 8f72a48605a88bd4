using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Authentication.Cookies;
using Microsoft.AspNetCore.Authorization;
using Microsoft.AspNetCore.Cors.Infrastructure;
using Microsoft.Extensions.Options;
using Microsoft.Net.Http.Headers;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Handles requests from pages of other origins: CORS by the framework for origins that the operator allows, and a refusal of writes from
/// all others.
/// </summary>
/// <remarks>
/// It wraps the mapped calls, so it works under any prefix and in any application, without <c>UseCors</c> in the pipeline. Without allowed
/// origins, no call has CORS headers, and reads are mapped without this.
/// </remarks>
internal sealed class CrossOrigin
{
    private readonly Origins _origins;
    private readonly ProblemAnswers _problems;
    private readonly CorsService? _cors;
    private readonly CorsPolicy? _policy;

    public CrossOrigin(AglowOptions options, IServiceProvider services)
    {
        _origins = new Origins(options);
        _problems = services.GetRequiredService<ProblemAnswers>();
        if (options.AllowedOrigins.Count == 0)
            return;
        var policy = new CorsPolicyBuilder([.. options.AllowedOrigins])
            .WithMethods(HttpMethods.Get, HttpMethods.Head, HttpMethods.Post, HttpMethods.Put, HttpMethods.Patch, HttpMethods.Delete)
            .WithHeaders(HeaderNames.Accept, HeaderNames.Authorization, HeaderNames.CacheControl, HeaderNames.ContentType, "Last-Event-ID")
            .WithExposedHeaders(HeaderNames.Location, HeaderNames.RetryAfter, HeaderNames.WWWAuthenticate)
            .SetPreflightMaxAge(TimeSpan.FromHours(2));
        _policy = (UsesCookies(services) ? policy.AllowCredentials() : policy.DisallowCredentials()).Build();
        _cors = new CorsService(Options.Create(new CorsOptions()), services.GetRequiredService<ILoggerFactory>());
    }

    /// <summary>Wraps a call: refuses writes of pages that may not write, and adds CORS headers for allowed pages.</summary>
    public RequestDelegate Guard(Call call, RequestDelegate next)
    {
        var isRead = call.Method == HttpMethods.Get && call.Path != Routes.Socket;
        if (isRead)
            return Share(next);
        return context =>
        {
            Share(context);
            try
            {
                _origins.Require(context);
            }
            catch (ProblemException refused)
            {
                return call.AnswerAsync(_problems, context, refused);
            }

            return next(context);
        };
    }

    /// <summary>Wraps a handler, so that pages of allowed origins may read its answer.</summary>
    public RequestDelegate Share(RequestDelegate next) => _policy is null ? next : context =>
    {
        Share(context);
        return next(context);
    };

    /// <summary>Answers a browser's preflight requests on this path, even if the calls on it need a signed-in person.</summary>
    public void MapPreflight(IEndpointRouteBuilder routes, string path, RequestDelegate otherwise)
    {
        if (_policy is null)
            return;
        routes.MapMethods(path, [HttpMethods.Options], context => PreflightAsync(context, otherwise))
            .WithDisplayName($"preflight of {path}")
            .WithMetadata(new AllowAnonymousAttribute());
    }

    private Task PreflightAsync(HttpContext context, RequestDelegate otherwise)
    {
        if (context.Request.Headers.Origin.Count == 0 || context.Request.Headers.AccessControlRequestMethod.Count == 0)
            return otherwise(context);
        Share(context);
        context.Response.StatusCode = StatusCodes.Status204NoContent;
        return Task.CompletedTask;
    }

    private void Share(HttpContext context)
    {
        if (_policy is null)
            return;
        // Vary is sent even without an Origin, because a cache must not give this answer to a page of another origin
        if (context.Request.Headers.Origin.Count > 0)
            _cors!.ApplyResult(_cors.EvaluatePolicy(context, _policy), context.Response);
        context.Response.Headers.Vary = HeaderNames.Origin;
    }

    // "Credentials" of CORS are what a browser sends by itself: cookies. A page sets a token itself, so a token does not count.
    private static bool UsesCookies(IServiceProvider services) =>
        services.GetService<CredentialCheck>() is null
        && services.GetService<IAuthenticationSchemeProvider>()?.GetAllSchemesAsync().GetAwaiter().GetResult()
            .Any(static scheme => typeof(CookieAuthenticationHandler).IsAssignableFrom(scheme.HandlerType)) == true;
}
