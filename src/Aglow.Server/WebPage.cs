using System.Buffers.Text;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Net.Http.Headers;

namespace Aglow.Server;

/// <summary>
/// The page at <c>/</c>, and the JavaScript client at <c>/client/</c> that it uses.
/// </summary>
/// <remarks>
/// The files of <c>wwwroot</c> and <c>clients/js/src</c> are resources of this program, so they are there however it was published. Each is a path of its
/// own; nothing is looked up by what a caller sends. Browsers keep them and ask whether they still hold (ETag), so a new version is seen at once.
/// </remarks>
internal static class WebPage
{
    private const string Folder = "wwwroot/";
    private const string Index = "/index.html";

    // scripts, styles and calls from and to this server only, and nobody shows this page in a frame
    private const string SecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

    public static void MapWebPage(this IEndpointRouteBuilder routes)
    {
        var assembly = typeof(WebPage).Assembly;
        foreach (var name in assembly.GetManifestResourceNames())
        {
            var path = name.Replace('\\', '/');
            if (!path.StartsWith(Folder, StringComparison.Ordinal))
                continue;
            path = path[(Folder.Length - 1)..];
            using var resource = assembly.GetManifestResourceStream(name)!;
            var file = PageFile.Read(resource, ContentType(path));
            routes.MapMethods(path == Index ? "/" : path, [HttpMethods.Get, HttpMethods.Head], file.SendAsync).WithDisplayName($"page {path}");
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

    private sealed record PageFile(byte[] Content, string ContentType, string Tag)
    {
        public static PageFile Read(Stream resource, string contentType)
        {
            var content = new byte[resource.Length];
            resource.ReadExactly(content);
            return new PageFile(content, contentType, $"\"{Base64Url.EncodeToString(SHA256.HashData(content).AsSpan(0, 12))}\"");
        }

        public Task SendAsync(HttpContext context)
        {
            var response = context.Response;
            response.Headers.ETag = Tag;
            response.Headers.CacheControl = "no-cache";
            response.Headers.ContentSecurityPolicy = SecurityPolicy;
            response.Headers.XContentTypeOptions = "nosniff";
            response.Headers["Referrer-Policy"] = "no-referrer";
            if (context.Request.GetTypedHeaders().IfNoneMatch.Any(tag => tag.Equals(EntityTagHeaderValue.Any) || tag.Tag == Tag))
            {
                response.StatusCode = StatusCodes.Status304NotModified;
                return Task.CompletedTask;
            }

            response.ContentType = ContentType;
            response.ContentLength = Content.Length;
            return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : response.Body.WriteAsync(Content).AsTask();
        }
    }
}
