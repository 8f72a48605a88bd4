using System.Security.Cryptography;
using System.Text;

namespace Aglow.Changes.Webhooks;

/// <summary>Signatures of the Standard Webhooks scheme: HMAC-SHA256 over <c>id.timestamp.body</c>.</summary>
internal static class WebhookSignature
{
    /// <summary>The prefix of a secret.</summary>
    public const string Prefix = "whsec_";

    // the scheme requires 24 to 64 bytes
    private const int SecretBytes = 32;

    /// <summary>Creates a secret.</summary>
    public static string NewSecret() => Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(SecretBytes));

    /// <summary>
    /// The header <c>webhook-signature</c>. It has a signature by each secret that still signs, so a receiver may use either during a
    /// rotation.
    /// </summary>
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
