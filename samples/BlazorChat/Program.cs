using BlazorChat;

// Friends with green dots, in Blazor Server. Friends.razor is the same in Blazor WebAssembly.
//   ./aglow serve
//   dotnet run --project samples/BlazorChat           then open http://localhost:5000/?me=ann and /?me=ben
var builder = WebApplication.CreateBuilder(args);
builder.WebHost.UseStaticWebAssets();
builder.Services.AddRazorComponents().AddInteractiveServerComponents();

var app = builder.Build();
app.UseAntiforgery();
app.MapStaticAssets();
app.MapRazorComponents<App>().AddInteractiveServerRenderMode();
app.Run();
