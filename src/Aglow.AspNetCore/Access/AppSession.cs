using System.Security.Cryptography.X509Certificates;
using Microsoft.AspNetCore.Authentication;
using Microsoft.AspNetCore.Http.Features;
using Microsoft.Extensions.Primitives;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// The application's authentication behind a socket or event stream. The connection ends when the ticket expires, or when the application's
/// scheme rejects the handshake's cookie or token. A scheme does so, for example, after a security stamp has changed. After an expiry alone
/// the client may reconnect: the browser may have a newer cookie, of which this class cannot know.
/// </summary>
/// <remarks>
/// A connection calls <see cref="Left"/> at each tick, which starts a check in the background. A handler caches its answer for the life of
/// a request, so each check is a new request with the endpoint, path, query, headers and addresses of the handshake. It is the current
/// request of <see cref="IHttpContextAccessor"/>, too, because ASP.NET Core Identity signs out through it when a security stamp changed.
/// If the application's check throws, nothing changes, and the next tick checks again. Threading: the hub's loop calls; the pool runs one
/// check at a time.
/// </remarks>
internal sealed class AppSession
{
    private static readonly TimeSpan ApartAtLeast = TimeSpan.FromSeconds(1);

    private readonly IServiceScopeFactory _scopes;
    private readonly HostString _host;
    private readonly PathString _pathBase;
    private readonly PathString _path;
    private readonly QueryString _query;
    private readonly string _httpScheme;
    private readonly KeyValuePair<string, StringValues>[] _headers;
    private readonly Endpoint? _endpoint;
    private readonly HttpConnectionFeature _connection;
    private readonly X509Certificate2? _certificate;
    private readonly string _scheme;
    private readonly string? _name;
    private readonly TimeProvider _time;
    private readonly ILogger _log;
    private long _expiresAt;
    private long _checkedAt;
    private int _isChecking;
    private volatile bool _isOver;

    private AppSession(HttpContext handshake, AuthenticationTicket ticket, TimeProvider time)
    {
        var services = handshake.RequestServices;
        var request = handshake.Request;
        // copies what checks need, because the request must not be used after its handler has ended
        (_scopes, _host, _pathBase, _httpScheme, _headers) =
            (services.GetRequiredService<IServiceScopeFactory>(), request.Host, request.PathBase, request.Scheme, [.. request.Headers]);
        // a page cannot set headers on a socket, so its token may be in the query; applications read it there on some paths only
        (_path, _query) = (request.Path, request.QueryString);
        // an application may bind a cookie to the address or the certificate of its client
        var connection = handshake.Connection;
        _connection = new HttpConnectionFeature
        {
            ConnectionId = connection.Id,
            RemoteIpAddress = connection.RemoteIpAddress,
            RemotePort = connection.RemotePort,
            LocalIpAddress = connection.LocalIpAddress,
            LocalPort = connection.LocalPort,
        };
        (_certificate, _endpoint) = (connection.ClientCertificate, handshake.GetEndpoint());
        _scheme = ticket.AuthenticationScheme;
        _name = ticket.Principal.Identity?.Name;
        _time = time;
        _log = services.GetRequiredService<ILoggerFactory>().CreateLogger(HttpLog.Category);
        SignedInAt = SecondOf(ticket.Properties.IssuedUtc);
        _expiresAt = EndOf(ticket);
        _checkedAt = time.GetTimestamp();
    }

    /// <summary>The session behind a request; null if no scheme of the application authenticated it.</summary>
    public static AppSession? Of(HttpContext context, TimeProvider time) =>
        ResultOf(context)?.Ticket is { } ticket
            ? new AppSession(context, ticket, time)
            : null;

    /// <summary>When the caller signed in, in seconds since 1970-01-01 UTC; null: the ticket does not say.</summary>
    public long? SignedInAt { get; }

    /// <summary>The same for a request that needs no session.</summary>
    public static long? SignedInAtOf(HttpContext context) => SecondOf(ResultOf(context)?.Properties?.IssuedUtc);

    /// <summary>Whether the application rejected the sign-in before its time. Otherwise a new handshake decides.</summary>
    public bool IsRejected => _isOver;

    /// <summary>How long the connection may stay open, as of the last check. Starts a new check if the last one is old enough.</summary>
    public TimeSpan Left()
    {
        if (_isOver)
            return TimeSpan.Zero;
        if (_time.GetElapsedTime(Volatile.Read(ref _checkedAt)) >= ApartAtLeast && Interlocked.Exchange(ref _isChecking, 1) == 0)
            _ = BeginCheck();
        var end = Volatile.Read(ref _expiresAt);
        var now = _time.GetUtcNow().UtcTicks;
        return end > now ? TimeSpan.FromTicks(end - now) : TimeSpan.Zero;
    }

    /// <summary>Checks now, and returns whether the session goes on.</summary>
    public async ValueTask<bool> IsGoodAsync()
    {
        await BeginCheck();
        return Left() > TimeSpan.Zero;
    }

    private static AuthenticateResult? ResultOf(HttpContext context) =>
        context.Features.Get<IAuthenticateResultFeature>()?.AuthenticateResult;

    private static long? SecondOf(DateTimeOffset? at) => at?.ToUnixTimeSeconds();

    private static long EndOf(AuthenticationTicket ticket) => ticket.Properties.ExpiresUtc?.UtcTicks ?? DateTimeOffset.MaxValue.UtcTicks;

    // A check has a current request of its own, so it must not run in the context of the request that asks for it.
    private Task BeginCheck()
    {
        if (ExecutionContext.IsFlowSuppressed())
            return Task.Run(CheckAsync);
        using (ExecutionContext.SuppressFlow())
            return Task.Run(CheckAsync);
    }

    private async Task CheckAsync()
    {
        IHttpContextAccessor? current = null;
        try
        {
            await using var scope = _scopes.CreateAsyncScope();
            var context = new DefaultHttpContext { RequestServices = scope.ServiceProvider };
            var request = context.Request;
            (request.Method, request.Scheme, request.Host, request.PathBase) = (HttpMethods.Get, _httpScheme, _host, _pathBase);
            (request.Path, request.QueryString) = (_path, _query);
            foreach (var (name, value) in _headers)
                request.Headers[name] = value;
            context.Features.Set<IHttpConnectionFeature>(_connection);
            context.Connection.ClientCertificate = _certificate;
            context.SetEndpoint(_endpoint);
            current = scope.ServiceProvider.GetService<IHttpContextAccessor>();
            current?.HttpContext = context;
            var result = await context.AuthenticateAsync(_scheme);
            if (result.Ticket is { } ticket && ticket.Principal.Identity?.Name == _name)
                Volatile.Write(ref _expiresAt, EndOf(ticket));
            else if (_time.GetUtcNow().UtcTicks < Volatile.Read(ref _expiresAt))
                _isOver = true;
        }
        catch (Exception failure)
        {
            HttpLog.SessionNotChecked(_log, failure);
        }
        finally
        {
            current?.HttpContext = null;
            Volatile.Write(ref _checkedAt, _time.GetTimestamp());
            Volatile.Write(ref _isChecking, 0);
        }
    }
}
