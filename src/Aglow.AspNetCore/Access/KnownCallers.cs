using System.Collections.Concurrent;
using System.Runtime.InteropServices;
using System.Security.Cryptography;
using System.Text;
using Aglow.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// Callers whose credential was checked a while ago: to check the signature of a token at every heartbeat would cost more than the heartbeat.
/// </summary>
/// <remarks>
/// Two layers. A connection keeps its last caller (<see cref="ConnectionCaller"/>): comparing two strings that are nearly always the same object. Here are those of
/// all connections, by the SHA-256 of the credential, so that a dump of this memory holds no token of an hour ago. Two generations of
/// <see cref="MostOfGeneration"/>: when one is full the older is forgotten, so it is bounded whatever is sent, and who is used is kept. Refused credentials are not kept. Any thread; to find
/// somebody takes no lock.
/// </remarks>
internal sealed class KnownCallers(CredentialCheck check, TimeProvider time)
{
    private const int MostOfGeneration = 50_000;

    private volatile Generations _known = new(new Generation(), new Generation());

    /// <summary>Now, as tokens tell the time.</summary>
    public DateTimeOffset Now => time.GetUtcNow();

    /// <summary>Who this stands for; throws a <see cref="ProblemException"/> where nobody.</summary>
    public async ValueTask<Caller> CheckAsync(string credential)
    {
        // longer is no token of ours, whatever it is
        if (credential.Length > Limits.TokenCharacters)
            throw Problems.TokenRefused();
        var hash = Hash.Of(credential);
        var (young, old) = _known;
        if (young.Find(hash) is { } known && known.IsGoodAt(Now))
            return known;
        // of the older only those are kept who are used
        if (old.Find(hash) is not { } caller || !caller.IsGoodAt(Now))
            caller = await check(credential);
        Keep(hash, caller);
        return caller;
    }

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
        public static Hash Of(string credential)
        {
            Span<byte> utf8 = stackalloc byte[Limits.TokenCharacters * 3];
            Span<byte> hash = stackalloc byte[SHA256.HashSizeInBytes];
            SHA256.HashData(utf8[..Encoding.UTF8.GetBytes(credential, utf8)], hash);
            var words = MemoryMarshal.Cast<byte, ulong>(hash);
            return new Hash(words[0], words[1], words[2], words[3]);
        }
    }
}

/// <summary>What a connection keeps: its last <c>Authorization</c> and who that was. Requests of HTTP/2 may race for it; each sees a whole pair.</summary>
internal sealed class ConnectionCaller
{
    private volatile Kept? _kept;

    /// <summary>The caller of this header, if it is the last one.</summary>
    public Caller? Of(string authorization) => _kept is { } kept && kept.Authorization == authorization ? kept.Caller : null;

    /// <summary>Keeps a caller.</summary>
    public void Keep(string authorization, Caller caller) => _kept = new Kept(authorization, caller);

    private sealed record Kept(string Authorization, Caller Caller);
}
