using System.Security.Claims;
using Aglow;
using Aglow.Model;
using Microsoft.AspNetCore.SignalR;

// A chat over SignalR. A user with a connection to its hub is online, and every other connection receives that.
var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory });
builder.Services.AddAuthorization().AddAuthentication("cookie").AddCookie("cookie");
builder.Services.AddAglow(builder.Configuration.GetSection("Aglow"));
builder.Services.AddSignalR()
    .AddAglowPresence()
    .AddAglowPresencePush<ChatHub>(static change => ChatHub.Everybody);

var app = builder.Build();
// accepts every name here; your app asks for a password
app.MapPost(
    "/sign-in", (Line hello) => TypedResults.SignIn(new ClaimsPrincipal(new ClaimsIdentity([new(ClaimTypes.Name, hello.Name)], "cookie"))));
// out everywhere: the connections of every tab and device close, and the dot is grey at once
app.MapPost("/sign-out", async (ClaimsPrincipal me, PresenceService presence) =>
{
    await presence.RevokeAsync(UserId.Parse(me.Identity!.Name!));
    return TypedResults.SignOut();
}).RequireAuthorization();
// the statuses when a page opens; the hub pushes each change after that
app.MapAglow("/presence").RequireAuthorization();
app.MapHub<ChatHub>("/chat").RequireAuthorization();
app.Run();

internal sealed record Line(string Name, string Text);

internal sealed class ChatHub : Hub
{
    public const string Everybody = "everybody";

    public override Task OnConnectedAsync() => Groups.AddToGroupAsync(Context.ConnectionId, Everybody);

    public Task Say(string text) => Clients.Group(Everybody).SendAsync("line", new Line(Context.User!.Identity!.Name!, text));
}
