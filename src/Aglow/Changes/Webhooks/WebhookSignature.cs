using System.Security.Cryptography;
using System.Text;

namespace Aglow.Changes.Webhooks;

/// <summary>Signatures as Standard Webhooks has them: HMAC-SHA256 over <c>id.timestamp.body</c>.</summary>
internal static class WebhookSignature
{
    /// <summary>What a secret begins with.</summary>
    public const string Prefix = "whsec_";

    // the scheme asks for 24 to 64
    private const int SecretBytes = 32;

    /// <summary>A new secret.</summary>
    public static string NewSecret() => Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(SecretBytes));

    /// <summary>The header <c>webhook-signature</c>: a signature of each secret that still signs, so that a receiver may have either
    /// during a rotation.</summary>
    public static string Of(IEnumerable<WebhookSecret> secrets, string id, long timestamp, ReadOnlySpan<byte> body, long now)
    {
        var head = Encoding.ASCII.GetBytes($"{id}.{timestamp}.");
        byte[] signed = [.. head, .. body];
        return string.Join(' ', secrets
            .Where(secret => secret.Until is not { } until || until > now)
            .Select(secret => HMACSHA256.HashData(Convert.FromBase64String(secret.Secret[Prefix.Length..]), signed))
            .Select(static hash => $"v1,{Convert.ToBase64String(hash)}"));
    }
}
