using System.Collections.Concurrent;
using System.Security.Claims;
using System.Threading.Channels;
using Aglow;
using Aglow.Model;

// A chat with green dots: the app has its own sign-in and messages, and adds presence to them.
var builder = WebApplication.CreateBuilder(args);
builder.Services.AddAuthorization().AddAuthentication("cookie").AddCookie("cookie");
builder.Services.AddAglow(builder.Configuration.GetSection("Aglow"));
builder.Services.Configure<HostOptions>(static o => o.ShutdownTimeout = TimeSpan.FromSeconds(2)); // GET /chat does not end by itself

var app = builder.Build();
app.UseFileServer();
// a signed-in user is online while their page is open, and no user can act for another
app.MapAglow("/presence").RequireAuthorization();
var chat = new Chat();
// this sample accepts any name; a real app asks for a password
app.MapPost(
    "/sign-in", (Line hello) => TypedResults.SignIn(new ClaimsPrincipal(new ClaimsIdentity([new(ClaimTypes.Name, hello.Name)], "cookie"))));
// signs out everywhere: the sockets of all tabs and devices close, and the dot turns grey at once
app.MapPost("/sign-out", async (ClaimsPrincipal me, PresenceService presence) =>
{
    await presence.RevokeAsync(UserId.Parse(me.Identity!.Name!));
    return TypedResults.SignOut();
}).RequireAuthorization();
// every known user has a dot; presence says which of them are online
app.MapGet("/people", () => chat.People.Keys).RequireAuthorization();
app.MapPost("/chat", (Line line, ClaimsPrincipal me) => chat.Say(line with { Name = me.Identity!.Name! })).RequireAuthorization();
app.MapGet("/chat", (ClaimsPrincipal me, CancellationToken gone) => TypedResults.ServerSentEvents(chat.Hear(me.Identity!.Name!, gone)))
    .RequireAuthorization();
app.Run();

internal sealed record Line(string Name, string Text);

internal sealed class Chat
{
    private event Action<Line>? Said;

    public ConcurrentDictionary<string, bool> People { get; } = new();

    public void Say(Line line) => Said?.Invoke(line);

    public IAsyncEnumerable<Line> Hear(string name, CancellationToken gone)
    {
        var lines = Channel.CreateBounded<Line>(new BoundedChannelOptions(100) { FullMode = BoundedChannelFullMode.DropOldest });
        Action<Line> hear = line => lines.Writer.TryWrite(line);
        Said += hear;
        People[name] = true;
        gone.Register(() => Said -= hear);
        Say(new Line(name, "is here"));
        return lines.Reader.ReadAllAsync(gone);
    }
}
