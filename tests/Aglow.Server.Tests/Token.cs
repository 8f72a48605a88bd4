using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json.Nodes;

namespace Aglow.Server.Tests;

/// <summary>Creates valid and forged tokens by hand, so that no library changes the bytes of a test.</summary>
internal static class Token
{
    public const string Issuer = "https://issuer.example";
    public const string Audience = "aglow";

    public static readonly byte[] Secret = RandomNumberGenerator.GetBytes(32);

    /// <summary>The flags of a server that accepts these tokens.</summary>
    public static string[] ServerFlags =>
        ["--auth", "token", "--jwt-secret", Convert.ToBase64String(Secret), "--jwt-issuer", Issuer, "--jwt-audience", Audience];

    public static long Now => DateTimeOffset.UtcNow.ToUnixTimeSeconds();

    /// <summary>The claims of a valid token of this user; <paramref name="change"/> modifies them.</summary>
    public static JsonObject Claims(string user, Action<JsonObject>? change = null)
    {
        var claims = new JsonObject { ["iss"] = Issuer, ["aud"] = Audience, ["sub"] = user, ["iat"] = Now, ["exp"] = Now + 600 };
        change?.Invoke(claims);
        return claims;
    }

    /// <summary>A valid token of this user.</summary>
    public static string Of(string user, int seconds = 600) => Signed(Claims(user, c => c["exp"] = Now + seconds), Secret);

    /// <summary>A token signed with a secret.</summary>
    public static string Signed(JsonObject claims, byte[] secret, JsonObject? header = null)
    {
        var content = Content(header ?? new JsonObject { ["alg"] = "HS256", ["typ"] = "JWT" }, claims);
        return $"{content}.{Base64Url.EncodeToString(HMACSHA256.HashData(secret, Encoding.ASCII.GetBytes(content)))}";
    }

    /// <summary>A token signed with a private key.</summary>
    public static string Signed(JsonObject claims, RSA key, string keyId)
    {
        var content = Content(new JsonObject { ["alg"] = "RS256", ["typ"] = "JWT", ["kid"] = keyId }, claims);
        var signature = key.SignData(Encoding.ASCII.GetBytes(content), HashAlgorithmName.SHA256, RSASignaturePadding.Pkcs1);
        return $"{content}.{Base64Url.EncodeToString(signature)}";
    }

    /// <summary>Header and claims, ready to sign.</summary>
    public static string Content(JsonObject header, JsonObject claims) =>
        $"{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(header.ToJsonString()))}."
            + $"{Base64Url.EncodeToString(Encoding.UTF8.GetBytes(claims.ToJsonString()))}";
}
