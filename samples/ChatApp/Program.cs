using System.Collections.Concurrent;
using System.Security.Claims;
using System.Threading.Channels;
using Aglow;
using Aglow.Model;

// A chat with green dots: the app's own sign-in and its own messages, and presence beside them.
var builder = WebApplication.CreateBuilder(new WebApplicationOptions { Args = args, ContentRootPath = AppContext.BaseDirectory });
builder.Services.AddAuthorization().AddAuthentication("cookie").AddCookie("cookie");
builder.Services.AddAglow(builder.Configuration.GetSection("Aglow"));
builder.Services.Configure<HostOptions>(static o => o.ShutdownTimeout = TimeSpan.FromSeconds(2)); // GET /chat does not end by itself

var app = builder.Build();
app.UseFileServer();
// who is signed in is online while their page is open, and nobody says so for another
app.MapAglow("/presence").RequireAuthorization();
var chat = new Chat();
// a name is taken at its word here, where an app of yours asks for a password
app.MapPost(
    "/sign-in", (Line hello) => TypedResults.SignIn(new ClaimsPrincipal(new ClaimsIdentity([new(ClaimTypes.Name, hello.Name)], "cookie"))));
// out everywhere: the sockets of every tab and device close, and the dot is grey at once
app.MapPost("/sign-out", async (ClaimsPrincipal me, PresenceService presence) =>
{
    await presence.RevokeAsync(UserId.Parse(me.Identity!.Name!));
    return TypedResults.SignOut();
}).RequireAuthorization();
// every user who was heard of has a dot; presence says who is online
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
