using Aglow.AspNetCore.Access;

namespace Aglow.AspNetCore.Endpoints;

/// <summary>
/// The JavaScript client of this version at <c>client/</c>, so that a page needs no build and no package:
/// <c>import { connect } from '/presence/client/index.js'</c>.
/// </summary>
/// <remarks>Anybody may load it, also before they sign in. Each file has its own route; no file is looked up by a sent path.</remarks>
internal static class ClientFiles
{
    private const string Folder = "client/";

    public static void Map(IEndpointRouteBuilder routes, Gate gate)
    {
        var assembly = typeof(ClientFiles).Assembly;
        foreach (var name in assembly.GetManifestResourceNames())
        {
            if (!name.StartsWith(Folder, StringComparison.Ordinal))
                continue;
            var file = new EmbeddedFile(assembly, name);
            routes.MapMethods(name, [HttpMethods.Get, HttpMethods.Head], gate.Guard(file.SendAsync))
                .WithDisplayName(name)
                .AllowAnonymous();
        }
    }
}
