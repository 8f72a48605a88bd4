using Aglow.AspNetCore.Access;
using Aglow.Server.Pages;

namespace Aglow.Server;

/// <summary>The page at <c>/</c>. It uses the JavaScript client at <c>/client/</c>, which is mapped with the calls.</summary>
/// <remarks>
/// The files of <c>wwwroot</c> are embedded in the program, so every way of publishing has them. Each file has its own route; no file is
/// looked up by a path that a caller sends.
/// </remarks>
internal static class WebPage
{
    private const string Folder = "wwwroot/";
    private const string Index = "/index.html";

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
            var file = new PageFile(assembly, name);
            routes.MapMethods(path == Index ? "/" : path, [HttpMethods.Get, HttpMethods.Head], gate.Guard(file.SendAsync))
                .WithDisplayName($"page {path}");
        }
    }
}
