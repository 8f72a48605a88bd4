using Aglow.AspNetCore;
using Microsoft.IdentityModel.Protocols;
using Microsoft.IdentityModel.Protocols.OpenIdConnect;
using Microsoft.IdentityModel.Tokens;

namespace Aglow.Server;

/// <summary>The name and the signing keys that an issuer publishes.</summary>
internal sealed record PublishedKeys(string Issuer, IReadOnlyList<SecurityKey> Keys, long ReadAt);

/// <summary>The keys of the tokens' issuer, by OpenID Connect discovery, and their rotation.</summary>
/// <remarks>
/// Keys are read at the first token. They are read again when a token names an unknown key, but at most once in
/// <see cref="RetryAfter"/>, so invented key IDs cost the issuer nothing. They are also read again after <see cref="GoodFor"/>, so a
/// withdrawn key does not stay valid for ever. If the issuer cannot be reached, known keys stay valid. Without known keys, tokens cannot be
/// checked (503). Only one read runs at a time; other callers wait for it.
/// Rejected: the library's own manager. It reads new keys in the background, so the first people with a new key would be refused.
/// </remarks>
internal sealed class IssuerKeys(Uri authority, string? issuer, TimeProvider time, ILogger log) : IDisposable
{
    private static readonly TimeSpan GoodFor = TimeSpan.FromMinutes(10);
    private static readonly TimeSpan RetryAfter = TimeSpan.FromSeconds(10);

    private readonly HttpClient _http = new() { Timeout = TimeSpan.FromSeconds(5), MaxResponseContentBufferSize = 1_000_000 };
    private readonly SemaphoreSlim _reading = new(1);
    private readonly string _address = $"{authority.AbsoluteUri.TrimEnd('/')}/.well-known/openid-configuration";
    private volatile PublishedKeys? _known;
    private long? _triedAt;

    /// <summary>Gets the keys; throws a problem (503) if they were never read.</summary>
    public async ValueTask<PublishedKeys> GetAsync()
    {
        var known = _known;
        if (known is not null && time.GetElapsedTime(known.ReadAt) < GoodFor)
            return known;
        return await RefreshAsync(known) ?? known ?? throw Problems.TokensNotChecked();
    }

    /// <summary>Gets newer keys than these; null if none are available now.</summary>
    public async ValueTask<PublishedKeys?> RefreshAsync(PublishedKeys? known)
    {
        await _reading.WaitAsync();
        try
        {
            if (_known != known)
                return _known;
            if (_triedAt is { } tried && time.GetElapsedTime(tried) < RetryAfter)
                return null;
            _triedAt = time.GetTimestamp();
            return _known = await ReadAsync();
        }
        catch (Exception failure)
        {
            // the library's own messages hide addresses and answers, so the innermost one says why
            ServerLog.IssuerAway(log, _address, failure.GetBaseException().Message);
            return null;
        }
        finally
        {
            _reading.Release();
        }
    }

    public void Dispose()
    {
        _http.Dispose();
        _reading.Dispose();
    }

    private async Task<PublishedKeys> ReadAsync()
    {
        var documents = new Documents(_http, authority.Scheme == Uri.UriSchemeHttps);
        var read = await OpenIdConnectConfigurationRetriever.GetAsync(_address, documents, CancellationToken.None);
        // a server may not speak for another issuer, unless the operator names that issuer
        if (issuer is null && read.Issuer?.TrimEnd('/') != authority.AbsoluteUri.TrimEnd('/'))
            throw new InvalidOperationException($"it calls itself {read.Issuer}; if that is correct, set --jwt-issuer to this name");
        if (read.SigningKeys.Count == 0)
            throw new InvalidOperationException("it publishes no keys");
        return new PublishedKeys(issuer ?? read.Issuer!, [.. read.SigningKeys], time.GetTimestamp());
    }

    // The library's own retriever writes "[PII is hidden]" instead of the address and the status.
    private sealed class Documents(HttpClient http, bool requireHttps) : IDocumentRetriever
    {
        public async Task<string> GetDocumentAsync(string address, CancellationToken cancel)
        {
            if (!Uri.TryCreate(address, UriKind.Absolute, out var url) || (requireHttps && url.Scheme != Uri.UriSchemeHttps))
                throw new InvalidOperationException($"it refers to {address}, which is not an https:// address");
            using var answer = await http.GetAsync(url, cancel);
            return answer.IsSuccessStatusCode
                ? await answer.Content.ReadAsStringAsync(cancel)
                : throw new HttpRequestException($"{address} answered {(int)answer.StatusCode}");
        }
    }
}
