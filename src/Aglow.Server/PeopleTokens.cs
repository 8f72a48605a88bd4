using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Aglow.Server;

/// <summary>Checks people's tokens (JWT, RFC 7519): signature, dates and audience. <c>sub</c> is the user.</summary>
/// <remarks>
/// The server chooses the algorithm, never the token: either HS256 with the secret, or public-key algorithms with the issuer's keys. It
/// never accepts both, so nobody can use a public key as an HS256 secret. Keys in a token's header (<c>jwk</c>, <c>jku</c>, <c>x5c</c>) are
/// ignored; <c>kid</c> only selects one of the known keys.
/// Rejected: the framework's JwtBearer handler. It creates an identity, a principal and a ticket for every request, and does not see
/// sockets that are handled before HTTP.
/// </remarks>
internal sealed class PeopleTokens(AuthSettings settings, IssuerKeys? issuer, TimeProvider time)
{
    private static readonly string[] PublicKeyAlgorithms =
    [
        SecurityAlgorithms.RsaSha256, SecurityAlgorithms.RsaSha384, SecurityAlgorithms.RsaSha512,
        SecurityAlgorithms.RsaSsaPssSha256, SecurityAlgorithms.RsaSsaPssSha384, SecurityAlgorithms.RsaSsaPssSha512,
        SecurityAlgorithms.EcdsaSha256, SecurityAlgorithms.EcdsaSha384, SecurityAlgorithms.EcdsaSha512,
    ];

    private readonly JsonWebTokenHandler _handler = new() { MapInboundClaims = false, MaximumTokenSizeInBytes = Limits.TokenCharacters };

    /// <summary>The person of a token; throws a problem if the token is not valid.</summary>
    public async ValueTask<Caller> CheckAsync(string token)
    {
        if (issuer is null)
        {
            return settings.Secret is { } secret
                ? Read(
                    await _handler.ValidateTokenAsync(
                        token, Parameters([new SymmetricSecurityKey(secret)], [SecurityAlgorithms.HmacSha256], settings.Issuer)))
                : throw Problems.TokenRefused();
        }

        var known = await issuer.GetAsync();
        var result = await ValidateAsync(token, known);
        // the issuer may have published the key since; this asks only once in a while, whatever tokens contain
        if (result.Exception is SecurityTokenSignatureKeyNotFoundException && await issuer.RefreshAsync(known) is { } newer)
            result = await ValidateAsync(token, newer);
        return Read(result);
    }

    private Task<TokenValidationResult> ValidateAsync(string token, PublishedKeys keys) =>
        _handler.ValidateTokenAsync(token, Parameters(keys.Keys, PublicKeyAlgorithms, settings.Issuer ?? keys.Issuer));

    private TokenValidationParameters Parameters(IEnumerable<SecurityKey> keys, string[] algorithms, string? name) => new()
    {
        ValidAlgorithms = algorithms,
        IssuerSigningKeys = keys,
        // an unknown kid must not make the server try all keys
        TryAllIssuerSigningKeys = issuer is null,
        RequireSignedTokens = true,
        RequireExpirationTime = true,
        LifetimeValidator = IsInDate,
        // for the reason of a refusal
        IncludeTokenOnFailedValidation = true,
        ValidateIssuer = name is not null,
        ValidIssuer = name,
        ValidateAudience = settings.Audience is not null,
        ValidAudience = settings.Audience,
    };

    // Checks the dates with a tolerance of one minute. An expired token has its own problem, so that the client gets a new token.
    private bool IsInDate(DateTime? notBefore, DateTime? expires, SecurityToken token, TokenValidationParameters parameters)
    {
        if (TokenPayload.FindWrongDate((JsonWebToken)token) is not null)
            return false;
        var now = time.GetUtcNow().UtcDateTime;
        if (expires is null || notBefore > now + Caller.Skew || ((JsonWebToken)token).IssuedAt > now + Caller.Skew)
            return false;
        return now < expires + Caller.Skew ? true : throw new SecurityTokenExpiredException();
    }

    private static Caller Read(TokenValidationResult result)
    {
        if (result.Exception is SecurityTokenExpiredException)
            throw Problems.TokenExpired();
        // only for a token that is signed
        if (result.Exception is SecurityTokenInvalidLifetimeException
            && result.TokenOnFailedValidation is JsonWebToken dated && TokenPayload.FindWrongDate(dated) is { } date)
            throw Problems.TokenDate(date);
        if (!result.IsValid
            || result.SecurityToken is not JsonWebToken token
            // a server must refuse a token with a critical header that it does not know (RFC 7515, 4.1.11), and this one knows none
            || token.TryGetHeaderValue<object>("crit", out _)
            || TokenPayload.FindUser(token) is not { } user)
            throw Problems.TokenRefused();
        DateTimeOffset? issuedAt = token.IssuedAt == DateTime.MinValue ? null : new DateTimeOffset(token.IssuedAt, TimeSpan.Zero);
        return Caller.Person(user, issuedAt, new DateTimeOffset(token.ValidTo, TimeSpan.Zero));
    }
}
