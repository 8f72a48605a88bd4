using System.Net;
using System.Text.Json;
using Aglow.Storage;

namespace Aglow.AspNetCore.Http;

/// <summary>
/// Turns every error of the API into <c>application/problem+json</c> (RFC 9457) with a status, a title and a detail that says what to do
/// instead. It reveals nothing internal.
/// </summary>
/// <remarks>
/// Readers and handlers throw a <see cref="ProblemException"/>, which is answered only here. Refusals are rare, so exceptions are cheap
/// enough, and the code of successful requests stays short.
/// </remarks>
internal sealed class ProblemAnswers(ILoggerFactory logs, LimitReports limits)
{
    private readonly ILogger _logger = logs.CreateLogger(HttpLog.Category);

    /// <summary>Reports that a limit refused a call, whatever answer the caller gets.</summary>
    public void Note(HttpContext context, ProblemException problem) => Note(problem, context.Connection.RemoteIpAddress);

    /// <summary>The same for a client at an address.</summary>
    public void Note(ProblemException problem, IPAddress? address)
    {
        if (problem.Status == StatusCodes.Status429TooManyRequests)
            limits.Report(problem, address);
    }

    public Task AnswerAsync(HttpContext context, Exception failure)
    {
        switch (failure)
        {
            case ProblemException problem:
                Note(context, problem);
                if (problem.RetryAfter is { } seconds)
                    context.Response.Headers.RetryAfter = $"{seconds}";
                if (problem.Challenge is { } challenge)
                    context.Response.Headers.WWWAuthenticate = challenge;
                return SendAsync(context, problem.Status, problem.Title, problem.Message);
            case StoreUnavailableException away:
                return AnswerAsync(context, away.IsHandedOver ? Problems.HandedOver() : Problems.StoreAway());
            case NotInThisDeploymentException missing:
                return AnswerAsync(context, Problems.NotInThisDeployment(missing.Message));
            case BadHttpRequestException { StatusCode: StatusCodes.Status413PayloadTooLarge }:
                return AnswerAsync(context, Problems.BodyTooLarge(Limits.JsonBytes));
            case BadHttpRequestException { StatusCode: StatusCodes.Status408RequestTimeout }:
                return AnswerAsync(context, Problems.BodyTooSlow());
            case BadHttpRequestException bad:
                return SendAsync(context, bad.StatusCode, "Malformed request", Problems.BrokenBody);
            default:
                // logs the route, because the path contains the user
                HttpLog.Failed(
                    _logger, context.Request.Method, (context.GetEndpoint() as RouteEndpoint)?.RoutePattern.RawText ?? "",
                    context.TraceIdentifier, failure);
                return SendAsync(
                    context,
                    StatusCodes.Status500InternalServerError,
                    "Something is wrong in the server",
                    $"The server's log has the reason, under {context.TraceIdentifier}. "
                        + "Send the same again, or tell the operator of this server.");
        }
    }

    public static async Task SendAsync(HttpContext context, int status, string title, string detail)
    {
        using var answer = new AnswerBuffer();
        await using (var writer = new Utf8JsonWriter(answer, new JsonWriterOptions { Encoder = PresenceJson.Encoder }))
        {
            writer.WriteStartObject();
            writer.WriteString("type"u8, Problems.TypeOf(title));
            writer.WriteNumber("status"u8, status);
            writer.WriteString("title"u8, title);
            writer.WriteString("detail"u8, detail);
            writer.WriteEndObject();
        }

        var response = context.Response;
        response.StatusCode = status;
        response.ContentType = Routes.ProblemJson;
        response.ContentLength = answer.Written.Length;
        response.Headers.XContentTypeOptions = "nosniff";
        // sent when the request ends
        response.BodyWriter.Put(answer.Written.Span);
    }
}

/// <summary>A refused request and its reason. Thrown inside this library only.</summary>
/// <param name="status">The HTTP status.</param>
/// <param name="title">What is wrong, in a few words.</param>
/// <param name="detail">What to send instead.</param>
/// <param name="retryAfter">Seconds until the call may be sent again.</param>
/// <param name="challenge">The <c>WWW-Authenticate</c> header of a 401 that is about more than a missing credential.</param>
internal sealed class ProblemException(int status, string title, string detail, int? retryAfter = null, string? challenge = null)
    : Exception(detail)
{
    public int Status => status;

    public string Title => title;

    public int? RetryAfter => retryAfter;

    // every 401 says how to authenticate (RFC 9110, 15.5.2)
    public string? Challenge => challenge ?? (status == StatusCodes.Status401Unauthorized ? "Bearer" : null);
}
