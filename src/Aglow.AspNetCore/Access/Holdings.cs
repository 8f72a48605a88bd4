using Aglow.AspNetCore.Http;

namespace Aglow.AspNetCore.Access;

/// <summary>
/// What each person or key holds on this node: bytes of watches, of bodies that arrive and of answers that are read, and event streams.
/// </summary>
/// <remarks>
/// Counted before it is taken, and given back when it ends. An entry exists while its owner holds something. Sockets are
/// counted by user in <c>LocalSockets</c>. Threading: any thread; one lock, which no heartbeat takes: watches, streams and
/// bodies of more than 64 KB do.
/// </remarks>
internal sealed class Holdings(int mostStreams)
{
    /// <summary>
    /// Bytes that one person holds: ten thousand UUIDs watched on each of two sockets, or 500 on each of forty. With what the collector
    /// keeps besides, the process then grows by twice as much at most (aglow bench door).
    /// </summary>
    public const long MostBytes = 16_000_000;

    private readonly Lock _gate = new();
    private readonly Dictionary<string, (long Bytes, int Streams)> _held = new(StringComparer.Ordinal);

    /// <summary>How many hold something.</summary>
    public int Holders
    {
        get
        {
            lock (_gate)
                return _held.Count;
        }
    }

    /// <summary>Counts bytes; false where a person would hold more than one may. Keys and strangers (null) have no limit of their own.</summary>
    public bool TryHold(Caller? caller, long bytes)
    {
        if (caller?.User is null)
            return true;
        lock (_gate)
        {
            var (held, streams) = _held.GetValueOrDefault(caller.Name);
            if (held + bytes > MostBytes)
                return false;
            _held[caller.Name] = (held + bytes, streams);
            return true;
        }
    }

    /// <summary>These bytes are held no more.</summary>
    public void Release(Caller? caller, long bytes)
    {
        if (caller?.User is not null && bytes != 0)
            Change(caller.Name, bytes, streams: 0);
    }

    /// <summary>Counts an event stream and the bytes of its watches.</summary>
    /// <exception cref="ProblemException">The person holds as much as one may (429).</exception>
    public void EnterStream(Caller? caller, long bytes)
    {
        if (caller?.User is null)
            return;
        lock (_gate)
        {
            var (held, streams) = _held.GetValueOrDefault(caller.Name);
            if (streams >= mostStreams)
                throw Problems.TooManyStreams(mostStreams);
            if (held + bytes > MostBytes)
                throw Problems.HoldsTooMuch();
            _held[caller.Name] = (held + bytes, streams + 1);
        }
    }

    /// <summary>An event stream has ended.</summary>
    public void ExitStream(Caller? caller, long bytes)
    {
        if (caller?.User is not null)
            Change(caller.Name, bytes, streams: 1);
    }

    private void Change(string name, long bytes, int streams)
    {
        lock (_gate)
        {
            var (held, open) = _held.GetValueOrDefault(name);
            if (held == bytes && open == streams)
                _held.Remove(name);
            else
                _held[name] = (held - bytes, open - streams);
        }
    }
}

/// <summary>Bytes that a request holds while it arrives or is answered; small ones are not counted.</summary>
internal sealed class Holding(Holdings? holdings, Caller? caller) : IDisposable
{
    private long _bytes;

    /// <summary>So many bytes are held now.</summary>
    /// <exception cref="ProblemException">The person holds as much as one may (429).</exception>
    public void Raise(long bytes)
    {
        if (holdings is null || bytes <= Math.Max(_bytes, CallMemory.Small))
            return;
        if (!holdings.TryHold(caller, bytes - _bytes))
            throw Problems.HoldsTooMuch();
        _bytes = bytes;
    }

    /// <summary>They are held no more.</summary>
    public void Dispose()
    {
        holdings?.Release(caller, _bytes);
        _bytes = 0;
    }
}
