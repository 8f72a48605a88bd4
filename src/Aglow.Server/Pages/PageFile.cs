using System.Reflection;

namespace Aglow.Server.Pages;

/// <summary>A file of a page. The page loads and calls only this server, and no other page may show it in a frame.</summary>
/// <inheritdoc cref="EmbeddedFile"/>
internal sealed class PageFile(Assembly assembly, string resource, bool isCompressed = false)
{
    // style sheets may contain images (data:)
    private const string SecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        + "form-action 'none'; frame-ancestors 'none'";

    private readonly EmbeddedFile _file = new(assembly, resource, isCompressed);

    /// <summary>Answers a GET or a HEAD.</summary>
    public Task SendAsync(HttpContext context)
    {
        context.Response.Headers.ContentSecurityPolicy = SecurityPolicy;
        context.Response.Headers["Referrer-Policy"] = "no-referrer";
        return _file.SendAsync(context);
    }
}
