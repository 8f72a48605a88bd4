using Aglow.Storage;

namespace Aglow.Redis;

/// <summary>
/// One command on its way: written into a connection's buffer, answered in order, sent again where the answer was lost or another node is asked for.
/// </summary>
/// <remarks>
/// Made (or taken from a pool) by who asks, handed to <see cref="RedisCluster.Send"/>, and its again when <see cref="Complete"/> or <see cref="Fail"/> was
/// called: exactly one of them, exactly once. Until then it belongs to the cluster and one of its connections.
/// </remarks>
internal abstract class RedisRequest
{
    /// <summary>The slot of its key.</summary>
    public int Slot { get; protected set; }

    /// <summary>Whether it is one whose long answer would hold up the others: it goes by the connection for pages.</summary>
    public virtual bool IsLong => false;

    /// <summary>Whether it is sent to a server that is known to be away, to find out whether it still is.</summary>
    public virtual bool IsProbe => false;

    /// <summary>Whether its answer says that the server serves: the time is told by one that serves nothing, too.</summary>
    public virtual bool ProvesService => true;

    /// <summary>The timestamp after which it is not sent any more.</summary>
    public long Deadline { get; set; }

    /// <summary>Whether it was sent before and its answer lost: it may have been carried out.</summary>
    public bool MayHaveRun { get; set; }

    /// <summary>Whether the next server is to be asked by way of exception: the slot is being moved to it.</summary>
    public bool Asking { get; set; }

    /// <summary>How often it was sent on.</summary>
    public int Redirections { get; set; }

    /// <summary>Ready to be sent anew.</summary>
    public void Reset() => (Deadline, MayHaveRun, Asking, Redirections) = (0, false, false, 0);

    /// <summary>Writes the command.</summary>
    public abstract void Write(RespWriter to);

    /// <summary>Reads the answer, which is no error.</summary>
    /// <exception cref="RespException">It is not what was asked for.</exception>
    public abstract void Complete(ReadOnlySpan<byte> frame);

    /// <summary>It was not carried out, as far as is known.</summary>
    public abstract void Fail(StoreUnavailableException why);
}

/// <summary>A command that is sent rarely, answered with objects.</summary>
internal sealed class RedisCall : RedisRequest
{
    private readonly string[] _parts;
    private readonly bool _isProbe;
    private readonly TaskCompletionSource<object?> _answer = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public RedisCall(int slot, params string[] parts)
        : this(slot, isProbe: false, parts)
    {
    }

    public RedisCall(int slot, bool isProbe, params string[] parts)
    {
        Slot = slot;
        _isProbe = isProbe;
        _parts = parts;
    }

    public override bool IsProbe => _isProbe;

    public override bool ProvesService => _parts[0] != "TIME";

    /// <summary>The answer: a long, a string, null, or an array of these.</summary>
    public Task<object?> Answer => _answer.Task;

    public override void Write(RespWriter to)
    {
        to.Command(_parts.Length);
        foreach (var part in _parts)
            to.Part(part);
    }

    public override void Complete(ReadOnlySpan<byte> frame) => _answer.TrySetResult(new RespReader(frame).ReadAny());

    public override void Fail(StoreUnavailableException why) => _answer.TrySetException(why);
}

/// <summary>Reads a text as it is: a page, or the list of them.</summary>
internal sealed class RedisTextRequest : RedisRequest
{
    private readonly Action<RespWriter> _writeKey;
    private readonly Memory<byte> _into;
    private readonly TaskCompletionSource<int> _length = new(TaskCreationOptions.RunContinuationsAsynchronously);

    /// <summary>A GET of a key; what is longer than <paramref name="into"/> is cut off.</summary>
    public RedisTextRequest(int slot, Action<RespWriter> writeKey, Memory<byte> into)
    {
        Slot = slot;
        _writeKey = writeKey;
        _into = into;
    }

    public override bool IsLong => true;

    /// <summary>How many bytes there were.</summary>
    public Task<int> Length => _length.Task;

    public override void Write(RespWriter to)
    {
        to.Command(2);
        to.Part("GET"u8);
        _writeKey(to);
    }

    public override void Complete(ReadOnlySpan<byte> frame)
    {
        var text = new RespReader(frame).ReadText(out _);
        text = text[..Math.Min(text.Length, _into.Length)];
        text.CopyTo(_into.Span);
        _length.TrySetResult(text.Length);
    }

    public override void Fail(StoreUnavailableException why) => _length.TrySetException(why);
}
