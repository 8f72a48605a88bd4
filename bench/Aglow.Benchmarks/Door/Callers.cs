using System.Buffers.Text;
using System.Collections.Concurrent;
using System.Net.Http.Headers;
using System.Security.Cryptography;
using System.Text;

namespace Aglow.Benchmarks.Door;

/// <summary>
/// Calls of people with tokens. Tokens and bodies are made once: this process shares the cores with the server, and what it spends on a
/// request is no part of an attack.
/// </summary>
internal sealed class Callers(byte[] secret)
{
    private readonly ConcurrentDictionary<string, byte[]> _bodies = [];
    private readonly ConcurrentDictionary<string, AuthenticationHeaderValue> _tokens = [];

    /// <summary>A token that is valid for an hour.</summary>
    public static string TokenOf(byte[] secret, string user)
    {
        var now = DateTimeOffset.UtcNow.ToUnixTimeSeconds();
        var claims = $"{{\"sub\":\"{user}\",\"iat\":{now},\"exp\":{now + 3600}}}";
        var content = $"{Base64Url.EncodeToString("{\"alg\":\"HS256\",\"typ\":\"JWT\"}"u8)}."
            + $"{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims))}";
        return $"{content}.{Base64Url.EncodeToString(HMACSHA256.HashData(secret, Encoding.ASCII.GetBytes(content)))}";
    }

    /// <summary>Makes a call for a user, with a body of JSON if there is one.</summary>
    public Task<HttpResponseMessage> SendAsync(
        HttpClient http, string user, HttpMethod method, string path, string? body = null,
        HttpCompletionOption until = HttpCompletionOption.ResponseContentRead)
    {
        var request = new HttpRequestMessage(method, path);
        request.Headers.Authorization = _tokens.GetOrAdd(user, name => new("Bearer", TokenOf(secret, name)));
        if (body is not null)
        {
            request.Content = new ByteArrayContent(_bodies.GetOrAdd(body, Encoding.UTF8.GetBytes));
            request.Content.Headers.ContentType = new("application/json");
        }

        return http.SendAsync(request, until);
    }
}
