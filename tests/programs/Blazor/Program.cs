using Aglow.Programs;
using Microsoft.AspNetCore.Components.WebAssembly.Hosting;

var builder = WebAssemblyHostBuilder.CreateDefault(args);
builder.RootComponents.Add<App>("#app");
builder.Services.AddAglowClient(settings =>
{
    settings.Address = new Uri(new Uri(builder.HostEnvironment.BaseAddress), "/");
    settings.User = "me";
});
await builder.Build().RunAsync();
