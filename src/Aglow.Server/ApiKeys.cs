using System.Buffers.Text;
using System.Globalization;
using System.Security.Cryptography;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization;
using Aglow.AspNetCore;
using Aglow.AspNetCore.Access;
using Aglow.Diagnostics;
using Aglow.Files;
using Aglow.Storage;

namespace Aglow.Server;

/// <summary>A backend's key in the file, which holds a hash and never the key itself.</summary>
/// <param name="Name">The operator's name for the key; unique.</param>
/// <param name="Id">The part of the key that identifies it.</param>
/// <param name="Hash">SHA-256 of the whole key, base64.</param>
/// <param name="Scopes">What the key may do, comma-separated.</param>
/// <param name="CreatedAt">Seconds since 1970-01-01 UTC.</param>
/// <param name="Check">A checksum of the other members; null in a file that was written by hand.</param>
internal sealed record StoredKey(string Name, string Id, string Hash, string Scopes, long CreatedAt, string? Check = null)
{
    /// <summary>Computes the correct <see cref="Check"/>.</summary>
    public string RightCheck()
    {
        var all = string.Create(CultureInfo.InvariantCulture, $"{Name}\n{Id}\n{Hash}\n{Scopes}\n{CreatedAt}");
        return Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(all))[..4]);
    }
}

/// <summary>The keys of backends: <c>keys.json</c> in the data folder, written by <c>aglow keys</c>, read by servers.</summary>
/// <remarks>
/// <code>
///   aglow_ID_SECRET      8 and 43 characters of base64url, 48 and 256 random bits
/// </code>
/// A fast hash without a salt is enough here, because nobody can guess 256 random bits at any speed. The ID selects the row, so one hash is
/// compared, in constant time. A writer replaces the whole file: it writes a new file and renames it. There is one writer at a time, and
/// only the owner can read the file. A running server checks the length and the time of change every second.
/// </remarks>
internal sealed class ApiKeys
{
    /// <summary>Every key begins with this, and no token does.</summary>
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

    /// <summary>Reads all keys; none if there is no file.</summary>
    /// <exception cref="DataFolderException">The file cannot be read.</exception>
    public IReadOnlyList<StoredKey> Read()
    {
        if (!Path.Exists(_path))
            return [];
        if (!PrivateFile.IsRegular(_path))
            throw new DataFolderException($"{_path} is not a regular file: put the file of the keys back in its place.");
        try
        {
            return Check(JsonSerializer.Deserialize(File.ReadAllBytes(_path), StoredKeys.Default.StoredKeyArray));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new DataFolderException($"{_path} cannot be read ({e.Message.TrimEnd('.')}): give this user the right to read it.", e);
        }
        catch (Exception e) when (e is JsonException or FormatException or UsageException)
        {
            throw new DataFolderException($"{_path} cannot be read ({e.Message}): restore a backup, or move it away and make new keys.", e);
        }
    }

    /// <summary>Creates a key and returns it. It cannot be read again.</summary>
    public string Add(string name, Scopes scopes, DateTimeOffset now)
    {
        if (name.Length is 0 or > NameLength || name.Any(static c => c is <= ' ' or > '~'))
            throw new UsageException($"a name has 1 to {NameLength} printable ASCII characters, without spaces");
        Span<byte> random = stackalloc byte[6 + 32];
        RandomNumberGenerator.Fill(random);
        var id = Base64Url.EncodeToString(random[..6]);
        var key = $"{Prefix}{id}_{Base64Url.EncodeToString(random[6..])}";
        Change(keys => keys.Exists(k => k.Name == name)
            ? throw new UsageException($"there is a key \"{name}\" already: choose another name, or revoke that one first")
            : [.. keys, WithCheck(new(name, id, Convert.ToBase64String(HashOf(key)), scopes.Name(), now.ToUnixTimeSeconds()))]);
        return key;
    }

    /// <summary>Revokes a key.</summary>
    public void Revoke(string name) => Change(keys => keys.RemoveAll(k => k.Name == name) > 0
        ? keys
        : throw new UsageException($"there is no key \"{name}\": aglow keys list shows all keys"));

    /// <summary>Reads a list of scopes that a person typed.</summary>
    public static Scopes ReadScopes(string text)
    {
        var scopes = Scopes.None;
        foreach (var word in text.Split(',', StringSplitOptions.RemoveEmptyEntries | StringSplitOptions.TrimEntries))
        {
            scopes |= ScopeNames.ByName.TryGetValue(word, out var scope)
                ? scope
                : throw new UsageException(
                    $"\"{word}\" is not a scope: name some of heartbeat, read, users, operate, separated by commas");
        }

        return scopes == Scopes.None
            ? throw new UsageException("scope is empty: name some of heartbeat, read, users, operate, separated by commas")
            : scopes;
    }

    /// <summary>The ID in a key; null if the key has another form.</summary>
    public static string? IdOf(string key) =>
        key.Length == Prefix.Length + IdLength + 1
            + SecretLength && key.StartsWith(Prefix, StringComparison.Ordinal) && key[Prefix.Length + IdLength] == '_'
            ? key.Substring(Prefix.Length, IdLength)
            : null;

    public static byte[] HashOf(string key) => SHA256.HashData(Encoding.UTF8.GetBytes(key));

    private static StoredKey WithCheck(StoredKey key) => key with { Check = key.RightCheck() };

    private static StoredKey[] Check(StoredKey?[]? keys)
    {
        foreach (var key in keys ?? throw new FormatException("it is null, not a list of keys"))
        {
            if (key is not { Name: not null, Id: not null, Hash: not null, Scopes: not null })
                throw new FormatException("a key lacks its name, id, hash or scopes");
            if (key.Check is { } check && check != key.RightCheck())
                throw new FormatException($"the entry of key \"{key.Name}\" is damaged or was changed by hand");
            if (key.CreatedAt < 0 || key.CreatedAt > DateTimeOffset.MaxValue.ToUnixTimeSeconds())
                throw new FormatException($"the created_at of \"{key.Name}\" is no time");
            ReadScopes(key.Scopes);
            if (Convert.FromBase64String(key.Hash).Length != SHA256.HashSizeInBytes)
                throw new FormatException($"the hash of \"{key.Name}\" does not have {SHA256.HashSizeInBytes} bytes");
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

    // the kernel releases this lock even if the process is killed
    private FileStream Lock() => PrivateFile.Open(Path.Combine(_folder, "keys.lock"));
}

/// <summary>The keys that a running server accepts: those of the file, at most a second old.</summary>
/// <remarks>
/// If the file is unreadable, damaged, gone or no regular file, nothing changes: the present keys stay valid, and the log says so once. To
/// revoke all keys, write an empty list.
/// </remarks>
internal sealed class KeysInForce : IDisposable
{
    private static readonly TimeSpan CheckInterval = TimeSpan.FromSeconds(1);

    private readonly ApiKeys _keys;
    private readonly ILogger _log;
    private readonly CancellationTokenSource _stop = new();
    private volatile Dictionary<string, KeyInForce> _byId = new(StringComparer.Ordinal);
    private (long Length, DateTime ChangedAt)? _seen;
    private string? _loggedWrong;

    /// <summary>Reads the file, and watches it from then on.</summary>
    /// <exception cref="DataFolderException">The file cannot be read.</exception>
    public KeysInForce(ApiKeys keys, TimeProvider time, ILogger log)
    {
        _keys = keys;
        _log = log;
        _seen = ReadStamp();
        Take(keys.Read());
        _ = BackgroundLoop.RunAsync("keys.json", CheckInterval, time, new AglowLog(log), Refresh, _stop.Token);
    }

    /// <summary>The number of keys.</summary>
    public int Count => _byId.Count;

    /// <summary>The backend of a key; throws a problem if the key is not valid.</summary>
    public Caller Check(string key)
    {
        // compares a hash for an unknown ID too, so that the answer takes as long
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
            var now = ReadStamp();
            if (now == _seen && _loggedWrong is null)
                return default;
            if (now is null && _seen is not null)
                throw new FileNotFoundException($"{_keys.FilePath} is gone: restore it, or write an empty list to revoke all keys.");
            Take(_keys.Read());
            (_seen, _loggedWrong) = (now, null);
        }
        catch (Exception wrong) when (wrong is DataFolderException or IOException or UnauthorizedAccessException)
        {
            if (wrong.Message != _loggedWrong)
                ServerLog.KeysKept(_log, Count, wrong.Message);
            _loggedWrong = wrong.Message;
        }

        return default;
    }

    private void Take(IReadOnlyList<StoredKey> stored)
    {
        var before = _byId;
        var byId = new Dictionary<string, KeyInForce>(StringComparer.Ordinal);
        foreach (var key in stored)
        {
            // an unchanged key keeps its caller, and so its connections
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

    private (long Length, DateTime ChangedAt)? ReadStamp()
    {
        var file = new FileInfo(_keys.FilePath);
        // A Kubernetes secret is a link to a file in a folder that Kubernetes replaces. The link itself never changes.
        try
        {
            if (file.LinkTarget is not null && file.ResolveLinkTarget(returnFinalTarget: true) is FileInfo target)
                file = target;
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // a broken link counts as no file
            return null;
        }

        // Read says what is wrong with a folder
        return file.Exists ? (file.Length, file.LastWriteTimeUtc) : Path.Exists(_keys.FilePath) ? (-1, default) : null;
    }

    private sealed record KeyInForce(StoredKey Stored, byte[] Hash, Caller Caller);
}

[JsonSourceGenerationOptions(
    WriteIndented = true,
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    DefaultIgnoreCondition = JsonIgnoreCondition.WhenWritingNull)]
[JsonSerializable(typeof(StoredKey[]))]
internal sealed partial class StoredKeys : JsonSerializerContext;
