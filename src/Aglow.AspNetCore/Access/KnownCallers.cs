using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Caches callers whose credential was checked, because checking a token's signature at every heartbeat costs more than the heartbeat.
/// </summary>
/// <remarks>
/// The key is the SHA-256 of the credential, so a dump of this memory holds no token. The key is never the connection, because one
/// connection may carry requests of several callers. There are two generations of <see cref="MostOfGeneration"/> callers. When the younger
/// one is full, the older one is dropped, so memory is bounded and callers in use stay. Refused credentials are not cached.
/// Threading: any thread; a lookup takes no lock and allocates nothing.
/// </remarks>
internal sealed class KnownCallers(CredentialCheck check, TimeProvider time)
{
    private const int MostOfGeneration = 50_000;

    private volatile Generations _known = new(new Generation(), new Generation());

    /// <summary>The present time, as tokens state it (UTC).</summary>
    public DateTimeOffset Now => time.GetUtcNow();

    /// <summary>Raised once for each cached caller whose credential is revoked. Handlers must return at once.</summary>
    public event Action<Caller>? Revoked;

    /// <summary>The cached caller of this credential, if it is still valid; null: ask <see cref="CheckAsync"/>.</summary>
    public Caller? Find(ReadOnlySpan<char> credential)
    {
        if (credential.Length > Limits.TokenCharacters)
            return null;
        var hash = Hash.Of(credential);
        var (young, old) = _known;
        if (young.Find(hash) is { } known)
            return known.IsGoodAt(Now) ? known : null;
        // a caller of the older generation who is used moves to the younger one
        if (old.Find(hash) is not { } caller || !caller.IsGoodAt(Now))
            return null;
        Keep(hash, caller);
        return caller;
    }

    /// <summary>Checks a credential and returns its caller.</summary>
    /// <exception cref="ProblemException">The credential is not valid.</exception>
    public async ValueTask<Caller> CheckAsync(string credential)
    {
        // no valid token is longer
        if (credential.Length > Limits.TokenCharacters)
            throw Problems.TokenRefused();
        var caller = await check(credential);
        caller.WhenRevoked = RaiseRevoked;
        Keep(Hash.Of(credential), caller);
        return caller;
    }

    private void RaiseRevoked(Caller caller) => Revoked?.Invoke(caller);

    private void Keep(Hash hash, Caller caller)
    {
        var was = _known;
        // if several threads fill the generation, only one replaces it
        if (was.Young.Keep(hash, caller) >= MostOfGeneration)
            Interlocked.CompareExchange(ref _known, new Generations(new Generation(), was.Young), was);
    }

    private sealed record Generations(Generation Young, Generation Old);

    private sealed class Generation
    {
        private readonly ConcurrentDictionary<Hash, Caller> _callers = new();
        // the dictionary's own Count takes all of its locks
        private int _count;

        public Caller? Find(Hash hash) => _callers.GetValueOrDefault(hash);

        /// <summary>Stores a caller; returns how many are stored.</summary>
        public int Keep(Hash hash, Caller caller)
        {
            if (_callers.TryAdd(hash, caller))
                return Interlocked.Increment(ref _count);
            _callers[hash] = caller;
            return Volatile.Read(ref _count);
        }
    }

    private readonly record struct Hash(ulong A, ulong B, ulong C, ulong D)
    {
        public static Hash Of(ReadOnlySpan<char> credential)
        {
            Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
            SHA256.HashData(MemoryMarshal.AsBytes(credential), hash);
            var words = MemoryMarshal.Cast<byte, ulong>(hash);
            return new Hash(words[0], words[1], words[2], words[3]);
        }
    }
}
