using System.Security.Cryptography;
using System.Text;

namespace Aglow.Changes.Webhooks;

/// <summary>Signatures of the Standard Webhooks scheme: HMAC-SHA256 over <c>id.timestamp.body</c>.</summary>
internal static class WebhookSignature
{
    public const string Prefix = "whsec_";

    // the scheme requires 24 to 64 bytes
    private const int SecretBytes = 32;

    public static string NewSecret() => Prefix + Convert.ToBase64String(RandomNumberGenerator.GetBytes(SecretBytes));

    /// <summary>
    /// The header <c>webhook-signature</c>. It has a signature by each secret that still signs, so a receiver may use either during a
    /// rotation.
    /// </summary>
    public static string Of(IEnumerable<WebhookSecret> secrets, string id, long timestamp, ReadOnlySpan<byte> body, long now)
    {
        var head = Encoding.ASCII.GetBytes($"{id}.{timestamp}.");
        var signatures = new List<string>();
        foreach (var secret in secrets)
        {
            if (secret.Until <= now)
                continue;
            using var hash = IncrementalHash.CreateHMAC(
                HashAlgorithmName.SHA256, Convert.FromBase64String(secret.Secret[Prefix.Length..]));
            hash.AppendData(head);
            hash.AppendData(body);
            signatures.Add($"v1,{Convert.ToBase64String(hash.GetHashAndReset())}");
        }

        return string.Join(' ', signatures);
    }
}
