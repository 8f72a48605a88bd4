using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;

namespace Aglow.Server;

/// <summary>The page at <c>/</c>: what this is, and where to go on.</summary>
internal static class StartPage
{
    private static readonly byte[] Html = Read();

    public static void MapStartPage(this IEndpointRouteBuilder routes) => routes.MapMethods("/", [HttpMethods.Get, HttpMethods.Head], static context =>
    {
        var response = context.Response;
        response.ContentType = "text/html; charset=utf-8";
        response.ContentLength = Html.Length;
        response.Headers.XContentTypeOptions = "nosniff";
        response.Headers.ContentSecurityPolicy = "default-src 'none'; style-src 'unsafe-inline'";
        return response.Body.WriteAsync(Html).AsTask();
    });

    private static byte[] Read()
    {
        using var resource = typeof(StartPage).Assembly.GetManifestResourceStream("index.html")!;
        using var bytes = new MemoryStream();
        resource.CopyTo(bytes);
        return bytes.ToArray();
    }
}
