using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using Aglow.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Callers whose credential was checked a while ago: to check the signature of a token at every heartbeat would cost more than the heartbeat.
/// </summary>
/// <remarks>
/// By the SHA-256 of the credential and nothing else, whatever connection it came on, so that nobody is taken for who called before; and a dump of this
/// memory holds no token. Two generations of <see cref="MostOfGeneration"/>: when one is full the older is forgotten, so it is bounded whatever is sent, and who is used is
/// kept. Refused credentials are not kept. Any thread; to find somebody takes no lock and no memory.
/// </remarks>
internal sealed class KnownCallers(CredentialCheck check, TimeProvider time)
{
    private const int MostOfGeneration = 50_000;

    private volatile Generations _known = new(new Generation(), new Generation());

    /// <summary>Now, as tokens tell the time.</summary>
    public DateTimeOffset Now => time.GetUtcNow();

    /// <summary>Raised once for each caller who is known here when their credential is revoked. Handlers return at once.</summary>
    public event Action<Caller>? Revoked;

    /// <summary>Who this stands for, if that is known and they are good; else null: ask <see cref="CheckAsync"/>.</summary>
    public Caller? Find(ReadOnlySpan<char> credential)
    {
        if (credential.Length > Limits.TokenCharacters)
            return null;
        var hash = Hash.Of(credential);
        var (young, old) = _known;
        if (young.Find(hash) is { } known)
            return known.IsGoodAt(Now) ? known : null;
        // of the older only those are kept who are used
        if (old.Find(hash) is not { } caller || !caller.IsGoodAt(Now))
            return null;
        Keep(hash, caller);
        return caller;
    }

    /// <summary>Checks whom this stands for; throws a <see cref="ProblemException"/> where nobody.</summary>
    public async ValueTask<Caller> CheckAsync(string credential)
    {
        // longer is no token of ours, whatever it is
        if (credential.Length > Limits.TokenCharacters)
            throw Problems.TokenRefused();
        var caller = await check(credential);
        caller.WhenRevoked = TellRevoked;
        Keep(Hash.Of(credential), caller);
        return caller;
    }

    private void TellRevoked(Caller caller) => Revoked?.Invoke(caller);

    private void Keep(Hash hash, Caller caller)
    {
        var was = _known;
        // of several who fill it one turns it
        if (was.Young.Keep(hash, caller) >= MostOfGeneration)
            Interlocked.CompareExchange(ref _known, new Generations(new Generation(), was.Young), was);
    }

    private sealed record Generations(Generation Young, Generation Old);

    private sealed class Generation
    {
        private readonly ConcurrentDictionary<Hash, Caller> _callers = new();
        // the dictionary's own count takes all of its locks
        private int _count;

        public Caller? Find(Hash hash) => _callers.GetValueOrDefault(hash);

        /// <summary>Keeps a caller; returns how many are kept.</summary>
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
