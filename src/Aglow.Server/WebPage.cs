using System.Buffers.Text;
using System.Security.Cryptography;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Endpoints;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Net.Http.Headers;

namespace Aglow.Server;

/// <summary>The page at <c>/</c>, and the JavaScript client at <c>/client/</c> that it uses.</summary>
/// <remarks>
/// The files of <c>wwwroot</c> and <c>clients/js/src</c> are embedded in the program, so every way of publishing has them. Each file has
/// its own route; no file is looked up by a path that a caller sends. Browsers cache the files and check their ETag, so they see a new
/// version at once.
/// </remarks>
internal static class WebPage
{
    private const string Folder = "wwwroot/";
    private const string Index = "/index.html";

    // the page loads and calls only this server, and no other page may show it in a frame
    private const string SecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; "
        + "form-action 'none'; frame-ancestors 'none'";

    public static void MapWebPage(this IEndpointRouteBuilder routes)
    {
        var gate = routes.ServiceProvider.GetRequiredService<Gate>();
        var assembly = typeof(WebPage).Assembly;
        foreach (var name in assembly.GetManifestResourceNames())
        {
            var path = name.Replace('\\', '/');
            if (!path.StartsWith(Folder, StringComparison.Ordinal))
                continue;
            path = path[(Folder.Length - 1)..];
            var file = new PageFile(name, ContentType(path));
            routes.MapMethods(path == Index ? "/" : path, [HttpMethods.Get, HttpMethods.Head], gate.Guard(file.SendAsync))
                .WithDisplayName($"page {path}");
        }
    }

    private static string ContentType(string path) => Path.GetExtension(path) switch
    {
        ".html" => "text/html; charset=utf-8",
        ".css" => "text/css; charset=utf-8",
        ".js" => "text/javascript; charset=utf-8",
        ".svg" => "image/svg+xml",
        var other => throw new NotSupportedException($"The page has a file of the kind \"{other}\": say here what its content type is."),
    };

    // a file is read at its first request, which makes the start of the server faster
    private sealed class PageFile(string resource, string contentType)
    {
        private readonly Lazy<(byte[] Content, string Tag)> _file = new(() => Read(resource));

        public Task SendAsync(HttpContext context)
        {
            var (content, tag) = _file.Value;
            var response = context.Response;
            response.Headers.ETag = tag;
            response.Headers.CacheControl = "no-cache";
            response.Headers.ContentSecurityPolicy = SecurityPolicy;
            response.Headers.XContentTypeOptions = "nosniff";
            response.Headers["Referrer-Policy"] = "no-referrer";
            if (context.Request.GetTypedHeaders().IfNoneMatch.Any(known => known.Equals(EntityTagHeaderValue.Any) || known.Tag == tag))
            {
                response.StatusCode = StatusCodes.Status304NotModified;
                return Task.CompletedTask;
            }

            response.ContentType = contentType;
            response.ContentLength = content.Length;
            return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : response.Body.WriteAsync(content).AsTask();
        }

        private static (byte[] Content, string Tag) Read(string resource)
        {
            using var stream = typeof(WebPage).Assembly.GetManifestResourceStream(resource)!;
            var content = new byte[stream.Length];
            stream.ReadExactly(content);
            return (content, $"\"{Base64Url.EncodeToString(SHA256.HashData(content).AsSpan(0, 12))}\"");
        }
    }
}
