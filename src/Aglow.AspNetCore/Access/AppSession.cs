using Microsoft.AspNetCore.Authentication;
using Microsoft.Extensions.Primitives;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// The application's authentication behind a socket or event stream. The connection ends when the ticket expires, or when the application's
/// scheme rejects the handshake's cookie or token. A scheme does so, for example, after a security stamp has changed.
/// </summary>
/// <remarks>
/// A connection calls <see cref="Left"/> at each tick, which starts a check in the background. A handler caches its answer for the life of
/// a request, so each check is a new request with the path, query and headers of the handshake. If the application's check throws, nothing
/// changes, and the next tick checks again. Threading: the hub's loop calls; the pool runs one check at a time.
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
        _scheme = ticket.AuthenticationScheme;
        _name = ticket.Principal.Identity?.Name;
        _time = time;
        _log = services.GetRequiredService<ILoggerFactory>().CreateLogger(HttpLog.Category);
        _expiresAt = EndOf(ticket);
        _checkedAt = time.GetTimestamp();
    }

    /// <summary>The session behind a request; null if no scheme of the application authenticated it.</summary>
    public static AppSession? Of(HttpContext context, TimeProvider time) =>
        context.Features.Get<IAuthenticateResultFeature>()?.AuthenticateResult?.Ticket is { } ticket
            ? new AppSession(context, ticket, time)
            : null;

    /// <summary>How long the connection may stay open, as of the last check. Starts a new check if the last one is old enough.</summary>
    public TimeSpan Left()
    {
        if (_isOver)
            return TimeSpan.Zero;
        if (_time.GetElapsedTime(Volatile.Read(ref _checkedAt)) >= ApartAtLeast && Interlocked.Exchange(ref _isChecking, 1) == 0)
            _ = Task.Run(CheckAsync);
        var end = Volatile.Read(ref _expiresAt);
        var now = _time.GetUtcNow().UtcTicks;
        return end > now ? TimeSpan.FromTicks(end - now) : TimeSpan.Zero;
    }

    /// <summary>Checks now, and returns whether the session goes on.</summary>
    public async ValueTask<bool> IsGoodAsync()
    {
        await CheckAsync();
        return Left() > TimeSpan.Zero;
    }

    private static long EndOf(AuthenticationTicket ticket) => ticket.Properties.ExpiresUtc?.UtcTicks ?? DateTimeOffset.MaxValue.UtcTicks;

    private async Task CheckAsync()
    {
        try
        {
            await using var scope = _scopes.CreateAsyncScope();
            var context = new DefaultHttpContext { RequestServices = scope.ServiceProvider };
            var request = context.Request;
            (request.Method, request.Scheme, request.Host, request.PathBase) = (HttpMethods.Get, _httpScheme, _host, _pathBase);
            (request.Path, request.QueryString) = (_path, _query);
            foreach (var (name, value) in _headers)
                request.Headers[name] = value;
            var result = await context.AuthenticateAsync(_scheme);
            if (result.Ticket is { } ticket && ticket.Principal.Identity?.Name == _name)
                Volatile.Write(ref _expiresAt, EndOf(ticket));
            else
                _isOver = true;
        }
        catch (Exception failure)
        {
            HttpLog.SessionNotChecked(_log, failure);
        }
        finally
        {
            Volatile.Write(ref _checkedAt, _time.GetTimestamp());
            Volatile.Write(ref _isChecking, 0);
        }
    }
}
