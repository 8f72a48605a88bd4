using System.Buffers.Text;
using System.IO.Compression;
using System.Reflection;
using System.Security.Cryptography;
using Microsoft.AspNetCore.Http;
using Microsoft.Net.Http.Headers;

namespace Aglow.AspNetCore.Http;

/// <summary>A file that is embedded in an assembly. It is read at its first request, so it costs nothing at start.</summary>
/// <remarks>Browsers cache it and check its ETag, so they see a new version at once.</remarks>
/// <param name="assembly">The assembly that has the file.</param>
/// <param name="resource">The name of the file in the assembly.</param>
/// <param name="isCompressed">Whether the assembly has it compressed by gzip. A client that does not take gzip gets it expanded.</param>
internal sealed class EmbeddedFile(Assembly assembly, string resource, bool isCompressed = false)
{
    private readonly Lazy<(byte[] Content, string Tag)> _file = new(() => Read(assembly, resource));
    // never read if every client takes gzip, as browsers do
    private readonly Lazy<byte[]> _expanded = new(() => Expand(Read(assembly, resource).Content));
    private readonly string _contentType = ContentType(resource);

    /// <summary>Answers a GET or a HEAD.</summary>
    public Task SendAsync(HttpContext context)
    {
        var (content, tag) = _file.Value;
        var response = context.Response;
        response.Headers.ETag = tag;
        response.Headers.CacheControl = "no-cache";
        response.Headers.XContentTypeOptions = "nosniff";
        if (isCompressed)
            response.Headers.Vary = HeaderNames.AcceptEncoding;
        if (context.Request.GetTypedHeaders().IfNoneMatch.Any(known => known.Equals(EntityTagHeaderValue.Any) || known.Tag == tag))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }

        if (isCompressed && TakesGzip(context.Request))
            response.Headers.ContentEncoding = "gzip";
        else if (isCompressed)
            content = _expanded.Value;
        response.ContentType = _contentType;
        response.ContentLength = content.Length;
        return HttpMethods.IsHead(context.Request.Method) ? Task.CompletedTask : response.Body.WriteAsync(content).AsTask();
    }

    private static string ContentType(string resource) => Path.GetExtension(resource) switch
    {
        ".html" => "text/html; charset=utf-8",
        ".css" => "text/css; charset=utf-8",
        ".js" => "text/javascript; charset=utf-8",
        ".svg" => "image/svg+xml",
        ".yaml" => "application/yaml",
        var other => throw new NotSupportedException($"A file of the kind \"{other}\" is embedded: say here what its content type is."),
    };

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
