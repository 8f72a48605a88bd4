using System.Buffers;

namespace Aglow.AspNetCore.Sockets;

/// <summary>
/// Holds the fragments of a socket's unfinished message. It also counts the bytes that were read of the arriving frame.
/// </summary>
/// <remarks>
/// A message has at most 64 KiB and usually arrives whole. But a client can send most of a message and then wait, and the server must
/// buffer it. A buffer of more than 4 KiB counts in the memory of large calls (<see cref="CallMemory"/>). No buffer is held for over a
/// minute.
/// Threading: the socket's read loop; <see cref="IsTooSlow"/> from any thread. It is a mutable struct within its socket to save memory,
/// because a node has a hundred thousand of them.
/// </remarks>
internal struct PartialMessage
{
    /// <summary>Bytes that every socket may buffer without being counted.</summary>
    public const int Uncounted = 4 * 1024;

    /// <summary>How long a message may take to arrive, in seconds.</summary>
    public const uint MostSeconds = 60;

    private byte[]? _bytes;
    private int _length;
    private int _counted;
    // the second since which bytes are buffered; 0: none are
    private uint _since;

    /// <summary>Whether a fragment was read, but not the last one.</summary>
    public bool IsBegun { get; private set; }

    /// <summary>Adds a frame's payload. False: the message would be too long.</summary>
    public bool TryAppend(in SocketFrame frame)
    {
        var length = (int)frame.Payload.Length;
        if (_length + length > SocketFrame.MaxPayload)
            return false;
        if (_bytes is null)
        {
            _bytes = ArrayPool<byte>.Shared.Rent(Math.Max(length, 16));
        }
        else if (_length + length > _bytes.Length)
        {
            var larger = ArrayPool<byte>.Shared.Rent(_length + length);
            _bytes.AsSpan(0, _length).CopyTo(larger);
            ArrayPool<byte>.Shared.Return(_bytes);
            _bytes = larger;
        }

        frame.CopyTo(_bytes.AsSpan(_length, length));
        _length += length;
        IsBegun = !frame.IsFinal;
        return true;
    }

    /// <summary>The whole message, in an array of the pool that the caller returns.</summary>
    public (byte[] Array, int Length) Take()
    {
        var whole = (_bytes!, _length);
        (_bytes, _length, _since) = (null, 0, 0);
        return whole;
    }

    /// <summary>
    /// Counts the buffered bytes, after all whole frames were handled. False: the memory budget is used up.
    /// </summary>
    /// <param name="unread">Bytes of the frame that is arriving.</param>
    /// <param name="isNew">Whether that frame began since the last call.</param>
    /// <param name="memory">The budget in which the bytes are counted.</param>
    /// <param name="now">The present second.</param>
    public bool Keep(long unread, bool isNew, CallMemory memory, uint now)
    {
        if (unread == 0 && !IsBegun)
            _since = 0;
        else if (_since == 0 || (isNew && !IsBegun))
            _since = now;
        var kept = (int)unread + (_bytes?.Length ?? 0);
        return Count(kept > Uncounted ? kept : 0, memory);
    }

    /// <summary>Whether a message has been arriving for too long.</summary>
    public readonly bool IsTooSlow(uint now)
    {
        var since = _since;
        return since != 0 && now > since + MostSeconds;
    }

    /// <summary>Releases the buffer and its share of the budget.</summary>
    public void Drop(CallMemory memory)
    {
        if (_bytes is not null)
            ArrayPool<byte>.Shared.Return(_bytes);
        _bytes = null;
        Count(0, memory);
    }

    private bool Count(int kept, CallMemory memory)
    {
        if (kept > _counted && !memory.TryCount(kept - _counted))
            return false;
        if (kept < _counted)
            memory.Uncount(_counted - kept);
        _counted = kept;
        return true;
    }
}
