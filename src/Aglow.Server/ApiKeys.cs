using System.Buffers.Text;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.AspNetCore.Http;
using Aglow.Diagnostics;
using Aglow.Durable;
using Aglow.Storage;
using Microsoft.Extensions.Logging;

namespace Aglow.Server;

/// <summary>A backend's key, as it is kept: never the key itself.</summary>
/// <param name="Name">What people call it; unique.</param>
/// <param name="Id">The part of the key that finds it.</param>
/// <param name="Hash">SHA-256 of the whole key, base64.</param>
/// <param name="Scopes">What it may do, comma-separated.</param>
/// <param name="CreatedAt">Seconds since 1970-01-01 UTC.</param>
internal sealed record StoredKey(
    [property: JsonPropertyName("name")] string Name,
    [property: JsonPropertyName("id")] string Id,
    [property: JsonPropertyName("hash")] string Hash,
    [property: JsonPropertyName("scopes")] string Scopes,
    [property: JsonPropertyName("created_at")] long CreatedAt);

/// <summary>
/// Keys of backends: <c>keys.json</c> in the data folder, written by <c>aglow keys</c>, read by servers.
/// </summary>
/// <remarks>
/// <code>
///   aglow_ID_SECRET      8 and 43 characters of base64url, 48 and 256 random bits
/// </code>
/// A hash without salt and without slowness is right here: 256 random bits cannot be guessed, however fast one guesses. The id finds the
/// row, so that the hash is compared once, in constant time. The file is replaced as a whole (written beside, renamed), one writer at a
/// time, readable by its owner only; a running server looks at its time of change every second.
/// </remarks>
internal sealed class ApiKeys
{
    /// <summary>What every key begins with, and no token does.</summary>
    public const string Prefix = "aglow_";

    private const int IdLength = 8;
    private const int SecretLength = 43;
    private const int NameLength = 64;

    private readonly string _folder;
    private readonly string _path;

    public ApiKeys(string folder)
    {
        _folder = Path.GetFullPath(folder);
        _path = Path.Combine(_folder, "keys.json");
    }

    /// <summary>The file.</summary>
    public string FilePath => _path;

    /// <summary>All keys; none where there is no file.</summary>
    /// <exception cref="DataFolderException">The file cannot be read.</exception>
    public IReadOnlyList<StoredKey> Read()
    {
        try
        {
            return File.Exists(_path) ? Check(JsonSerializer.Deserialize(File.ReadAllBytes(_path), StoredKeys.Default.StoredKeyArray)) : [];
        }
        catch (Exception e) when (e is JsonException or FormatException or UsageException or IOException or UnauthorizedAccessException)
        {
            throw new DataFolderException($"{_path} cannot be read ({e.Message}): restore a backup, or move it away and make new keys.", e);
        }
    }

    /// <summary>Makes a key and returns it: nobody can read it again.</summary>
    public string Add(string name, Scopes scopes, DateTimeOffset now)
    {
        if (name.Length is 0 or > NameLength || name.Any(static c => c is <= ' ' or > '~'))
            throw new UsageException($"name is 1 to {NameLength} letters, digits and signs, without spaces");
        Span<byte> random = stackalloc byte[6 + 32];
        RandomNumberGenerator.Fill(random);
        var id = Base64Url.EncodeToString(random[..6]);
        var key = $"{Prefix}{id}_{Base64Url.EncodeToString(random[6..])}";
        Change(keys => keys.Exists(k => k.Name == name)
            ? throw new UsageException($"there is a key \"{name}\" already: choose another name, or revoke that one first")
            : [.. keys, new StoredKey(name, id, Convert.ToBase64String(HashOf(key)), Problems.NameOf(scopes), now.ToUnixTimeSeconds())]);
        return key;
    }

    /// <summary>Takes a key away.</summary>
    public void Revoke(string name) => Change(keys => keys.RemoveAll(k => k.Name == name) > 0
        ? keys
        : throw new UsageException($"there is no key \"{name}\": aglow keys list has those there are"));

    /// <summary>Reads scopes as people write them.</summary>
    public static Scopes ReadScopes(string text)
    {
        var scopes = Scopes.None;
        foreach (var word in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            scopes |= word switch
            {
                "heartbeat" => Scopes.Heartbeat,
                "read" => Scopes.Read,
                "users" => Scopes.Users,
                "operate" => Scopes.Operate,
                _ => throw new UsageException(
                    $"scope \"{word}\" is none: name some of heartbeat, read, users, operate, separated by commas"),
            };
        }

        return scopes == Scopes.None
            ? throw new UsageException("scope is empty: name some of heartbeat, read, users, operate, separated by commas")
            : scopes;
    }

    /// <summary>The id in a key; null where it is not of the form.</summary>
    public static string? IdOf(string key) =>
        key.Length == Prefix.Length + IdLength + 1
            + SecretLength && key.StartsWith(Prefix, StringComparison.Ordinal) && key[Prefix.Length + IdLength] == '_'
            ? key.Substring(Prefix.Length, IdLength)
            : null;

    public static byte[] HashOf(string key) => SHA256.HashData(Encoding.UTF8.GetBytes(key));

    private static StoredKey[] Check(StoredKey?[]? keys)
    {
        foreach (var key in keys ?? throw new FormatException("it is null, not a list of keys"))
        {
            if (key is not { Name: not null, Id: not null, Hash: not null, Scopes: not null })
                throw new FormatException("a key lacks its name, id, hash or scopes");
            ReadScopes(key.Scopes);
            if (Convert.FromBase64String(key.Hash).Length != SHA256.HashSizeInBytes)
                throw new FormatException($"the hash of \"{key.Name}\" is not of {SHA256.HashSizeInBytes} bytes");
            if (keys.Count(other => other?.Id == key.Id) > 1)
                throw new FormatException($"the id {key.Id} is given twice");
        }

        return keys!;
    }

    private void Change(Func<List<StoredKey>, List<StoredKey>> change)
    {
        try
        {
            PrivateFile.CreateFolder(_folder);
            using var alone = Lock();
            var keys = change([.. Read()]);
            var beside = $"{_path}.new";
            using (var file = PrivateFile.Replace(beside))
            {
                JsonSerializer.Serialize(file, [.. keys], StoredKeys.Default.StoredKeyArray);
                file.WriteByte((byte)'\n');
                file.Flush(flushToDisk: true);
            }

            File.Move(beside, _path, overwrite: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataFolderException(
                $"{_path} cannot be written ({e.Message}): give this user the right to, or name another folder with --data.", e);
        }
    }

    // the kernel lets go of it whatever happens
    private FileStream Lock() => PrivateFile.Open(Path.Combine(_folder, "keys.lock"));
}

/// <summary>The keys that a running server takes: as the file has them, a second behind at most.</summary>
/// <remarks>
/// A file that cannot be read, is damaged or is gone changes nothing: the keys in force stay, and the log says so once. To
/// revoke all keys, write an empty list.
/// </remarks>
internal sealed class KeysInForce : IDisposable
{
    private static readonly TimeSpan LookEvery = TimeSpan.FromSeconds(1);

    private readonly ApiKeys _keys;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _stop = new();
    private volatile Dictionary<string, KeyInForce> _byId = new(StringComparer.Ordinal);
    private (long Length, DateTime ChangedAt)? _seen;
    private string? _saidWrong;

    /// <summary>Reads the file, and looks at it from then on.</summary>
    /// <exception cref="DataFolderException">The file cannot be read.</exception>
    public KeysInForce(ApiKeys keys, TimeProvider time, ILogger log)
    {
        _keys = keys;
        _log = log;
        _seen = Look();
        Take(keys.Read());
        _ = BackgroundLoop.RunAsync("keys.json", LookEvery, time, new AglowLog(log), Refresh, _stop.Token);
    }

    /// <summary>How many there are.</summary>
    public int Count => _byId.Count;

    /// <summary>The backend of a key; throws a problem where it is none.</summary>
    public Caller Check(string key)
    {
        // an unknown id is compared all the same, so that it takes as long
        var known = ApiKeys.IdOf(key) is { } id && _byId.TryGetValue(id, out var found) ? found : null;
        var isRight = CryptographicOperations.FixedTimeEquals(ApiKeys.HashOf(key), known?.Hash ?? new byte[SHA256.HashSizeInBytes]);
        return isRight && known is not null ? known.Caller : throw Problems.TokenRefused();
    }

    public void Dispose()
    {
        _stop.Cancel();
        _stop.Dispose();
    }

    private ValueTask Refresh()
    {
        try
        {
            var now = Look();
            if (now == _seen && _saidWrong is null)
                return default;
            if (now is null && _seen is not null)
                throw new FileNotFoundException($"{_keys.FilePath} is gone: restore it, or write an empty list to revoke all keys.");
            Take(_keys.Read());
            (_seen, _saidWrong) = (now, null);
        }
        catch (Exception wrong) when (wrong is DataFolderException or IOException or UnauthorizedAccessException)
        {
            if (wrong.Message != _saidWrong)
                ServerLog.KeysKept(_log, Count, wrong.Message);
            _saidWrong = wrong.Message;
        }

        return default;
    }

    private void Take(IReadOnlyList<StoredKey> stored)
    {
        var before = _byId;
        var byId = new Dictionary<string, KeyInForce>(StringComparer.Ordinal);
        foreach (var key in stored)
        {
            // the same key keeps its caller, and so its connections
            byId[key.Id] = before.TryGetValue(key.Id, out var same) && same.Stored == key
                ? same
                : new KeyInForce(key, Convert.FromBase64String(key.Hash), Caller.Backend(key.Name, ApiKeys.ReadScopes(key.Scopes)));
        }

        _byId = byId;
        foreach (var (id, key) in before)
        {
            if (!byId.TryGetValue(id, out var same) || same != key)
                key.Caller.Revoke();
        }
    }

    private (long Length, DateTime ChangedAt)? Look()
    {
        var file = new FileInfo(_keys.FilePath);
        // a secret of Kubernetes is a link to a file in a folder that is replaced: the link itself never changes
        try
        {
            if (file.LinkTarget is not null && file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target)
                file = target;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // a link that leads nowhere is no file
            return null;
        }

        return file.Exists ? (file.Length, file.LastWriteTimeUtc) : null;
    }

    private sealed record KeyInForce(StoredKey Stored, byte[] Hash, Caller Caller);
}

[JsonSourceGenerationOptions(WriteIndented = true)]
[JsonSerializable(typeof(StoredKey[]))]
internal sealed partial class StoredKeys : JsonSerializerContext;
