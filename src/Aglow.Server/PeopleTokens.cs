using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.Model;
using Microsoft.IdentityModel.JsonWebTokens;
using Microsoft.IdentityModel.Tokens;

namespace Aglow.Server;

/// <summary>
/// Checks people's tokens (JWT, RFC 7519): signed by who signs here, in date, for this audience; <c>sub</c> is the user.
/// </summary>
/// <remarks>
/// Which algorithm is right is said here and never by the token: HS256 with the secret, or the public-key algorithms with the issuer's keys, and never both, so that nobody signs with
/// a public key as if it were a secret. Keys in a token's header (<c>jwk</c>, <c>jku</c>, <c>x5c</c>) are not looked at; <c>kid</c> only chooses among the keys there are. The framework's
/// JwtBearer handler is not used: it makes an identity, a principal and a ticket of every request, and knows nothing of sockets that were taken before HTTP.
/// </remarks>
internal sealed class PeopleTokens
{
    private static readonly string[] PublicKeyAlgorithms =
    [
        SecurityAlgorithms.RsaSha256, SecurityAlgorithms.RsaSha384, SecurityAlgorithms.RsaSha512,
        SecurityAlgorithms.RsaSsaPssSha256, SecurityAlgorithms.RsaSsaPssSha384, SecurityAlgorithms.RsaSsaPssSha512,
        SecurityAlgorithms.EcdsaSha256, SecurityAlgorithms.EcdsaSha384, SecurityAlgorithms.EcdsaSha512,
    ];

    private readonly JsonWebTokenHandler _handler = new() { MapInboundClaims = false, MaximumTokenSizeInBytes = Limits.TokenCharacters };
    private readonly AuthSettings _settings;
    private readonly IssuerKeys? _issuer;
    private readonly TimeProvider _time;

    public PeopleTokens(AuthSettings settings, IssuerKeys? issuer, TimeProvider time)
    {
        _settings = settings;
        _issuer = issuer;
        _time = time;
    }

    /// <summary>The person of a token; throws a problem where it is none.</summary>
    public async ValueTask<Caller> CheckAsync(string token)
    {
        if (_issuer is null)
        {
            return _settings.Secret is { } secret
                ? Read(await _handler.ValidateTokenAsync(token, Parameters([new SymmetricSecurityKey(secret)], [SecurityAlgorithms.HmacSha256], _settings.Issuer)))
                : throw Problems.TokenRefused();
        }

        var known = await _issuer.GetAsync();
        var result = await ValidateAsync(token, known);
        // a key that the issuer has since published; asked for once in a while, whatever tokens say
        if (result.Exception is SecurityTokenSignatureKeyNotFoundException && await _issuer.RefreshAsync(known) is { } newer)
            result = await ValidateAsync(token, newer);
        return Read(result);
    }

    private Task<TokenValidationResult> ValidateAsync(string token, PublishedKeys keys) =>
        _handler.ValidateTokenAsync(token, Parameters(keys.Keys, PublicKeyAlgorithms, _settings.Issuer ?? keys.Issuer));

    private TokenValidationParameters Parameters(IEnumerable<SecurityKey> keys, string[] algorithms, string? issuer) => new()
    {
        ValidAlgorithms = algorithms,
        IssuerSigningKeys = keys,
        // a kid that no key has is no reason to try them all
        TryAllIssuerSigningKeys = _issuer is null,
        RequireSignedTokens = true,
        RequireExpirationTime = true,
        LifetimeValidator = IsInDate,
        ValidateIssuer = issuer is not null,
        ValidIssuer = issuer,
        ValidateAudience = _settings.Audience is not null,
        ValidAudience = _settings.Audience,
    };

    // In date with the minute's grace; expired has a name of its own, so that a client knows to get another one.
    private bool IsInDate(DateTime? notBefore, DateTime? expires, SecurityToken token, TokenValidationParameters parameters)
    {
        var now = _time.GetUtcNow().UtcDateTime;
        if (expires is null || notBefore > now + Caller.Skew || ((JsonWebToken)token).IssuedAt > now + Caller.Skew)
            return false;
        return now < expires + Caller.Skew ? true : throw new SecurityTokenExpiredException();
    }

    private static Caller Read(TokenValidationResult result)
    {
        if (result.Exception is SecurityTokenExpiredException)
            throw Problems.TokenExpired();
        if (!result.IsValid || result.SecurityToken is not JsonWebToken token || TokenSubject.Read(Base64UrlEncoder.DecodeBytes(token.EncodedPayload)) is not { } user)
            throw Problems.TokenRefused();
        DateTimeOffset? issuedAt = token.IssuedAt == DateTime.MinValue ? null : new DateTimeOffset(token.IssuedAt, TimeSpan.Zero);
        return Caller.Person(user, issuedAt, new DateTimeOffset(token.ValidTo, TimeSpan.Zero));
    }
}
