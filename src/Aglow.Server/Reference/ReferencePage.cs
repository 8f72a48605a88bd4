using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Endpoints;
using Aglow.Server.Pages;
using Swashbuckle.AspNetCore.SwaggerUI;

namespace Aglow.Server.Reference;

/// <summary>
/// <c>GET /docs</c>: every call as a page, drawn by Swagger UI from <c>/openapi/v1.json</c>, and beside it the description of the socket.
/// </summary>
/// <remarks>
/// The page loads nothing from elsewhere. Swagger UI is embedded compressed in its package, and is served from there as it is. Rejected
/// alternative: Scalar, whose script is three times as large (1.4 MB compressed).
/// </remarks>
internal static class ReferencePage
{
    // the files of wwwroot/docs; the path of a file is its name in the program
    private const string Page = "docs/index.html";
    private const string Library = "Swashbuckle.AspNetCore.SwaggerUI.node_modules.swagger_ui_dist.";

    /// <summary>Maps the page beside the calls that it describes.</summary>
    public static void MapReference(this RouteGroupBuilder calls)
    {
        var gate = ((IEndpointRouteBuilder)calls).ServiceProvider.GetRequiredService<Gate>();
        var (own, library) = (typeof(ReferencePage).Assembly, typeof(SwaggerUIOptions).Assembly);
        calls.MapCalls(
            gate,
            new Call(HttpMethods.Get, Routes.Reference, "reference", "Every call, as a page", new PageFile(own, Page).SendAsync)
            {
                Access = CallAccess.Anybody,
                Answers = [new("text/html")],
            });
        Map("start.js", new(own, "docs/start.js"));
        Map("style.css", new(own, "docs/style.css"));
        Map("asyncapi.yaml", new(own, "docs/asyncapi.yaml"));
        Map("swagger-ui.js", new(library, Library + "swagger-ui-bundle.js", isCompressed: true));
        Map("swagger-ui.css", new(library, Library + "swagger-ui.css", isCompressed: true));

        void Map(string name, PageFile file) => calls
            .MapMethods($"{Routes.Reference}/{name}", [HttpMethods.Get, HttpMethods.Head], gate.Guard(file.SendAsync))
            .WithDisplayName($"page {Routes.Reference}/{name}");
    }
}
