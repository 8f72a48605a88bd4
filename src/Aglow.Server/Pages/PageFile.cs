using System.Buffers.Text;
using System.IO.Compression;
using System.Reflection;
using System.Security.Cryptography;
using Aglow.AspNetCore.Bodies;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace Aglow.Server.Pages;

/// <summary>
/// A file of a page, embedded in an assembly. It is read at its first request, so the start of the server does not wait for it. Browsers
/// cache it and check its ETag.
/// </summary>
/// <param name="assembly">The assembly that has the file.</param>
/// <param name="resource">The name of the file in the assembly.</param>
/// <param name="contentType">What it is.</param>
/// <param name="isCompressed">Whether the assembly has it compressed by gzip. A client that does not take gzip gets it expanded.</param>
internal sealed class PageFile(Assembly assembly, string resource, string contentType, bool isCompressed = false)
{
    // The page loads and calls only this server, and no other page may show it in a frame. Style sheets may contain images (data:).
    private const string SecurityPolicy =
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; base-uri 'none'; "
        + "form-action 'none'; frame-ancestors 'none'";

    private readonly Lazy<(byte[] Content, string Tag)> _file = new(() => Read(assembly, resource));

    // never read where every client takes gzip, as browsers do
    private readonly Lazy<byte[]> _expanded = new(() => Expand(Read(assembly, resource).Content));

    /// <summary>Answers a GET or a HEAD.</summary>
    public Task SendAsync(HttpContext context)
    {
        var (content, tag) = _file.Value;
        var (request, response) = (context.Request, context.Response);
        response.Headers.ETag = tag;
        response.Headers.CacheControl = "no-cache";
        response.Headers.ContentSecurityPolicy = SecurityPolicy;
        response.Headers.XContentTypeOptions = "nosniff";
        response.Headers["Referrer-Policy"] = "no-referrer";
        if (isCompressed)
            response.Headers.Vary = HeaderNames.AcceptEncoding;
        if (request.GetTypedHeaders().IfNoneMatch.Any(known => known.Equals(EntityTagHeaderValue.Any) || known.Tag == tag))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }

        if (isCompressed && TakesGzip(request))
            response.Headers.ContentEncoding = "gzip";
        else if (isCompressed)
            content = _expanded.Value;
        if (!HttpMethods.IsHead(request.Method))
            return Answers.BytesAsync(context, contentType, content);
        response.ContentType = contentType;
        response.ContentLength = content.Length;
        return Task.CompletedTask;
    }

    private static bool TakesGzip(HttpRequest request) => request.GetTypedHeaders().AcceptEncoding
        .Any(static one => one.Value.Equals("gzip", StringComparison.OrdinalIgnoreCase) && one.Quality is not 0);

    private static byte[] Expand(byte[] content)
    {
        using var expanded = new MemoryStream();
        using (var gzip = new GZipStream(new MemoryStream(content), CompressionMode.Decompress))
            gzip.CopyTo(expanded);
        return expanded.ToArray();
    }

    private static (byte[] Content, string Tag) Read(Assembly assembly, string resource)
    {
        using var stream = assembly.GetManifestResourceStream(resource)!;
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return (content, $"\"{Base64Url.EncodeToString(SHA256.HashData(content).AsSpan(0, 12))}\"");
    }
}
