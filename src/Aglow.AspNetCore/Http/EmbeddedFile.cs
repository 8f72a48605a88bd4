using System.Buffers.Text;
using System.IO.Compression;
using System.Reflection;
using System.Security.Cryptography;
using Microsoft.Net.Http.Headers;

namespace Aglow.AspNetCore.Http;

/// <summary>A file that is embedded in an assembly. It is read at its first request, so it costs nothing at start.</summary>
/// <remarks>
/// Browsers cache it and check its ETag, so they see a new version at once. It is sent compressed by gzip to every client that takes it.
/// </remarks>
internal sealed class EmbeddedFile(Assembly assembly, string resource, bool isCompressed = false)
{
    private readonly Lazy<string> _tag = new(
        () => $"\"{Base64Url.EncodeToString(SHA256.HashData(Read(assembly, resource)).AsSpan(0, 12))}\"");

    // one of the two is rarely read: nearly every client takes gzip
    private readonly Lazy<byte[]> _compressed = new(
        () => isCompressed ? Read(assembly, resource) : Compress(Read(assembly, resource)));

    private readonly Lazy<byte[]> _plain = new(
        () => isCompressed ? Expand(Read(assembly, resource)) : Read(assembly, resource));

    private readonly string _contentType = ContentType(resource);

    public Task SendAsync(HttpContext context)
    {
        var (request, response) = (context.Request, context.Response);
        // weak, because it is the same for both encodings
        response.Headers.ETag = $"W/{_tag.Value}";
        response.Headers.CacheControl = "no-cache";
        response.Headers.Append(HeaderNames.Vary, HeaderNames.AcceptEncoding);
        response.Headers.XContentTypeOptions = "nosniff";
        if (request.GetTypedHeaders().IfNoneMatch.Any(known => known.Equals(EntityTagHeaderValue.Any) || known.Tag == _tag.Value))
        {
            response.StatusCode = StatusCodes.Status304NotModified;
            return Task.CompletedTask;
        }

        var takesGzip = TakesGzip(request);
        if (takesGzip)
            response.Headers.ContentEncoding = "gzip";
        var content = takesGzip ? _compressed.Value : _plain.Value;
        response.ContentType = _contentType;
        response.ContentLength = content.Length;
        return HttpMethods.IsHead(request.Method) ? Task.CompletedTask : response.Body.WriteAsync(content).AsTask();
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

    private static byte[] Compress(byte[] content)
    {
        using var compressed = new MemoryStream();
        using (var gzip = new GZipStream(compressed, CompressionLevel.SmallestSize))
            gzip.Write(content);
        return compressed.ToArray();
    }

    private static byte[] Expand(byte[] content)
    {
        using var expanded = new MemoryStream();
        using (var gzip = new GZipStream(new MemoryStream(content), CompressionMode.Decompress))
            gzip.CopyTo(expanded);
        return expanded.ToArray();
    }

    private static byte[] Read(Assembly assembly, string resource)
    {
        using var stream = assembly.GetManifestResourceStream(resource)!;
        var content = new byte[stream.Length];
        stream.ReadExactly(content);
        return content;
    }
}
