using System.Text;
using System.Text.Json;
using Aglow.Heartbeats;
using Aglow.Users;

namespace Aglow.AspNetCore.Http;

/// <summary>The problems that several calls have in common. Each detail says what to send instead.</summary>
internal static class Problems
{
    public const string AUser =
        "a user is an integer from 0 to 9223372036854775807, or a string of 1 to 255 bytes without control characters";

    public const string BrokenBody = "The request's body did not arrive as its headers said. Send it whole.";

    // a client gets a new token (RFC 6750, 3.1)
    private const string InvalidToken = "Bearer error=\"invalid_token\"";

    /// <summary>
    /// The prefix of the <c>type</c> of this API's problems. Clients use it to tell an answer of the server from a gateway's.
    /// </summary>
    public const string TypePrefix = "urn:aglow:problem:";

    /// <summary>The <c>type</c> of a problem (RFC 9457), from its title: "Not yours" is <c>urn:aglow:problem:not-yours</c>.</summary>
    public static string TypeOf(string title) => TypePrefix + title.ToLowerInvariant().Replace(' ', '-').TrimEnd('?');

    public static ProblemException StoreAway() => new(
        StatusCodes.Status503ServiceUnavailable, "Store away",
        "The store cannot be reached, or cannot write, just now. Nothing was acknowledged, but a change may still be made. "
            + "Send the same again in a second.",
        retryAfter: 1);

    public static ProblemException HandedOver() => new(
        StatusCodes.Status503ServiceUnavailable, "Store away",
        "This node cannot write to the store just now; nothing was acknowledged. Send the same to another node at once. If there is none, "
        + "wait a second.",
        retryAfter: 0);

    public static ProblemException NotInThisDeployment(string detail) =>
        new(StatusCodes.Status501NotImplemented, "Not in this deployment", detail);

    public static ProblemException Malformed(string detail) => new(StatusCodes.Status400BadRequest, "Malformed request", detail);

    public static ProblemException Impossible(string detail) => new(StatusCodes.Status422UnprocessableEntity, "Not possible", detail);

    public static ProblemException TooManySources() => Impossible(
        $"This user has claims of {Claim.MaxSources} other sources. "
            + $"Remove one: DELETE {Routes.Claims}?source=…; GET {Routes.Claims} lists them.");

    public static ProblemException NotJson(string where) => Malformed($"The body is not JSON{where}. Send one JSON document in UTF-8.");

    public static ProblemException WhoIsMissing() => new(
        StatusCodes.Status401Unauthorized, "Not authenticated",
        "The body names no user, so it speaks for the authenticated one, and this server authenticates nobody. "
            + "Name the user: {\"user_id\": 42}.");

    public static ProblemException NotAuthenticated() => new(
        StatusCodes.Status401Unauthorized, "Not authenticated",
        "A call for a user needs a sign-in as that user, by this application's own authentication.");

    public static ProblemException NotAuthorized() => new(
        StatusCodes.Status403Forbidden, "Not allowed", "This application's own rules do not let this user make this call.");

    public static ProblemException TokenMissing() => new(
        StatusCodes.Status401Unauthorized, "Not authenticated",
        "This call takes a token or a key. Send it as Authorization: Bearer TOKEN.");

    /// <summary>The same for a call that browsers make without a header. A close of a socket has room for the first 104 bytes.</summary>
    public static ProblemException StreamTokenMissing(bool isSocket) => new(
        StatusCodes.Status401Unauthorized, "Not authenticated",
        $"Send a token or key as {(isSocket ? "the subprotocols aglow and aglow.token.TOKEN, " : "")}?access_token=TOKEN or "
            + "Authorization: Bearer TOKEN.",
        challenge: "Bearer");

    public static ProblemException TokenRefused() => new(
        StatusCodes.Status401Unauthorized, "Token refused",
        "This server does not accept the token or key: it is malformed, not signed by the issuer of this server's tokens, for another "
            + "audience, not valid yet (do the clocks of its issuer and this server agree?), or revoked. Get another one.",
        challenge: InvalidToken);

    public static ProblemException TokenDate(string claim) => new(
        StatusCodes.Status401Unauthorized, "Token refused",
        $"The token's {claim} is not a number. The issuer must write it as a JSON number of seconds since 1970-01-01 UTC (RFC 7519).",
        challenge: InvalidToken);

    public static ProblemException TokenExpired() => new(
        StatusCodes.Status401Unauthorized, "Token expired",
        "The token has expired. Get a new one and send the same again. If it is new, the clock of its issuer or of this server is wrong.",
        challenge: InvalidToken);

    public static ProblemException TokensNotChecked() => new(
        StatusCodes.Status503ServiceUnavailable, "Tokens cannot be checked",
        "The issuer of the tokens cannot be asked for its keys just now. Send the same again in a few seconds.",
        retryAfter: 5);

    public static ProblemException UserMissing() => Malformed("A key belongs to no user. Name the user: {\"user_id\": 42}.");

    public static ProblemException SocketUserMissing() =>
        Malformed($"A key belongs to no user. Name the user that connects: {Routes.Socket}?{Routes.UserQuery}=42.");

    public static ProblemException NotForPeople(Scopes scope) => new(
        StatusCodes.Status403Forbidden, "Not for people",
        $"This call is for backends, with a key that has the scope \"{scope.Name()}\". "
            + "People can ask about users whose IDs they know: /status, /watch, /ws.");

    public static ProblemException ForBackends(string policy) => new(
        StatusCodes.Status403Forbidden, "Not for people",
        $"This call is for backends: in this application, for callers that meet the authorization policy \"{policy}\". "
            + "People can ask about users whose IDs they know: /status, /watch, /ws.");

    public static ProblemException ScopeMissing(Scopes scope) => new(
        StatusCodes.Status403Forbidden, "Scope missing",
        $"The key lacks the scope \"{scope.Name()}\". "
            + $"Make one that has it: aglow keys add --name NAME --scope {scope.Name()}.");

    public static ProblemException TokenRevoked() => new(
        StatusCodes.Status401Unauthorized, "Token revoked",
        "The token was issued before its user was signed out everywhere or deleted. Sign in again, and send the new token.",
        challenge: InvalidToken);

    public static ProblemException SignInRevoked() => new(
        StatusCodes.Status401Unauthorized, "Sign-in revoked",
        "This sign-in is older than the moment at which its user was signed out everywhere or deleted. Sign in again.");

    public static ProblemException UserDisabled() => new(
        StatusCodes.Status403Forbidden, "User disabled",
        "This user is disabled. A backend enables them: PUT /users/{user_id}/access with {\"disabled\": false}.");

    public static ProblemException TooManyCalls(string of, int rate, int wait) => new(
        StatusCodes.Status429TooManyRequests, "Too many calls",
        $"More than {rate} calls a second of {of}. Users named, bytes, streams and sockets count as calls, too. "
            + $"Wait {Seconds(wait)} and go slower; ask for many users in one call.",
        retryAfter: wait);

    public static ProblemException TooManyRegistrations(string of, int rate, int wait) => new(
        StatusCodes.Status429TooManyRequests, "Too many registrations",
        $"More than {rate} new users a second of {of}; nothing was written. Wait {Seconds(wait)} and send the same again.",
        retryAfter: wait);

    public static ProblemException TooManyStreams(int most) => new(
        StatusCodes.Status429TooManyRequests, "Too many event streams",
        $"This user has {most} event streams on this server already. Close some, and try again.",
        retryAfter: 10);

    public static ProblemException HoldsTooMuch() => new(
        StatusCodes.Status429TooManyRequests, "Too much held",
        $"This user's watches, and bodies and answers under way, would take more than {Limits.HeldBytes / 1_000_000} MB on this server. "
            + "Watch fewer users, or wait until other calls are done.",
        retryAfter: 10);

    public static ProblemException TooManyMessages(int most) => new(
        StatusCodes.Status429TooManyRequests, "Too many messages",
        $"At most {most} messages a second are read; this one and the rest of this second's were dropped. "
            + "In a second, send again the messages that got no answer.");

    private static string Seconds(int count) => count == 1 ? "a second" : $"{count} seconds";

    public static ProblemException TooManyConnections(int most) => new(
        StatusCodes.Status429TooManyRequests, "Too many connections",
        $"This user has {most} connections to this server already. Close some tabs, or share one (shareTabs).",
        retryAfter: 10);

    public static ProblemException OriginNotAllowed(string? origin) => new(
        StatusCodes.Status403Forbidden, "Origin not allowed",
        $"{(string.IsNullOrEmpty(origin) ? "A page of another origin" : $"A page of {Shorten(origin)}")} may not write here. "
            + "The operator allows its origin with AglowOptions.AllowedOrigins (--allowed-origins).");

    public static ProblemException HostNotKnown(string? host) => new(
        StatusCodes.Status403Forbidden, "Host not known",
        $"\"{Shorten(host ?? "")}\" is not a name of this machine, and in open mode nothing else is served on the loopback address. "
            + "Call 127.0.0.1 or localhost; behind a proxy on this machine set AglowOptions.IsBehindGateway "
            + "(--trusted-proxies 127.0.0.1 or --allow-open).");

    public static ProblemException NotYours() => new(
        StatusCodes.Status403Forbidden, "Not yours", "You speak for yourself only. Name the user you are signed in as, or nobody.");

    private static ProblemException NoSuchUser(string user) => new(
        StatusCodes.Status404NotFound, "No such user",
        $"Nothing is known of the user {user}. A first heartbeat or a profile (POST /users) makes the user known.");

    public static ProblemException NoSuchUser(UserId user) => NoSuchUser(Shown(user));

    /// <summary>A user ID, for the text of a detail.</summary>
    public static string Shown(UserId user) => user.Key is { } key ? $"\"{Shorten(key)}\"" : $"{user.Number}";

    public static ProblemException GivenTwice(string member) => Malformed($"{member} is given twice in one object: send it once.");

    /// <summary>The problem of a member that the call does not know; the reader is at the member's name.</summary>
    public static ProblemException UnknownMember(ref Utf8JsonReader reader, string example) =>
        Malformed($"This call knows no member \"{Shorten(reader.GetString()!)}\". Send {example}.");

    /// <summary>The ID of a user of a batch, for the text of a detail.</summary>
    public static string Shown(UserBatch users, int index) =>
        users.Text(index).IsEmpty ? $"{users.Numbers.Span[index]}" : $"\"{Shorten(Encoding.UTF8.GetString(users.Text(index)))}\"";

    public static ProblemException OverBudget(uint highest) => new(
        StatusCodes.Status507InsufficientStorage, "Over the user budget",
        $"The number is above {highest}, or there is no memory left for its page; nothing was written. "
            + "Use numbers from 0 up without wide gaps, or raise max-user-number and memory-megabytes.");

    public static ProblemException UserTwice() => Malformed(
        $"The path and ?{Routes.UserParameter}= both name a user: send the user in the path, or {Routes.UserInQuery} in its place.");

    public static ProblemException DotsInPath() => Malformed(
        $"The path has a segment \".\" or \"..\": send the path without it. For a user with this ID send {Routes.UserInQuery} in its place "
            + $"and ?{Routes.UserParameter}=X; GET /status and /users take ?{Routes.UserParameter}=X, too.");

    public static ProblemException TooManyUsers(int most, string instead) => new(
        StatusCodes.Status413PayloadTooLarge, "Too many users", $"More than {most} users in one call. Send {instead}.");

    public static ProblemException ListFull(int most) => new(
        StatusCodes.Status413PayloadTooLarge, "Too many users",
        $"With these users the list would have more than {most}; nothing was changed. Take some away first, with a DELETE on this path.");

    public static ProblemException BodyTooLarge(int most) => new(
        StatusCodes.Status413PayloadTooLarge, "Body too large",
        $"The body is longer than the {most} bytes that this call takes. Send several smaller ones.");

    public static ProblemException TooBusy() => new(
        StatusCodes.Status503ServiceUnavailable, "Too busy",
        "As many large calls as there is memory for are under way. Send the same again in a second, or ask for fewer users at a time.",
        retryAfter: 1);

    public static ProblemException TargetTooLong(int most) => new(
        StatusCodes.Status414UriTooLong, "Path too long",
        $"The path and query are longer than the {most} bytes that this call takes. "
            + $"Shorten it. Lists of users can be sent in a body: POST {Routes.StatusBatch}. No cursor of this server is that long.");

    public static ProblemException BodyTooSlow() => new(
        StatusCodes.Status408RequestTimeout, "Body too slow",
        "The body arrived too slowly. Send it again without pauses.");

    public static ProblemException OtherContentType(string? given, bool packed) => new(
        StatusCodes.Status415UnsupportedMediaType, "Other content type",
        $"The content type is {(given is null ? "missing" : $"\"{Shorten(given)}\"")}. Send application/json in UTF-8"
            + (packed ? ", or packed little-endian 32-bit numbers as application/octet-stream" : "") + ", without content encoding.");

    public static ProblemException Of(Admission admission, string user, AglowOptions options) =>
        admission == Admission.Unknown ? NoSuchUser(user) : OverBudget(options.MaxUserNumber);

    /// <summary>Shortens the caller's text to 40 characters, for the text of a detail.</summary>
    public static string Shorten(string text) =>
        text.Length <= 40 ? text : string.Concat(text.AsSpan(0, char.IsHighSurrogate(text[39]) ? 39 : 40), "…");
}
