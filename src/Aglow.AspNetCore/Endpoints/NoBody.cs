using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Bodies;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// Refuses a body for a call that takes none, so that none is ignored silently. An empty object is no body. For a request without a body,
/// this costs one comparison.
/// </summary>
internal static class NoBody
{
    /// <summary>Wraps the handler of a call, if the call takes no body.</summary>
    public static RequestDelegate Guard(Call call, Gate gate)
    {
        var handle = call.Handle;
        // the handshake of a socket has rules of its own
        if (call.Bodies.Count > 0 || call.Path == Routes.Socket)
            return handle;
        // a page of another origin may send an empty form, so its content type is checked; on a read it does no harm
        var isRead = call.Method == HttpMethods.Get;
        var checkedFirst = gate.AnswerFailures(async context =>
        {
            await RequestBodies.RequireNothingAsync(context);
            await handle(context);
        });
        return context => RequestBodies.IsEmpty(context.Request) && (isRead || context.Request.ContentType is null)
            ? handle(context)
            : checkedFirst(context);
    }
}
