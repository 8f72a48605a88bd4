namespace Aglow.AspNetCore.Access;

/// <summary>
/// Counts what each person holds on this node: event streams, and bytes of watches, of arriving bodies and of answers that are being sent.
/// </summary>
/// <remarks>
/// Bytes are counted before they are allocated, and released when their use ends. An entry exists while its owner holds something.
/// <c>LocalSockets</c> counts sockets by user. Threading: any thread; one lock. No heartbeat takes it; watches, streams and bodies of more
/// than 64 KB do.
/// </remarks>
internal sealed class Holdings(int mostStreams)
{
    private readonly Lock _gate = new();
    private readonly Dictionary<string, (long Bytes, int Streams)> _held = new(StringComparer.Ordinal);

    /// <summary>Counts bytes. False: the person would hold too much. Keys and callers without a token (null) have no limit.</summary>
    public bool TryHold(Caller? caller, long bytes)
    {
        if (caller?.User is null)
            return true;
        lock (_gate)
        {
            var (held, streams) = _held.GetValueOrDefault(caller.Name);
            if (held + bytes > Limits.HeldBytes)
                return false;
            _held[caller.Name] = (held + bytes, streams);
            return true;
        }
    }

    public void Release(Caller? caller, long bytes)
    {
        if (caller?.User is not null && bytes != 0)
            Change(caller.Name, bytes, streams: 0);
    }

    /// <summary>Counts an event stream and the bytes of its watches.</summary>
    /// <exception cref="ProblemException">The person already holds the most that is allowed (429).</exception>
    public void EnterStream(Caller? caller, long bytes)
    {
        if (caller?.User is null)
            return;
        lock (_gate)
        {
            var (held, streams) = _held.GetValueOrDefault(caller.Name);
            if (streams >= mostStreams)
                throw Problems.TooManyStreams(mostStreams);
            if (held + bytes > Limits.HeldBytes)
                throw Problems.HoldsTooMuch();
            _held[caller.Name] = (held + bytes, streams + 1);
        }
    }

    /// <summary>Releases an event stream and its bytes.</summary>
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

/// <summary>The bytes that a request holds while it arrives or is answered; small amounts are not counted.</summary>
internal sealed class Holding(Holdings? holdings, Caller? caller) : IDisposable
{
    private long _bytes;

    /// <summary>Raises the number of bytes that the request holds. A lower number changes nothing.</summary>
    /// <exception cref="ProblemException">The person already holds the most that is allowed (429).</exception>
    public void Raise(long bytes)
    {
        if (holdings is null || bytes <= Math.Max(_bytes, CallMemory.Small))
            return;
        if (!holdings.TryHold(caller, bytes - _bytes))
            throw Problems.HoldsTooMuch();
        _bytes = bytes;
    }

    public void Dispose()
    {
        holdings?.Release(caller, _bytes);
        _bytes = 0;
    }
}
