using System.Security.Claims;
using System.Text.Encodings.Web;
using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Aglow.Client.Tests;

/// <summary>Somebody's own ASP.NET Core app with presence in it, on a free port and a folder of its own.</summary>
internal sealed class OwnApp : IAsyncDisposable
{
    private readonly TemporaryFolder _folder;
    private readonly WebApplication _app;
    private bool _isDisposed;

    private OwnApp(TemporaryFolder folder, WebApplication app)
    {
        _folder = folder;
        _app = app;
    }

    public Uri Address => new(_app.Urls.Single());

    public IServiceProvider Services => _app.Services;

    public PresenceService Presence => Services.GetRequiredService<PresenceService>();

    /// <summary>Starts an app; <paramref name="build"/> adds presence with its data in the folder it is given.</summary>
    public static async Task<OwnApp> StartAsync(Action<WebApplicationBuilder, string> build, Action<WebApplication> map)
    {
        var folder = new TemporaryFolder();
        try
        {
            var builder = WebApplication.CreateSlimBuilder();
            builder.Logging.ClearProviders();
            // as in Development
            builder.Host.UseDefaultServiceProvider(static o => (o.ValidateOnBuild, o.ValidateScopes) = (true, true));
            build(builder, folder.Path);
            var app = builder.Build();
            app.Urls.Add("http://127.0.0.1:0");
            map(app);
            await app.StartAsync();
            return new OwnApp(folder, app);
        }
        catch
        {
            folder.Dispose();
            throw;
        }
    }

    /// <summary>A client that is signed in as this user (null: as nobody), and perhaps as a service.</summary>
    public HttpClient Http(string? user = null, bool isService = false)
    {
        var http = new HttpClient { BaseAddress = Address };
        if (user is not null)
            http.DefaultRequestHeaders.Add(SignedIn.User, user);
        if (isService)
            http.DefaultRequestHeaders.Add(SignedIn.Service, "yes");
        return http;
    }

    /// <summary>Stops the app as a signal would; its disposal does not stop hosted services.</summary>
    public Task StopAsync() => _app.StopAsync();

    public async ValueTask DisposeAsync()
    {
        if (_isDisposed)
            return;
        _isDisposed = true;
        await _app.DisposeAsync();
        _folder.Dispose();
    }
}

/// <summary>How the app of these tests signs in: it trusts a header.</summary>
internal sealed class SignedIn(IOptionsMonitor<AuthenticationSchemeOptions> options, ILoggerFactory logs, UrlEncoder encoder)
    : AuthenticationHandler<AuthenticationSchemeOptions>(options, logs, encoder)
{
    public const string User = "X-User";
    public const string Service = "X-Service";

    public static void Add(WebApplicationBuilder builder) =>
        builder.Services.AddAuthentication("header").AddScheme<AuthenticationSchemeOptions, SignedIn>("header", null);

    protected override Task<AuthenticateResult> HandleAuthenticateAsync()
    {
        if (Request.Headers[User] is not [{ } user])
            return Task.FromResult(AuthenticateResult.NoResult());
        var identity = new ClaimsIdentity([new Claim(ClaimTypes.NameIdentifier, user)], Scheme.Name);
        if (Request.Headers.ContainsKey(Service))
            identity.AddClaim(new Claim(ClaimTypes.Role, "service"));
        return Task.FromResult(AuthenticateResult.Success(new AuthenticationTicket(new ClaimsPrincipal(identity), Scheme.Name)));
    }
}
